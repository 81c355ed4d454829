package protocol_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/protocol"
)

// openAPIFile is the document with all that a listener can serve.
func openAPIFile(t *testing.T) (content []byte, document map[string]any) {
	t.Helper()
	content, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, &document); err != nil {
		t.Fatal(err)
	}
	return content, document
}

// One form, so that a change of the document is small in a diff.
func TestOpenAPIIsInOneForm(t *testing.T) {
	content, _ := openAPIFile(t)
	var want bytes.Buffer
	if err := json.Indent(&want, content, "", "  "); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(content), want.String()); diff != "" {
		t.Errorf("openapi.json (-is +should be):\n%s", diff)
	}
	members := json.NewDecoder(bytes.NewReader(content))
	if _, err := members.Token(); err != nil {
		t.Fatal(err)
	}
	if err := checkTwice(members, "#"); err != nil {
		t.Error(err)
	}
}

// checkTwice reads what has begun, and says which member stands there twice: of
// two, encoding/json would take the latter.
func checkTwice(d *json.Decoder, place string) error {
	seen := map[string]bool{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return err
		}
		name, isName := token.(string)
		if isName && seen[name] {
			return fmt.Errorf("%s: %s stands there twice", place, name)
		}
		if isName {
			seen[name] = true
			if token, err = d.Token(); err != nil {
				return err
			}
		}
		switch token {
		case json.Delim('{'):
			if err := checkTwice(d, place+"/"+name); err != nil {
				return err
			}
		case json.Delim('['):
			for d.More() {
				var element json.RawMessage
				if err := d.Decode(&element); err != nil {
					return err
				}
				if inner := json.NewDecoder(bytes.NewReader(element)); element[0] == '{' {
					_, _ = inner.Token()
					if err := checkTwice(inner, place+"/"+name); err != nil {
						return err
					}
				}
			}
			_, _ = d.Token()
		}
	}
	_, err := d.Token()
	return err
}

// walk visits every object in a document, with its place.
func walk(value any, place string, visit func(place string, object map[string]any)) {
	switch v := value.(type) {
	case map[string]any:
		visit(place, v)
		for name, member := range v {
			walk(member, place+"/"+strings.NewReplacer("~", "~0", "/", "~1").Replace(name), visit)
		}
	case []any:
		for i, element := range v {
			walk(element, fmt.Sprint(place, "/", i), visit)
		}
	}
}

func TestOpenAPIReferencesResolve(t *testing.T) {
	_, document := openAPIFile(t)
	defined, used := map[string]bool{}, map[string]bool{}
	for kind, components := range document["components"].(map[string]any) {
		for name := range components.(map[string]any) {
			defined["#/components/"+kind+"/"+name] = true
		}
	}
	walk(document, "#", func(place string, object map[string]any) {
		if ref, ok := object["$ref"].(string); ok {
			used[ref] = true
			if !defined[ref] {
				t.Errorf("%s: %s is not there", place, ref)
			}
		}
		schemes, _ := object["security"].([]any)
		for _, either := range schemes {
			for name := range either.(map[string]any) {
				used["#/components/securitySchemes/"+name] = true
				if !defined["#/components/securitySchemes/"+name] {
					t.Errorf("%s: no security scheme %s", place, name)
				}
			}
		}
	})
	for name := range defined {
		if !used[name] {
			t.Errorf("%s: nothing refers to it", name)
		}
	}
	if len(used) < 40 {
		t.Errorf("found only %d references", len(used))
	}
}

func TestOpenAPIOperationsAreWhole(t *testing.T) {
	_, document := openAPIFile(t)
	parameters := document["components"].(map[string]any)["parameters"].(map[string]any)
	tags := map[string]bool{}
	for _, tag := range document["tags"].([]any) {
		tags[tag.(map[string]any)["name"].(string)] = true
	}
	ids := map[string]string{}
	for path, item := range document["paths"].(map[string]any) {
		var declared []string
		walk(item, path, func(_ string, object map[string]any) {
			if ref, ok := object["$ref"].(string); ok {
				object, _ = parameters[ref[strings.LastIndexByte(ref, '/')+1:]].(map[string]any)
			}
			if object["in"] == "path" {
				declared = append(declared, object["name"].(string))
			}
		})
		var named []string
		for _, match := range regexp.MustCompile(`\{([^}]+)\}`).FindAllStringSubmatch(path, -1) {
			named = append(named, match[1])
		}
		slices.Sort(declared)
		slices.Sort(named)
		if diff := cmp.Diff(named, declared); diff != "" {
			t.Errorf("%s: parameters (-named +declared):\n%s", path, diff)
		}
		for method, value := range item.(map[string]any) {
			if method == "parameters" {
				continue
			}
			place, operation := path+" "+method, value.(map[string]any)
			id, _ := operation["operationId"].(string)
			if other := ids[id]; id == "" || other != "" {
				t.Errorf("%s: operationId %q is that of %q too", place, id, other)
			}
			ids[id] = place
			if tag, _ := operation["tags"].([]any); len(tag) != 1 || !tags[tag[0].(string)] {
				t.Errorf("%s: tags %v: want one of those above", place, tag)
			}
			if operation["summary"] == nil || operation["security"] == nil {
				t.Errorf("%s: want a summary, and how a caller proves itself", place)
			}
			responses, _ := operation["responses"].(map[string]any)
			if len(responses) == 0 {
				t.Errorf("%s: no responses", place)
			}
			for status, response := range responses {
				r := response.(map[string]any)
				if ref, ok := r["$ref"].(string); ok && !strings.HasSuffix(ref, status) || !ok && r["description"] == nil {
					t.Errorf("%s: %s: want a description, or a reference to a response of that status", place, status)
				}
			}
		}
	}
}

func TestOpenAPIHasWhatIsServed(t *testing.T) {
	get, post := []string{http.MethodGet}, []string{http.MethodPost}
	for _, tt := range []struct {
		name   string
		served []protocol.Served
		want   map[string][]string
		tags   []string
	}{
		{"nothing", nil, map[string][]string{}, []string{}},
		{"some methods of a path", []protocol.Served{{"/msi/token", post}, {"/token", []string{"GET", "POST"}}}, map[string][]string{"/msi/token": {"post"}, "/token": {"get", "post"}}, []string{"Tokens", "Cloud Shell"}},
		{"all below a path", []protocol.Served{{"/proxy/*", nil}}, map[string][]string{"/proxy/{route}/{path}": {"delete", "get", "head", "options", "parameters", "patch", "post", "put"}}, []string{"Calls"}},
		{"parameters", []protocol.Served{{"/:anything/oauth2/token", post}}, map[string][]string{"/{tenant}/oauth2/token": {"parameters", "post"}}, []string{"OAuth 2.0"}},
		{"spellings", []protocol.Served{{"//metadata/identity/oauth2/token", get}, {"/metadata/identity/oauth2/token/", get}, {"/validate", get}}, map[string][]string{"/metadata/identity/oauth2/token": {"get"}, "/Validate": {"get"}}, []string{"IMDS", "Entra sidecar"}},
		{"a path of its own", []protocol.Served{{"/adfs/oauth2/token", post}, {"/oauth2/token", post}}, map[string][]string{"/adfs/oauth2/token": {"post"}, "/oauth2/token": {"post"}}, []string{"Cloud Shell", "OAuth 2.0"}},
		{"what is not there", []protocol.Served{{"/nosuch", get}, {"/token", []string{"PUT"}}}, map[string][]string{}, []string{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			protocol.NewOpenAPI("v1.2.3", tt.served).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/openapi.json", nil))
			var got struct {
				OpenAPI    string
				Info       struct{ Title, Version string }
				Tags       []struct{ Name string }
				Paths      map[string]map[string]any
				Components struct{ Schemas map[string]any }
			}
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			paths, tags := map[string][]string{}, []string{}
			for path, item := range got.Paths {
				paths[path] = slices.Sorted(maps.Keys(item))
			}
			for _, tag := range got.Tags {
				tags = append(tags, tag.Name)
			}
			if diff := cmp.Diff(tt.want, paths); diff != "" {
				t.Errorf("paths (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.tags, tags); diff != "" {
				t.Errorf("tags (-want +got):\n%s", diff)
			}
			if got.OpenAPI != "3.1.0" || got.Info.Title != "tokenbroker" || got.Info.Version != "v1.2.3" || got.Components.Schemas["Problem"] == nil {
				t.Errorf("%s, %+v, schemas %v", got.OpenAPI, got.Info, got.Components.Schemas)
			}
			if h := w.Header(); h.Get("Content-Type") != "application/json" {
				t.Errorf("header %v", h)
			}
		})
	}
}
