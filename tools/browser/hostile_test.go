package browser

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// attack is the script of a hostile page: it takes the broker's address.
//
//go:embed testdata/hostile.js
var attack string

// doors are the paths that the script tries and that are audited.
var doors = []string{
	"/token", "/whoami", "/proxy/defender/api/machines", "/proxy/defender/api/advancedhunting/run",
	"/login", "/login/answer", "/logout",
}

// hostile is a web server of somebody else's. It shows an empty page, and to
// its own name at the broker's port, which it has rebound meanwhile, the
// broker.
type hostile struct {
	*httptest.Server
	broker string // host:port
}

func newHostile(t *testing.T) *hostile {
	t.Helper()
	h := new(hostile)
	rebound := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "http", h.broker, r.In.Host
	}}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			rebound.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<!DOCTYPE html><title>hostile</title><body>"))
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hostile) port() string { return h.URL[strings.LastIndexByte(h.URL, ':')+1:] }

func TestHostilePagesGetNothing(t *testing.T) {
	evil := newHostile(t)
	w := newWorld(t, "MAP evil.example 127.0.0.1:"+evil.port()) // at every port
	evil.broker = strings.TrimPrefix(w.callers, "http://")
	port := evil.broker[strings.LastIndexByte(evil.broker, ':'):]
	login, page := w.login()
	b := w.tab()
	b.open(page)
	b.signIn(alice, w.password(alice))
	w.signedIn(login, alice, aliceObject) // so there is something to be had

	for name, site := range map[string]struct{ origin, broker, rule string }{
		"another site":        {"http://evil.example", w.callers, "guard.site"},
		"another site, named": {"http://evil.example", "http://localhost" + port, "guard.site"},
		"another port":        {"http://localhost:" + evil.port(), "http://localhost" + port, "guard.site"},
		"a sealed frame":      {"data:text/html,<body>", w.callers, "guard.site"},
		"a rebound name":      {"http://evil.example" + port, "http://evil.example" + port, "guard.host"},
	} {
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			records, figures, seen := len(w.audit()), w.figures(), w.seen()
			b := w.tab()
			b.open(site.origin)
			learned := get(b, chromedp.Evaluate[[]string](fmt.Sprintf("(%s)(%q)", attack, site.broker), chromedp.EvalAwaitPromise))
			for _, got := range learned {
				if !strings.Contains(got, " opaque 0 ") && !strings.Contains(got, "not a name of this listener") {
					t.Errorf("the page read: %s", got)
				}
			}
			// It may also have the browser go there.
			shown := b.follow(chromedp.Evaluate[chromedp.Void]("void (location.href = '" + site.broker + "/token?route=defender')"))
			if shown.Status != http.StatusForbidden || strings.Contains(b.text("body"), "eyJ") {
				t.Errorf("the browser shows %d %s", shown.Status, b.text("body"))
			}

			tried := map[string]int{}
			for _, r := range w.audit()[records:] {
				tried[r.Path]++
				if r.Decision != "deny" || r.Rule != site.rule || r.Status != http.StatusForbidden {
					t.Errorf("the broker has it that %+v", r)
				}
			}
			for _, door := range doors {
				if tried[door] < 4 {
					t.Errorf("%s was tried %d times: %v", door, tried[door], tried)
				}
			}
			if got := w.figures(); !slices.Equal(got, figures) {
				t.Errorf("answered well: %s, before %s", got, figures)
			}
			if got := w.seen(); got != seen {
				t.Errorf("Entra and Defender saw %s, before %s", got, seen)
			}
		})
	}
	w.signedIn(login, alice, aliceObject)
}

// record is a line of the audit file.
type record struct {
	Path, Decision, Rule string
	Status               int
}

// audit reads the records. That of a request is there when its connection takes
// the next one.
func (w *world) audit() (records []record) {
	w.t.Helper()
	if status, body := w.call(http.MethodGet, w.callers+"/nothing", ""); status != http.StatusNotFound {
		w.t.Fatal(status, body)
	}
	content, err := os.ReadFile(filepath.Join(w.dir, "audit.jsonl"))
	w.must(err)
	for line := range strings.Lines(string(content)) {
		var r record
		w.must(json.Unmarshal([]byte(line), &r))
		records = append(records, r)
	}
	return records
}

// figures are the broker's counts of requests that it did not refuse.
func (w *world) figures() []string {
	w.t.Helper()
	status, text := w.call(http.MethodGet, w.ops+"/metrics", "")
	found := regexp.MustCompile(`(?m)^tokenbroker_(requests_total\{class="[123]xx"|proxied_total|entra_requests_total|cache_entries).*$`).FindAllString(text, -1)
	if status != http.StatusOK || len(found) < 3 {
		w.t.Fatal(status, text)
	}
	return found
}

// seen is what the fakes have seen.
func (w *world) seen() string {
	w.t.Helper()
	_, entra := w.call(http.MethodGet, w.fakes.Entra+"/_emulator/stats", "")
	_, defender := w.call(http.MethodGet, w.fakes.Defender+"/_emulator/stats", "")
	return entra + defender
}
