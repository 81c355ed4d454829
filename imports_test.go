package main_test

import (
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// module is the name in go.mod, and the start of every import path of ours.
const module = "tokenbroker"

// mayImport is the table that CONTRIBUTING.md speaks of: which of our packages
// may import which.
// The key is the package's folder, "." the root. A package that is missing
// here fails the test: a new folder needs a new question that it answers.
var mayImport = map[string][]string{
	".":                 {"cli"},
	"cli":               {all},
	"entra":             {},
	"defender":          {"entra"},
	"route":             {"entra", "defender"},
	"guard":             {"entra", "route"},
	"cache":             {"entra"},
	"budget":            {"entra"},
	"bridge":            {"entra"},
	"broker":            {"entra", "guard"},
	"proxy":             {"entra", "defender", "route", "budget", "bridge"},
	"protocol":          {"entra", "route", "guard"},
	"server":            {"entra", "guard"},
	"config":            {"entra", "defender", "route", "guard", "proxy"},
	"setup":             {"entra", "defender"},
	"store":             {"entra"},
	"verify":            {"entra"},
	"emulator":          {"entra"},
	"emulator/metadata": {"entra", "emulator/entra"},
	"emulator/vault":    {"entra"},
	"emulator/entra":    {"entra", "emulator"},
	"emulator/defender": {"entra", "defender", "emulator"},
}

// all in a row of mayImport stands for every package of ours.
const all = "*"

// ownedBy names what one package alone may import, by the start of the import
// path. It keeps a library's types and manners from spreading. Tests are
// exempt: they may drive any library.
var ownedBy = map[string]string{
	"github.com/hashicorp/golang-lru":                            "cache",
	"golang.org/x/sync/singleflight":                             "cache",
	"github.com/AzureAD/microsoft-authentication-library-for-go": "broker",
	"github.com/Azure/azure-sdk-for-go":                          "broker",
	"software.sslmate.com/src/go-pkcs12":                         "broker",
	"github.com/zalando/go-keyring":                              "store",
	"golang.org/x/time":                                          "budget",
	"github.com/fsnotify/fsnotify":                               "config",
	"net/http/httputil":                                          "proxy",
	"github.com/labstack":                                        "server",
	"github.com/prometheus/client_golang":                        "server",
	"go.yaml.in/yaml":                                            "config",
	"github.com/spf13/cobra":                                     "cli",
	"github.com/spf13/pflag":                                     "cli",

	"github.com/google/go-cmp":        onlyTests,
	"github.com/rogpeppe/go-internal": onlyTests,
	"github.com/hashicorp/hcl":        onlyTests,
	"go.uber.org/goleak":              onlyTests,
	"pgregory.net/rapid":              onlyTests,
}

// onlyTests owns what the program itself never imports.
const onlyTests = "tests"

// standardOnly lists the packages that import nothing but the standard library.
var standardOnly = []string{"entra"}

// TestImports holds the table above over every Go file of the module, whatever
// its build tags.
func TestImports(t *testing.T) {
	t.Run("tree", func(t *testing.T) {
		files, err := goFiles(os.DirFS("."))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			imports, err := importsOf(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, fault := range importFaults(file, imports) {
				t.Error(fault)
			}
		}
	})

	// A check that cannot fail shows nothing.
	t.Run("can fail", func(t *testing.T) {
		refuse := func(file, imported, want string) {
			t.Helper()
			if got := strings.Join(importFaults(file, []string{imported}), "\n"); !strings.Contains(got, want) {
				t.Errorf("%s imports %s: got fault %q, want one with %q", file, imported, got, want)
			}
		}
		accept := func(file, imported string) {
			t.Helper()
			if got := importFaults(file, []string{imported}); len(got) > 0 {
				t.Errorf("%s imports %s: got %q, want no fault", file, imported, got)
			}
		}

		refuse("cache/cache.go", "tokenbroker/broker", "may import: entra")
		refuse("entra/token.go", "tokenbroker/route", "may import: none of ours")
		refuse("main.go", "tokenbroker/server", "may import: cli")
		refuse("server/server.go", "tokenbroker/emulator/entra", "may import: entra, guard")
		accept("config/load.go", "tokenbroker/proxy")
		accept("cli/wire.go", "tokenbroker/emulator/entra")

		refuse("util/strings.go", "strings", "a new folder needs a row in the table")
		refuse("broker/internal/form.go", "strings", "a new folder needs a row in the table")

		refuse("proxy/proxy.go", "github.com/labstack/echo/v4", "server alone")
		refuse("server/server.go", "net/http/httputil", "proxy alone")
		refuse("cache/cache.go", "github.com/google/go-cmp/cmp", "tests alone")
		refuse("entra/scope.go", "golang.org/x/text/cases", "standard library only")
		accept("server/server.go", "github.com/labstack/echo/v4")
		refuse("proxy/pace.go", "golang.org/x/time/rate", "budget alone")

		// Tests may also use the fakes and any library, not the neighbours.
		refuse("cache/cache_test.go", "tokenbroker/broker", "belongs in cli/ or the root")
		accept("cache/cache_test.go", "tokenbroker/cache")
		accept("cache/cache_test.go", "tokenbroker/emulator/entra")
		accept("cache/cache_test.go", "github.com/google/go-cmp/cmp")
		accept("emulator/entra/entra_test.go", "github.com/AzureAD/microsoft-authentication-library-for-go/apps/public")
		accept("script_test.go", "tokenbroker/server")
	})

	// The linter says the same in the editor, so it has to know the same owners.
	t.Run("linter", func(t *testing.T) {
		config, err := os.ReadFile(".golangci.yml")
		if err != nil {
			t.Fatal(err)
		}
		for owned, owner := range ownedBy {
			if !strings.Contains(string(config), "{pkg: "+owned+",") {
				t.Errorf(".golangci.yml: depguard has no rule for %s, which %s alone may import", owned, owner)
			}
		}
	})
}

// importFaults says what is wrong with a file's imports. The file's name has
// slashes and starts at the module's root.
func importFaults(file string, imports []string) []string {
	pkg, isTest := path.Dir(file), strings.HasSuffix(file, "_test.go")
	mine, known := mayImport[pkg]
	if !known {
		return []string{fmt.Sprintf("%s: %s is not in the table of imports_test.go: a new folder needs a row in the table", file, pkg)}
	}

	var faults []string
	fault := func(format string, args ...any) {
		faults = append(faults, file+": "+fmt.Sprintf(format, args...))
	}
	for _, imported := range imports {
		if our, ok := strings.CutPrefix(imported, module+"/"); ok {
			switch {
			case slices.Contains(mine, our), slices.Contains(mine, all):
			case !isTest:
				fault("must not import %s (may import: %s)", our, list(mine))
			case !testMayImport(pkg, our):
				fault("must not import %s: a test that needs several packages belongs in cli/ or the root", our)
			}
			continue
		}
		if isTest {
			continue
		}
		if owner, ok := ownerOf(imported); ok && owner != pkg {
			fault("must not import %s: it is for %s alone", imported, owner)
		}
		if slices.Contains(standardOnly, pkg) && !isStandard(imported) {
			fault("must not import %s: %s imports the standard library only", imported, pkg)
		}
	}
	return faults
}

// testMayImport reports whether a test of pkg may import our package beyond
// the row of pkg: itself (from package x_test), the vocabulary, the catalogue
// that every route table needs, and the fakes. Tests in the root run the whole
// program and see everything.
func testMayImport(pkg, our string) bool {
	return pkg == "." || our == pkg || our == "entra" || our == "defender" || within(our, "emulator")
}

// ownerOf returns the package that alone may import the path, if there is one.
func ownerOf(imported string) (string, bool) {
	for owned, owner := range ownedBy {
		if within(imported, owned) {
			return owner, true
		}
	}
	return "", false
}

// isStandard goes by the rule of the go command: a path whose first element
// has a dot is not the standard library's.
func isStandard(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return !strings.Contains(first, ".")
}

// within reports whether p is root or lies below it.
func within(p, root string) bool { return p == root || strings.HasPrefix(p, root+"/") }

// list prints a row of the table.
func list(packages []string) string {
	if len(packages) == 0 {
		return "none of ours"
	}
	return strings.Join(packages, ", ")
}

// goFiles returns the Go files of the module, not of modules inside it, and as
// the go command does, not below testdata or a name that starts with . or _.
func goFiles(tree fs.FS) ([]string, error) {
	var files []string
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !entry.IsDir() {
			if path.Ext(name) == ".go" {
				files = append(files, name)
			}
			return nil
		}
		if name == "." {
			return nil
		}
		if base := path.Base(name); base == "testdata" || base[0] == '.' || base[0] == '_' {
			return fs.SkipDir
		}
		if _, err := fs.Stat(tree, name+"/go.mod"); !errors.Is(err, fs.ErrNotExist) {
			return fs.SkipDir
		}
		return nil
	})
	return files, err
}

// importsOf reads the import paths of a file.
func importsOf(file string) ([]string, error) {
	parsed, err := parser.ParseFile(token.NewFileSet(), filepath.FromSlash(file), nil, parser.ImportsOnly)
	if err != nil {
		return nil, err
	}
	var imports []string
	for _, spec := range parsed.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		imports = append(imports, p)
	}
	return imports, nil
}
