package proxy_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
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
