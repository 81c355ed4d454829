package config

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"text/template"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/defender"
	"tokenbroker/entra"
)

var update = flag.Bool("update", false, "write docs/configuration.md anew")

const docFile = "../docs/configuration.md"

// TestDocumentation holds docs/configuration.md to the comments and tags of
// the settings, so that nobody has to remember to write a setting down twice.
func TestDocumentation(t *testing.T) {
	example, err := os.ReadFile("testdata/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	page := template.Must(template.ParseFiles("testdata/configuration.md.tmpl"))
	var b strings.Builder
	if err := page.Execute(&b, map[string]any{
		"Builtin": builtin(t), "Example": string(example), "Sections": sections(t),
	}); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.MkdirAll("../docs", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(docFile, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(docFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(got), b.String()); diff != "" {
		t.Errorf("%s is not what the settings say; run: go test ./config -run TestDocumentation -update\n%s", docFile, diff)
	}
}

type docBuiltin struct {
	Cloud entra.Cloud
	defender.Builtin
}

func builtin(t *testing.T) []docBuiltin {
	t.Helper()
	var all []docBuiltin
	for _, cloud := range entra.Clouds() {
		for _, b := range catalogue(t).Builtin(cloud, "") {
			all = append(all, docBuiltin{cloud, b})
		}
	}
	return all
}

type docSection struct {
	Title, Text string
	Settings    []docSetting
}

type docSetting struct{ Path, Variable, Default, Text string }

// sections lists the settings as the page shows them: first those that stand
// alone, then a section for each mapping.
func sections(t *testing.T) []docSection {
	t.Helper()
	comments := fieldComments(t)
	all := []docSection{{Title: "Top level"}}
	for _, f := range fields(reflect.TypeFor[Config]()) {
		key, text := f.Tag.Get("yaml"), comments["Config."+f.Name]
		inner := f.Type
		switch inner.Kind() {
		case reflect.Map:
			key, inner = key+".<name>", inner.Elem()
		case reflect.Slice:
			key, inner = key+"[]", inner.Elem()
		}
		if len(fields(inner)) == 0 {
			all[0].Settings = append(all[0].Settings, leaf(f, key, text))
			continue
		}
		section := docSection{Title: "`" + f.Tag.Get("yaml") + "`", Text: text}
		section.Settings = leaves(inner, key, comments)
		all = append(all, section)
	}
	return all
}

// leaves lists the settings of a type, and of the types inside it.
func leaves(section reflect.Type, path string, comments map[string]string) []docSetting {
	var all []docSetting
	for _, f := range fields(section) {
		at, text := join(path, f.Tag.Get("yaml")), comments[section.Name()+"."+f.Name]
		inner := f.Type
		if inner.Kind() != reflect.Slice {
			if len(fields(inner)) > 0 {
				if isText(inner) {
					all = append(all, leaf(f, at, text))
				}
				all = append(all, leaves(inner, at, comments)...)
				continue
			}
			all = append(all, leaf(f, at, text))
			continue
		}
		all = append(all, leaf(f, at, text))
		all = append(all, leaves(inner.Elem(), at+"[]", comments)...)
	}
	return all
}

func leaf(f reflect.StructField, path, text string) docSetting {
	s := docSetting{Path: path, Default: f.Tag.Get("default"), Text: text}
	if slices.ContainsFunc(settings(new(Config)), func(s setting) bool { return s.path == path }) {
		s.Variable = variable(path)
	}
	if low, ok := f.Tag.Lookup("min"); ok {
		s.Text += " From `" + low + "` to `" + f.Tag.Get("max") + "`."
	}
	return s
}

// fieldComments reads the comments on the settings: Cache.Size to its text.
func fieldComments(t *testing.T) map[string]string {
	t.Helper()
	comments := map[string]string{}
	for _, name := range []string{"config.go", "identity.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if section, ok := spec.Type.(*ast.StructType); ok {
				readComments(t, spec.Name.Name, section, comments)
			}
			return false
		})
	}
	return comments
}

func readComments(t *testing.T, section string, settings *ast.StructType, comments map[string]string) {
	t.Helper()
	for _, f := range settings.Fields.List {
		text := strings.Join(strings.Fields(f.Doc.Text()), " ")
		if f.Tag != nil && text == "" {
			t.Errorf("%s.%s has no comment", section, f.Names[0])
		}
		comments[section+"."+f.Names[0].Name] = text
	}
}
