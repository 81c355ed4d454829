package defenderemu

import (
	"reflect"
	"strconv"
	"strings"
)

// operand is a side of a comparison.
type operand struct {
	kind  string
	value func(row reflect.Value) any
}

func sameKind(a, b operand) error {
	if a.kind != b.kind && a.kind != kindNull && b.kind != kindNull {
		return odataError("A binary operator with incompatible types was detected. Found operand types '%s' and '%s'.", a.kind, b.kind)
	}
	return nil
}

// text reads an operand that has to be a string.
func (p *filterParser) text() (operand, error) {
	o, err := p.operand()
	if err == nil && o.kind != kindText {
		err = odataError("A function was called with '%s' where 'Edm.String' is wanted.", o.kind)
	}
	return o, err
}

// operand reads a literal, a property, or one of them in tolower() or toupper().
func (p *filterParser) operand() (operand, error) {
	t := p.tokens[0]
	switch t.class {
	case quoted:
		p.next()
		return constant(t.text), nil
	case word:
		p.next()
		if change, ok := caseChanges[t.text]; ok && p.tokens[0].text == "(" {
			return p.changed(change)
		}
		if v, ok := literal(t.text); ok {
			return constant(v), nil
		}
		return p.property(t.text)
	}
	return operand{}, p.unexpected()
}

var caseChanges = map[string]func(string) string{"tolower": strings.ToLower, "toupper": strings.ToUpper}

// changed reads the argument of tolower or toupper. It takes no other function.
func (p *filterParser) changed(change func(string) string) (operand, error) {
	p.next()
	t := p.next()
	inner := constant(t.text)
	if t.class != quoted {
		var err error
		if inner, err = p.property(t.text); err != nil {
			return operand{}, err
		}
	}
	return operand{kind: kindText, value: func(row reflect.Value) any {
		s, ok := inner.value(row).(string)
		if !ok {
			return nil
		}
		return change(s)
	}}, p.expect(")")
}

// property reads the path of a property, which begins with the variable inside
// of an any().
func (p *filterParser) property(path string) (operand, error) {
	row := p.row
	if p.variable != "" {
		row = p.element
		if path == p.variable {
			return operand{kind: kindOf(row), value: scalarOf}, nil
		}
		below, ok := strings.CutPrefix(path, p.variable+"/")
		if !ok {
			return operand{}, odataError("Inside any() a property begins with '%s/': '%s' does not.", p.variable, path)
		}
		path = below
	}
	found, err := propertyOf(row, path)
	if err != nil {
		return operand{}, err
	}
	kind := kindOf(found.kind)
	if kind == "" {
		return operand{}, odataError("The property '%s' cannot be compared.", path)
	}
	return operand{kind: kind, value: found.scalar}, nil
}

func constant(v any) operand {
	return operand{kind: kindOfLiteral(v), value: func(reflect.Value) any { return v }}
}

// literal reads a word that is a value: true, null, 4.2, a time, a GUID.
func literal(s string) (any, bool) {
	switch s {
	case "true", "false":
		return s == "true", true
	case "null":
		return nil, true
	}
	if isDigit(s[0]) || s[0] == '-' {
		if n, err := strconv.ParseFloat(s, 64); err == nil {
			return n, true
		}
		if t, ok := parseTime(s); ok {
			return t, true
		}
	}
	if len(s) == 36 && strings.Count(s, "-") == 4 {
		return s, true
	}
	return nil, false
}
