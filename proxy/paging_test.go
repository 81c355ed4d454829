package proxy_test

import (
	"bytes"
	gocmp "cmp"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/proxy"
)

// paged is an API of three pages, which takes itself for another host.
func paged(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "application/json; odata.metadata=minimal")
	h.Set("Etag", `"1"`)
	h.Set("Accept-Ranges", "bytes")
	page := r.URL.Query().Get("$skiptoken")
	link := ""
	if len(page) < 2 {
		link = fmt.Sprintf(`,"@odata.nextLink":"https:\/\/localhost:1059%s?$filter=a%%20eq+'b;c'\u0026$skiptoken=%s"`, r.URL.Path, page+"x")
	}
	body := fmt.Sprintf(`{"@odata.context":"https://localhost:1059/api/$metadata","value":[%d]%s}`, len(page), link)
	h.Set("Content-Length", fmt.Sprint(len(body)))
	_, _ = io.WriteString(w, body)
}

func TestPagingStaysOnTheProxy(t *testing.T) {
	up := upstream(t, paged)
	b := start(t, up)
	overTLS := httptest.NewTLSServer(b.proxy)
	t.Cleanup(overTLS.Close)
	trusting := client(t)
	trusting.Transport = overTLS.Client().Transport
	for _, tc := range []struct {
		name   string
		client *http.Client
		base   string
	}{
		{"by the mount", client(t), b.URL + "/proxy/defender"},
		{"for a customer", client(t), b.URL + "/proxy/defender@contoso.example"},
		{"by a listener of its own", client(t), b.listen(t, b.proxy.ForRoute("defender")).URL},
		{"over TLS", trusting, overTLS.URL + "/proxy/defender"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var values []int
			var links []string
			for next := tc.base + "/api/machines"; next != ""; {
				req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, next, nil)
				res, err := tc.client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				var page struct {
					Value []int  `json:"value"`
					Next  string `json:"@odata.nextLink"`
				}
				if err := json.NewDecoder(res.Body).Decode(&page); err != nil {
					t.Fatal(err)
				}
				res.Body.Close()
				if h := res.Header; h.Get("Etag") != `W/"1"` || h.Get("Accept-Ranges") != "" {
					t.Errorf("header of a body that may differ: %v", h)
				}
				values = append(values, page.Value...)
				if next = page.Next; next != "" {
					links = append(links, next)
				}
			}
			if diff := cmp.Diff(values, []int{0, 1, 2}); diff != "" {
				t.Errorf("pages (-got +want):\n%s", diff)
			}
			query := "/api/machines?$filter=a%20eq+'b;c'&$skiptoken="
			if diff := cmp.Diff(links, []string{tc.base + query + "x", tc.base + query + "xx"}); diff != "" {
				t.Errorf("links (-got +want):\n%s", diff)
			}
		})
	}
}

func TestAnswerWithoutABodyKeepsItsHeader(t *testing.T) {
	b := start(t, upstream(t, paged))
	res := b.call(t, http.MethodHead, "/proxy/defender/api/machines", "")
	if h := res.header; h.Get("Etag") != `"1"` || h.Get("Accept-Ranges") != "bytes" || res.length <= 0 {
		t.Errorf("got %v", h)
	}
}

// dressed is how an upstream writes links, and what the caller is to read.
// BASE is the URL that it came by.
var dressed = []struct{ name, in, want string }{
	{"a lower-cased key", `{"@odata.nextlink":"https://h/api/x?$skip=1"}`, `{"@odata.nextlink":"BASE/api/x?$skip=1"}`},
	{"a delta", `{"@odata.deltaLink":"https://h/api/x?$deltatoken=1"}`, `{"@odata.deltaLink":"BASE/api/x?$deltatoken=1"}`},
	{"this machine", `{"@odata.nextLink":"https://127.0.0.1/api/x?pagesize=1&sincetime=2"}`, `{"@odata.nextLink":"BASE/api/x?pagesize=1&sincetime=2"}`},
	{"with a port", `{"@odata.nextLink":"https://localhost:1059/api/x"}`, `{"@odata.nextLink":"BASE/api/x"}`},
	{"a staging host", `{"@odata.nextLink":"https://wdatpprd-x.cloudapp.net/api/x"}`, `{"@odata.nextLink":"BASE/api/x"}`},
	{"an odd query", `{"@odata.nextLink":"https://h/api/x?$skiptoken=a%2Bb==&$expand=a($select=b;$top=1)&x=%zz|^"}`, `{"@odata.nextLink":"BASE/api/x?$skiptoken=a%2Bb==&$expand=a($select=b;$top=1)&x=%zz|^"}`},
	{"in a value", `{"a":"see \"@odata.nextLink\":\"https://h/api/x\"","b":"@odata.nextLink"}`, ``},
	{"a file's link", `{"@odata.context":"https://h/api/$metadata","exportFiles":["https://x.blob.core.windows.net/a.json.gz?sig=b"]}`, ``},
}

func TestLinksInEveryDress(t *testing.T) {
	body := make(chan string, 1)
	b := start(t, upstream(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, <-body)
	}))
	for _, base := range []string{b.URL + "/proxy/defender", b.URL + "/proxy/defender@contoso.example", b.listen(t, b.proxy.ForRoute("defender")).URL} {
		for _, tc := range dressed {
			body <- tc.in
			want := gocmp.Or(strings.ReplaceAll(tc.want, "BASE", base), tc.in)
			if res := call(t, http.MethodGet, base+"/api/x", ""); res.body != want {
				t.Errorf("%s: got %s, want %s", tc.name, res.body, want)
			}
		}
	}
}

// What the proxy cannot keep on itself it names in the log.
func TestLinksThatStayAreLogged(t *testing.T) {
	for name, answer := range map[string]func(w http.ResponseWriter){
		"past the upstream's path": func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, `{"@odata.nextLink":"https://h/elsewhere?sig=secret"}`)
		},
		"compressed unasked": func(w http.ResponseWriter) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = io.WriteString(z, `{"@odata.nextLink":"https://h/base/v%201/x"}`)
			z.Close()
		},
	} {
		var log bytes.Buffer
		up := upstream(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			answer(w)
		})
		b := start(t, up, func(cfg *proxy.Config) { cfg.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		b.call(t, http.MethodGet, "/proxy/based/api/x", "")
		if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "route=based") || strings.Contains(got, "secret") {
			t.Errorf("%s: log: %s", name, got)
		}
	}
}
