package protocol

import (
	_ "embed"
	"encoding/json"
	"maps"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
)

//go:embed openapi.json
var openAPI []byte

// OpenAPI is GET /openapi.json: what a listener serves, in the words of OpenAPI
// 3.1 (spec.openapis.org/oas/v3.1.1). It holds no secret.
type OpenAPI struct{ document func() []byte }

// Served is a path that a listener serves.
type Served struct {
	Path    string   // as the router has it: :name for a segment, * at the end for any rest
	Methods []string // GET stands for HEAD too. Nil: all
}

// openAPIDocument is the document as far as it differs between listeners.
type openAPIDocument struct {
	OpenAPI    string                                `json:"openapi"`
	Info       openAPIInfo                           `json:"info"`
	Servers    json.RawMessage                       `json:"servers"`
	Tags       []openAPITag                          `json:"tags"`
	Paths      map[string]map[string]json.RawMessage `json:"paths"` // by path and method
	Components json.RawMessage                       `json:"components"`
}

type openAPIInfo struct {
	Title       string          `json:"title"`
	Summary     string          `json:"summary"`
	Description string          `json:"description"`
	License     json.RawMessage `json:"license"`
	Version     string          `json:"version"`
}

type openAPITag struct {
	Name        string `json:"name"`
	Description string `json:"description"`
}

// NewOpenAPI describes a listener of a broker of that version. What is not served,
// such as protocols that are off, is left out.
func NewOpenAPI(version string, served []Served) OpenAPI {
	// Made when it is first asked for: most configurations come and go without.
	return OpenAPI{sync.OnceValue(func() []byte { return documentOf(version, served) })}
}

func documentOf(version string, served []Served) []byte {
	var d openAPIDocument
	_ = json.Unmarshal(openAPI, &d) // our own, which the tests read
	d.Info.Version = version
	tags := map[string]bool{}
	for template, item := range d.Paths {
		maps.DeleteFunc(item, func(method string, _ json.RawMessage) bool {
			return method != "parameters" && !slices.ContainsFunc(served, func(s Served) bool { return s.takes(template, method) })
		})
		names := tagsOf(item)
		if len(names) == 0 {
			delete(d.Paths, template)
		}
		for _, name := range names {
			tags[name] = true
		}
	}
	d.Tags = slices.DeleteFunc(d.Tags, func(t openAPITag) bool { return !tags[t.Name] })
	document, _ := json.Marshal(d) // of JSON that was read
	return append(document, '\n')
}

// tagsOf are the tags of the operations at a path. Each has one.
func tagsOf(item map[string]json.RawMessage) (tags []string) {
	for _, raw := range item {
		var operation struct {
			Tags []string `json:"tags"`
		}
		_ = json.Unmarshal(raw, &operation) // fails for the parameters, which are a list
		tags = append(tags, operation.Tags...)
	}
	return tags
}

// takes reports whether it is here that the operation is served.
func (s Served) takes(template, method string) bool {
	if s.Methods != nil && !slices.Contains(s.Methods, strings.ToUpper(method)) {
		return false
	}
	if prefix, rest := strings.CutSuffix(s.Path, "*"); rest {
		return strings.HasPrefix(template, prefix)
	}
	return shapeOf(s.Path) == shapeOf(template)
}

var pathParameter = regexp.MustCompile(`:[^/]+|\{[^/]+\}`)

// shapeOf is a path without the names of its parameters, and without what makes
// several spellings of it: letter case, and slashes to spare.
func shapeOf(template string) string {
	return strings.ToLower(path.Clean(pathParameter.ReplaceAllString(template, "{}")))
}

// ServeHTTP answers with the document.
func (o OpenAPI) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	writeAnswer(w, "application/json", o.document())
}
