package defenderemu

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

func (p *kqlParser) where() (stage, error) {
	holds, err := p.or()
	return func(rows [][]any) [][]any {
		return where(rows, func(row *[]any) bool { return holds(*row) })
	}, err
}

func (p *kqlParser) or() (predicate[[]any], error) {
	if p.depth++; p.depth > maxDepth {
		return nil, badQuery("the condition nests deeper than %d", maxDepth)
	}
	defer func() { p.depth-- }()
	return chain(p.and, func() bool { return p.accept("or") }, predicate[[]any].or)
}

func (p *kqlParser) and() (predicate[[]any], error) {
	return chain(p.term, func() bool { return p.accept("and") }, predicate[[]any].and)
}

func (p *kqlParser) term() (predicate[[]any], error) {
	switch t := p.tokens[0]; {
	case p.accept("("):
		holds, err := p.or()
		if err != nil {
			return nil, err
		}
		return holds, p.expect(")")
	case p.calls():
		p.next()
		p.next()
		return p.function(t.text)
	}
	return p.comparison()
}

// function reads the rest of a condition that is a call.
func (p *kqlParser) function(name string) (predicate[[]any], error) {
	var holds predicate[[]any]
	var err error
	switch name {
	case "not":
		if holds, err = p.or(); err == nil {
			holds = holds.not()
		}
	case "isempty", "isnotempty":
		var i int
		i, err = p.column()
		holds = func(row []any) bool { return (row[i] == "") == (name == "isempty") }
	default:
		err = badQuery("function '%s' is not supported by this emulator, which has not, isempty, isnotempty, ago, now and datetime", name)
	}
	if err != nil {
		return nil, err
	}
	return holds, p.expect(")")
}

// operatorsOf are the operators that compare, in the words of comparison.
var operatorsOf = map[string]string{"==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}

// textOperators are those for text. They take no notice of upper and lower
// case; their arguments come in lower case.
var textOperators = map[string]func(s, part string) bool{
	"=~":       func(s, part string) bool { return s == part },
	"!~":       func(s, part string) bool { return s != part },
	"contains": strings.Contains, "startswith": strings.HasPrefix, "endswith": strings.HasSuffix,
	"has": hasTerm,
}

// hasTerm reports whether term stands in s with no letter or digit beside it.
func hasTerm(s, term string) bool {
	for at := 0; ; {
		i := strings.Index(s[at:], term)
		if i < 0 {
			return false
		}
		i += at
		end := i + len(term)
		if (i == 0 || !isWordByte(s[i-1])) && (end == len(s) || !isWordByte(s[end])) {
			return true
		}
		at = i + 1
		if at > len(s) {
			return false
		}
	}
}

// comparison reads column operator value.
func (p *kqlParser) comparison() (predicate[[]any], error) {
	i, err := p.column()
	if err != nil {
		return nil, err
	}
	negated := p.accept("!")
	operator := p.next()
	var holds predicate[[]any]
	switch {
	case operator.class == quoted || operator.class == endOfInput:
		return nil, badQuery("want an operator at position %d", operator.at)
	case operatorsOf[operator.text] != "" && !negated:
		holds, err = p.compare(i, operatorsOf[operator.text])
	case textOperators[operator.text] != nil:
		holds, err = p.compareText(i, textOperators[operator.text])
	case operator.text == "in":
		fold := p.accept("~")
		holds, err = p.in(i, fold)
	default:
		err = badQuery("operator '%s' is not supported by this emulator", operator.text)
	}
	if err == nil && negated {
		holds = holds.not()
	}
	return holds, err
}

func (p *kqlParser) compare(i int, operator string) (predicate[[]any], error) {
	want, err := p.value()
	if err != nil {
		return nil, err
	}
	if err := p.sameType(i, want); err != nil {
		return nil, err
	}
	holds := comparison(operator)
	return func(row []any) bool { return holds(scalar(row[i]), want) }, nil
}

func (p *kqlParser) compareText(i int, holds func(s, part string) bool) (predicate[[]any], error) {
	want, err := p.value()
	if err != nil {
		return nil, err
	}
	part, ok := want.(string)
	if !ok || p.columns[i].Type != "String" {
		return nil, badQuery("a text operator was used on '%s' with something that is no text", p.columns[i].Name)
	}
	part = strings.ToLower(part)
	return func(row []any) bool {
		s, _ := row[i].(string)
		return holds(strings.ToLower(s), part)
	}, nil
}

// in reads the rest of column in (a, b); fold takes no notice of case.
func (p *kqlParser) in(i int, fold bool) (predicate[[]any], error) {
	if err := p.expect("("); err != nil {
		return nil, err
	}
	folded := func(v any) any {
		if s, ok := v.(string); ok && fold {
			return strings.ToLower(s)
		}
		return v
	}
	var choices []any
	for {
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		if err := p.sameType(i, v); err != nil {
			return nil, err
		}
		choices = append(choices, folded(v))
		if !p.accept(",") {
			break
		}
	}
	return func(row []any) bool {
		cell := folded(scalar(row[i]))
		return slices.ContainsFunc(choices, func(v any) bool { return same(cell, v) })
	}, p.expect(")")
}

// sameType holds a value to the type of the column that it is compared with.
func (p *kqlParser) sameType(i int, v any) error {
	kinds := map[string]string{"String": kindText, "DateTime": kindTime, "Int64": kindNumber}
	if c := p.columns[i]; kinds[c.Type] != kindOfLiteral(v) {
		return badQuery("cannot compare '%s', which is %s, with %v", c.Name, c.Type, v)
	}
	return nil
}

// value reads a literal, or a call of ago, now or datetime.
func (p *kqlParser) value() (any, error) {
	calls := p.calls()
	t := p.next()
	if t.class == quoted {
		return t.text, nil
	}
	if calls {
		p.next()
		v, err := p.moment(t.text)
		if err != nil {
			return nil, err
		}
		return v, p.expect(")")
	}
	if n, err := strconv.ParseFloat(t.text, 64); err == nil && t.class == word {
		return n, nil
	}
	return nil, badQuery("'%s' at position %d is no value that this emulator understands", t.text, t.at)
}

// moment reads the argument of a function that makes a time.
func (p *kqlParser) moment(function string) (any, error) {
	switch function {
	case "now":
		return p.now.Time, nil
	case "ago":
		d, ok := timespan(p.next().text)
		if !ok {
			return nil, badQuery("ago wants a timespan such as 7d or 12h")
		}
		return p.now.Add(-d), nil
	case "datetime":
		at, ok := parseTime(p.next().text)
		if !ok {
			return nil, badQuery("datetime wants a time such as 2026-01-02T03:04:05Z")
		}
		return at, nil
	}
	return nil, badQuery("function '%s' is not supported by this emulator, which has ago, now and datetime here", function)
}

// timespan reads 7d, 12h, 30m or 90s.
func timespan(s string) (time.Duration, bool) {
	if s == "" {
		return 0, false
	}
	unit := map[byte]time.Duration{'d': 24 * time.Hour, 'h': time.Hour, 'm': time.Minute, 's': time.Second}[s[len(s)-1]]
	n, err := strconv.ParseUint(s[:len(s)-1], 10, 16)
	return time.Duration(n) * unit, err == nil && unit > 0
}

// count reads a number of rows.
func (p *kqlParser) count() (int, error) {
	t := p.next()
	n, err := strconv.ParseUint(t.text, 10, 31)
	if err != nil || t.class != word {
		return 0, badQuery("want a number of rows at position %d", t.at)
	}
	return int(n), nil
}
