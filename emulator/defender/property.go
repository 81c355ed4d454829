package defenderemu

import (
	"reflect"
	"strings"
	"time"
)

// property is a field of a row as $filter, $orderby and $select see it.
type property struct {
	path  string
	kind  reflect.Type // of what get returns
	index [][]int      // the way there, one step for each segment of the path
}

// propertyOf finds the field that a path such as relatedUser/userName names.
// Names are case-sensitive.
func propertyOf(row reflect.Type, path string) (property, error) {
	p := property{path: path, kind: row}
	for name := range strings.SplitSeq(path, "/") {
		kind := p.kind
		if kind.Kind() == reflect.Pointer {
			kind = kind.Elem()
		}
		field, ok := fieldOf(kind, name)
		if !ok {
			return property{}, odataError("Could not find a property named '%s' on type '%s'.", name, typeName(row))
		}
		p.kind, p.index = field.Type, append(p.index, field.Index)
	}
	return p, nil
}

func fieldOf(row reflect.Type, name string) (reflect.StructField, bool) {
	if row.Kind() != reflect.Struct || name == "" {
		return reflect.StructField{}, false
	}
	for i := range row.NumField() {
		if f := row.Field(i); jsonName(f) == name && name != "-" {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

// typeName is a row's type in the words of the API's messages.
func typeName(row reflect.Type) string {
	return "Microsoft.Windows.Defender.Ti.API.Models." + strings.ToUpper(row.Name()[:1]) + row.Name()[1:]
}

// get reads the property of a row. Below a null it is invalid.
func (p *property) get(row reflect.Value) reflect.Value {
	for _, index := range p.index {
		if row.Kind() == reflect.Pointer {
			row = row.Elem()
		}
		if !row.IsValid() {
			return row
		}
		row = row.FieldByIndex(index)
	}
	return row
}

// scalar reads the property of a row as something that can be compared.
func (p *property) scalar(row reflect.Value) any { return scalarOf(p.get(row)) }

func scalarOf(v reflect.Value) any {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if !v.IsValid() {
		return nil
	}
	return scalar(v.Interface())
}

// kindOf names the type of the scalars that a property or an element has; empty
// where it has none, being a collection or an object.
func kindOf(t reflect.Type) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == reflect.TypeFor[stamp]():
		return kindTime
	case t.Kind() == reflect.String:
		return kindText
	case t.Kind() == reflect.Bool:
		return kindBool
	case t.Kind() == reflect.Int, t.Kind() == reflect.Float64:
		return kindNumber
	}
	return ""
}

// The kinds of scalars, in the words of OData's messages.
const (
	kindText   = "Edm.String"
	kindNumber = "Edm.Double"
	kindBool   = "Edm.Boolean"
	kindTime   = "Edm.DateTimeOffset"
	kindNull   = "null"
)

// kindOfLiteral names the type of a scalar.
func kindOfLiteral(v any) string {
	switch v.(type) {
	case string:
		return kindText
	case float64:
		return kindNumber
	case bool:
		return kindBool
	case time.Time:
		return kindTime
	}
	return kindNull
}

func odataError(format string, args ...any) *refusal {
	return badRequest("ODataError", format, args...)
}
