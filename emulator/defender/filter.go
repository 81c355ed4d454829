package defenderemu

import (
	"reflect"
	"strings"
)

// filterParser reads a $filter (OData 4.01, Part 2: URL Conventions, §5.1.1)
// over rows of one type: eq ne gt ge lt le in, and or not, contains startswith
// endswith tolower toupper, and any on collections.
type filterParser struct {
	cursor
	source string
	row    reflect.Type
	// The variable of the any() that is being read, and the type of what it
	// runs over; empty outside of one.
	variable string
	element  reflect.Type
	depth    int
}

// parseFilter reads a $filter over rows of a type.
func parseFilter(source string, row reflect.Type) (predicate[reflect.Value], error) {
	tokens, err := lexFilter(source)
	if err != nil {
		return nil, err
	}
	p := &filterParser{source: source, cursor: cursor{tokens}, row: row}
	holds, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.tokens[0].class != endOfInput {
		return nil, p.unexpected()
	}
	return holds, nil
}

func (p *filterParser) unexpected() error {
	return odataError("Syntax error at position %d in '%s'.", p.tokens[0].at, p.source)
}

func (p *filterParser) expect(text string) error {
	if !p.accept(text) {
		return p.unexpected()
	}
	return nil
}

func (p *filterParser) or() (predicate[reflect.Value], error) {
	if p.depth++; p.depth > maxDepth {
		return nil, odataError("The node count limit of %d has been exceeded.", maxDepth)
	}
	defer func() { p.depth-- }()
	return chain(p.and, func() bool { return p.accept("or") }, predicate[reflect.Value].or)
}

func (p *filterParser) and() (predicate[reflect.Value], error) {
	return chain(p.term, func() bool { return p.accept("and") }, predicate[reflect.Value].and)
}

// term reads what and and or stand between.
func (p *filterParser) term() (predicate[reflect.Value], error) {
	negated := false
	for p.accept("not") {
		negated = !negated
	}
	holds, err := p.positive()
	if err == nil && negated {
		holds = holds.not()
	}
	return holds, err
}

func (p *filterParser) positive() (predicate[reflect.Value], error) {
	if p.accept("(") {
		holds, err := p.or()
		if err != nil {
			return nil, err
		}
		return holds, p.expect(")")
	}
	if test, ok := stringTests[p.tokens[0].text]; ok && p.calls() {
		p.next()
		return p.stringTest(test)
	}
	if collection, ok := strings.CutSuffix(p.tokens[0].text, "/any"); ok && p.tokens[0].class == word {
		p.next()
		return p.any(collection)
	}
	return p.comparison()
}

// stringTests are the functions that are conditions.
var stringTests = map[string]func(s, part string) bool{
	"contains": strings.Contains, "startswith": strings.HasPrefix, "endswith": strings.HasSuffix,
}

func (p *filterParser) stringTest(test func(s, part string) bool) (predicate[reflect.Value], error) {
	if err := p.expect("("); err != nil {
		return nil, err
	}
	s, err := p.text()
	if err != nil {
		return nil, err
	}
	if err := p.expect(","); err != nil {
		return nil, err
	}
	part, err := p.text()
	if err != nil {
		return nil, err
	}
	return func(row reflect.Value) bool {
		s, ok := s.value(row).(string)
		part, _ := part.value(row).(string)
		return ok && test(s, part)
	}, p.expect(")")
}

// any reads the rest of collection/any(x: condition).
func (p *filterParser) any(collection string) (predicate[reflect.Value], error) {
	property, err := propertyOf(p.row, collection)
	if err != nil {
		return nil, err
	}
	if property.kind.Kind() != reflect.Slice || p.variable != "" {
		return nil, odataError("any() cannot be applied to '%s'.", collection)
	}
	if err := p.expect("("); err != nil {
		return nil, err
	}
	if p.accept(")") {
		return func(row reflect.Value) bool { return lengthOf(property.get(row)) > 0 }, nil
	}
	p.variable, p.element = p.next().text, property.kind.Elem()
	if err := p.expect(":"); err != nil {
		return nil, err
	}
	holds, err := p.or()
	p.variable = ""
	if err != nil {
		return nil, err
	}
	return func(row reflect.Value) bool {
		elements := property.get(row)
		for i := range lengthOf(elements) {
			if holds(elements.Index(i)) {
				return true
			}
		}
		return false
	}, p.expect(")")
}

// lengthOf is the length of a collection, none below a null.
func lengthOf(collection reflect.Value) int {
	if !collection.IsValid() {
		return 0
	}
	return collection.Len()
}

func (p *filterParser) comparison() (predicate[reflect.Value], error) {
	left, err := p.operand()
	if err != nil {
		return nil, err
	}
	if p.accept("in") {
		return p.in(left)
	}
	holds := comparison(p.tokens[0].text)
	if holds == nil || p.tokens[0].class != word {
		if left.kind == kindBool { // a boolean property is a condition by itself
			return func(row reflect.Value) bool { return left.value(row) == true }, nil
		}
		return nil, p.unexpected()
	}
	p.next()
	right, err := p.operand()
	if err != nil {
		return nil, err
	}
	if err := sameKind(left, right); err != nil {
		return nil, err
	}
	return func(row reflect.Value) bool { return holds(left.value(row), right.value(row)) }, nil
}

// in reads the rest of operand in ('a','b').
func (p *filterParser) in(left operand) (predicate[reflect.Value], error) {
	if err := p.expect("("); err != nil {
		return nil, err
	}
	var choices []operand
	for {
		choice, err := p.operand()
		if err != nil {
			return nil, err
		}
		if err := sameKind(left, choice); err != nil {
			return nil, err
		}
		choices = append(choices, choice)
		if !p.accept(",") {
			break
		}
	}
	return func(row reflect.Value) bool {
		for _, choice := range choices {
			if same(left.value(row), choice.value(row)) {
				return true
			}
		}
		return false
	}, p.expect(")")
}
