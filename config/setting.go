package config

import (
	"reflect"
	"slices"
	"strings"
)

// setting is a scalar of the configuration, or a list of scalars: what has one
// place, and so can be set by a variable.
type setting struct {
	path  string
	value reflect.Value
	tag   reflect.StructTag
}

// settings lists the settings of a configuration.
func settings(c *Config) []setting { return sectionSettings(reflect.ValueOf(c).Elem(), "") }

func sectionSettings(section reflect.Value, path string) []setting {
	var all []setting
	for _, f := range fields(section.Type()) {
		value, at := section.FieldByIndex(f.Index), join(path, f.Tag.Get("yaml"))
		switch {
		case value.Kind() == reflect.Map: // its entries have names of the user's choice
		case value.Kind() == reflect.Slice && !isText(value.Type().Elem()): // nor has a list of mappings one text
		case len(fields(value.Type())) > 0:
			if isText(value.Type()) {
				all = append(all, setting{at, value, f.Tag})
			}
			all = append(all, sectionSettings(value, at)...)
		default:
			all = append(all, setting{at, value, f.Tag})
		}
	}
	return all
}

// fields lists the settings of a section; none for a type that is no section.
func fields(t reflect.Type) []reflect.StructField {
	if t.Kind() != reflect.Struct {
		return nil
	}
	return slices.DeleteFunc(reflect.VisibleFields(t), func(f reflect.StructField) bool { return f.Tag.Get("yaml") == "" })
}

// isText reports whether a text can stand for a value of the type.
func isText(t reflect.Type) bool {
	ok, _ := setText(reflect.New(t).Interface(), "")
	return ok
}

// set gives the setting the value of a text; a list's elements stand between
// commas.
func (s setting) set(text string) error {
	if s.value.Kind() != reflect.Slice {
		_, err := setText(s.value.Addr().Interface(), text)
		return err
	}
	list := reflect.MakeSlice(s.value.Type(), 0, 1)
	for item := range strings.SplitSeq(text, ",") {
		element := reflect.New(s.value.Type().Elem())
		if _, err := setText(element.Interface(), strings.TrimSpace(item)); err != nil {
			return err
		}
		list = reflect.Append(list, element.Elem())
	}
	s.value.Set(list)
	return nil
}

// bound returns the number that a tag's text stands for; a test reads them all.
func (s setting) bound(tag string) int64 {
	n := reflect.New(s.value.Type())
	_, _ = setText(n.Interface(), s.tag.Get(tag))
	return n.Elem().Int()
}
