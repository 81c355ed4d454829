package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// openAPI is a document as the broker serves it.
type openAPI struct {
	Info       struct{ Version string }
	Paths      map[string]map[string]json.RawMessage
	Components struct {
		Schemas   map[string]any
		Responses map[string]openAPIResponse
	}
}

type openAPIOperation struct {
	OperationID string                     `json:"operationId"`
	Responses   map[string]openAPIResponse // by status, or default
}

type openAPIResponse struct {
	Ref     string                          `json:"$ref"`
	Content map[string]struct{ Schema any } // by media type
}

// operations are those of the document, by method and path.
func (d *openAPI) operations(t *testing.T) map[string]openAPIOperation {
	t.Helper()
	all := map[string]openAPIOperation{}
	for path, item := range d.Paths {
		for method, raw := range item {
			if method == "parameters" {
				continue
			}
			var operation openAPIOperation
			must(t, json.Unmarshal(raw, &operation))
			for status, response := range operation.Responses {
				if name, ok := strings.CutPrefix(response.Ref, "#/components/responses/"); ok {
					operation.Responses[status] = d.Components.Responses[name]
				}
			}
			all[strings.ToUpper(method)+" "+path] = operation
		}
	}
	return all
}

// check says where a value is not what the schema says. It knows the keywords
// that the document uses, and refuses others. An object has no members but those
// of its properties, unless the schema says so: what a handler adds is added to
// the document too.
func (d *openAPI) check(schema, value any, place string) error {
	s, ok := schema.(map[string]any)
	if !ok {
		return fmt.Errorf("%s: no schema", place)
	}
	if ref, ok := s["$ref"].(string); ok {
		return d.check(d.Components.Schemas[strings.TrimPrefix(ref, "#/components/schemas/")], value, place)
	}
	var errs []error
	for keyword, want := range s {
		if err := d.checkKeyword(s, keyword, want, value, place); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (d *openAPI) checkKeyword(schema map[string]any, keyword string, want, value any, place string) error {
	fault := func() error {
		return fmt.Errorf("%s: %v is not of %s %v", place, value, keyword, want)
	}
	text, _ := value.(string)
	number, _ := value.(float64)
	switch keyword {
	case "description":
	case "type":
		if !slices.ContainsFunc(listOf(want), func(name any) bool { return isOfType(value, name.(string)) }) {
			return fault()
		}
	case "const":
		if !reflect.DeepEqual(value, want) {
			return fault()
		}
	case "enum":
		if !slices.Contains(want.([]any), value) {
			return fault()
		}
	case "pattern":
		if !regexp.MustCompile(want.(string)).MatchString(text) {
			return fault()
		}
	case "minimum":
		if number < want.(float64) {
			return fault()
		}
	case "maximum":
		if number > want.(float64) {
			return fault()
		}
	case "format":
		if !isOfFormat(text, want.(string)) {
			return fault()
		}
	case "anyOf":
		if !slices.ContainsFunc(want.([]any), func(one any) bool { return d.check(one, value, place) == nil }) {
			return fault()
		}
	case "items":
		elements, _ := value.([]any)
		for i, element := range elements {
			if err := d.check(want, element, fmt.Sprint(place, "[", i, "]")); err != nil {
				return err
			}
		}
	case "required":
		members, _ := value.(map[string]any)
		for _, name := range want.([]any) {
			if _, there := members[name.(string)]; !there {
				return fmt.Errorf("%s: no member %s", place, name)
			}
		}
	case "properties", "additionalProperties":
		return d.checkMembers(schema, value, place)
	default:
		return fmt.Errorf("%s: keyword %s: the test does not know it", place, keyword)
	}
	return nil
}

func (d *openAPI) checkMembers(schema map[string]any, value any, place string) error {
	members, _ := value.(map[string]any)
	known, _ := schema["properties"].(map[string]any)
	for name, member := range members {
		if property, ok := known[name]; ok {
			if err := d.check(property, member, place+"."+name); err != nil {
				return err
			}
			continue
		}
		switch more := schema["additionalProperties"].(type) {
		case map[string]any:
			if err := d.check(more, member, place+"."+name); err != nil {
				return err
			}
		case bool:
			if !more {
				return fmt.Errorf("%s: member %s: there are no others", place, name)
			}
		default:
			return fmt.Errorf("%s: member %s: not in the document", place, name)
		}
	}
	return nil
}

func listOf(value any) []any {
	if list, ok := value.([]any); ok {
		return list
	}
	return []any{value}
}

func isOfType(value any, name string) bool {
	switch v := value.(type) {
	case nil:
		return name == "null"
	case bool:
		return name == "boolean"
	case string:
		return name == "string"
	case float64:
		return name == "number" || name == "integer" && v == math.Trunc(v)
	case []any:
		return name == "array"
	default:
		return name == "object"
	}
}

func isOfFormat(text, name string) bool {
	switch name {
	case "date-time":
		_, err := time.Parse(time.RFC3339, text)
		return err == nil
	case "uri":
		u, err := url.Parse(text)
		return err == nil && u.IsAbs()
	}
	return false
}

// A check that cannot fail shows nothing.
func TestSchemasAreChecked(t *testing.T) {
	var d openAPI
	must(t, json.Unmarshal([]byte(`{"components": {"schemas": {"Name": {"type": "string", "pattern": "^[a-z]+$"}}}}`), &d))
	for _, tt := range []struct{ schema, value, want string }{
		{`{"type": "string"}`, `"a"`, ""},
		{`{"type": "string"}`, `1`, "type"},
		{`{"type": "integer", "minimum": 400, "maximum": 599}`, `404`, ""},
		{`{"type": "integer"}`, `1.5`, "type"},
		{`{"minimum": 400}`, `399`, "minimum"},
		{`{"maximum": 599}`, `600`, "maximum"},
		{`{"type": ["string", "null"]}`, `null`, ""},
		{`{"type": ["string", "null"]}`, `true`, "type"},
		{`{"const": "Bearer"}`, `"bearer"`, "const"},
		{`{"enum": ["a", "b"]}`, `"c"`, "enum"},
		{`{"$ref": "#/components/schemas/Name"}`, `"a"`, ""},
		{`{"$ref": "#/components/schemas/Name"}`, `"A"`, "pattern"},
		{`{"$ref": "#/components/schemas/Nobody"}`, `"A"`, "no schema"},
		{`{"format": "date-time"}`, `"2026-11-21T00:00:00+00:00"`, ""},
		{`{"format": "date-time"}`, `"today"`, "format"},
		{`{"format": "uri"}`, `"/a"`, "format"},
		{`{"anyOf": [{"type": "string"}, {"type": "null"}]}`, `null`, ""},
		{`{"anyOf": [{"type": "string"}, {"type": "null"}]}`, `1`, "anyOf"},
		{`{"type": "array", "items": {"type": "string"}}`, `["a", 1]`, "[1]"},
		{`{"required": ["a"], "properties": {"a": {"type": "string"}}}`, `{"a": "b"}`, ""},
		{`{"required": ["a"], "properties": {"a": {"type": "string"}}}`, `{}`, "no member a"},
		{`{"properties": {"a": {"type": "string"}}}`, `{"a": 1}`, ".a"},
		{`{"properties": {"a": {"type": "string"}}}`, `{"b": 1}`, "not in the document"},
		{`{"additionalProperties": false}`, `{"b": 1}`, "no others"},
		{`{"additionalProperties": {"type": "string"}}`, `{"b": 1}`, ".b"},
		{`{"additionalProperties": true}`, `{"b": 1}`, ""},
		{`{"maxLength": 1}`, `"b"`, "does not know it"},
	} {
		var schema, value any
		must(t, json.Unmarshal([]byte(tt.schema), &schema))
		must(t, json.Unmarshal([]byte(tt.value), &value))
		if err := d.check(schema, value, "#"); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s, %s: %v, want %q", tt.schema, tt.value, err, tt.want)
		}
	}
}
