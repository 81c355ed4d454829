package main

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"tokenbroker/defender"
	"tokenbroker/setup"
)

const defenderPage = "docs/defender.md"

// section is what stands below a heading of a page, up to the next of its rank.
func section(t *testing.T, page, heading string) string {
	t.Helper()
	_, rest, ok := strings.Cut(read(t, page), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("%s has no section %s", page, heading)
	}
	text, _, _ := strings.Cut(rest, "\n## ")
	return text
}

// TestDocumentedHintsAreThoseOfTheCode holds the list of hints to
// proxy/hint.go, both ways: by the words between what varies.
func TestDocumentedHintsAreThoseOfTheCode(t *testing.T) {
	t.Parallel()
	said := hintTexts(t)
	text := section(t, defenderPage, "Hints")
	var listed []string // between the names
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| [^|]+ \\| [^|]+ \\|$").FindAllStringSubmatch(text, -1) {
		for part := range strings.SplitSeq(row[1], "…") {
			listed = append(listed, part)
			if !known(said, part) {
				t.Errorf("the page has the hint %q, and proxy/hint.go no %q", row[1], part)
			}
		}
	}
	if len(listed) < 20 {
		t.Errorf("only %q found", listed)
	}
	for _, part := range said {
		if !known(listed, part) && !strings.Contains(text, part) {
			t.Errorf("the code says %q, and the page does not", part)
		}
	}
}

// known reports whether a text is made of the parts, which follow each other in
// no certain order.
func known(parts []string, text string) bool {
	return strings.Trim(text, " ,") == "" || slices.ContainsFunc(parts, func(part string) bool {
		rest, ok := strings.CutPrefix(text, part)
		return ok && part != "" && known(parts, rest)
	})
}

// hintTexts lists what the methods of a refusal write, cut where names stand.
func hintTexts(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "proxy/hint.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	verb := regexp.MustCompile(`%[a-z]`)
	var all []string
	for _, declaration := range file.Decls {
		f, ok := declaration.(*ast.FuncDecl)
		if !ok || f.Name.Name != "list" && !slices.Contains([]string{"why", "wrongAudience", "missing", "held"}, f.Name.Name) {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			literal, ok := n.(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING {
				return true
			}
			text, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range verb.Split(text, -1) {
				if regexp.MustCompile("[a-z]{2}").MatchString(part) && !slices.Contains(all, part) {
					all = append(all, part)
				}
			}
			return true
		})
	}
	if len(all) < 15 {
		t.Fatalf("proxy/hint.go says only %q", all)
	}
	return all
}

// TestDocumentedDefenderRequestsWork runs the curl lines of docs/defender.md
// against a demo, and checks its configuration.
func TestDocumentedDefenderRequestsWork(t *testing.T) {
	t.Parallel()
	lines := curlLines(snippets(t, defenderPage))
	if len(lines) < 4 {
		t.Fatalf("%s has %d curl lines, want four or more", defenderPage, len(lines))
	}
	p := start(t, nil, "demo")
	for _, line := range lines {
		c := parseCurl(t, line)
		c.url = strings.Replace(c.url, "http://localhost:5178", p.vars["CALLERS"], 1)
		if a := c.do(t); a.status != http.StatusOK || !json.Valid([]byte(a.body)) {
			t.Errorf("%s\n%.500s", line, a)
		}
	}

	_, rest, _ := strings.Cut(read(t, defenderPage), "```yaml\n")
	settings, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatalf("%s has no configuration", defenderPage)
	}
	dir := t.TempDir()
	for name, content := range map[string]string{"tokenbroker.yaml": settings, "client-secret": "secret"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "tokenbroker", "check", "--config", "tokenbroker.yaml")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "\nends on ") {
		t.Errorf("%v\n%s\nwant what ends", err, out)
	}
}

// The page names the resource applications as everything else does that speaks
// of them.
func TestDocumentedResourcesHaveTheirNames(t *testing.T) {
	t.Parallel()
	text := section(t, defenderPage, "Audiences")
	for _, api := range []defender.API{defender.XDR, defender.MDE, defender.Graph} {
		if row := "\n| " + setup.Resource(api) + " | " + string(api) + " |"; !strings.Contains(text, row) {
			t.Errorf("%s has no row %q", defenderPage, row)
		}
	}
}

// A link to a section leads to one that there is.
func TestAnchorsInDocumentsResolve(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^)\s#:]*)#([^)\s]+)\)`)
	count := 0
	for _, page := range documents(t) {
		for _, match := range link.FindAllStringSubmatch(read(t, page), -1) {
			count++
			target := page
			if match[1] != "" {
				target = filepath.Join(filepath.Dir(page), filepath.FromSlash(match[1]))
			}
			if !slices.Contains(anchors(read(t, target)), match[2]) {
				t.Errorf("%s: no section #%s in %s", page, match[2], target)
			}
		}
	}
	if count < 10 {
		t.Errorf("only %d links to sections found", count)
	}
}

// anchors are the names that a page's headings have in links.
func anchors(text string) []string {
	var all []string
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(text, -1) {
		name := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(heading[1]), "")
		all = append(all, strings.ReplaceAll(name, " ", "-"))
	}
	return all
}

// The README says of the retirement what the catalogue has.
func TestReadmeSaysWhatEnds(t *testing.T) {
	t.Parallel()
	text := section(t, "README.md", "What ends on "+defender.RetirementEnds().Format("2 January 2006"))
	wanted := []string{defender.RetirementNotice}
	catalogue, err := defender.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range catalogue.Endpoints() {
		if _, settled := e.Retirement(); settled {
			wanted = append(wanted, "`"+e.String()+"`", "`"+e.Counterpart+"`")
		}
	}
	for _, want := range wanted {
		if !strings.Contains(text, want) {
			t.Errorf("the README does not name %s", want)
		}
	}
}
