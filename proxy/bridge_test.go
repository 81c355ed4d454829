package proxy_test

import (
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"tokenbroker/defender"
	"tokenbroker/entra"
	"tokenbroker/proxy"
	"tokenbroker/route"
)

const graphScope = entra.Scope("https://graph.microsoft.com/.default")

// startBridge starts a broker whose route defender has a bridge to Graph: each
// leads to an upstream of its own.
func startBridge(t *testing.T, graph http.HandlerFunc, options ...func(*proxy.Config)) *broker {
	t.Helper()
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/graph/") {
			t.Errorf("got %s, want the old API left alone", r.URL.Path)
		}
		graph(w, r)
	})
	catalogue, err := defender.Load()
	if err != nil {
		t.Fatal(err)
	}
	to := func(name, host, path string) route.Route {
		u, err := url.Parse(up.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		r := route.Route{Name: name, Upstream: u}
		r.Host, _ = catalogue.Host(host)
		return r
	}
	bridged := to("defender", "api.security.microsoft.com", "")
	bridged.Bridge = route.GraphHunting
	table, err := route.NewTable(route.Config{
		Catalogue:  catalogue,
		Identities: []route.Identity{{Name: "default", ID: "id-1", Tenant: home}},
		Routes:     []route.Route{bridged, to("graph", "graph.microsoft.com", "/graph")},
	})
	if err != nil {
		t.Fatal(err)
	}
	return start(t, up, append([]func(*proxy.Config){func(cfg *proxy.Config) {
		cfg.Resolve, cfg.Catalogue = visible(table), catalogue
	}}, options...)...)
}

func graphSays(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json;odata.metadata=minimal")
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

const graphRows = `{"@odata.context":"x","schema":[{"name":"n","type":"long"}],"results":[{"n@odata.type":"#Int64","n":9007199254740993}]}`

func TestBridgeTranslatesThereAndBack(t *testing.T) {
	source := &tokens{}
	var got *http.Request
	var sent []byte
	b := startBridge(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Clone(r.Context())
		sent, _ = io.ReadAll(r.Body)
		graphSays(200, graphRows, "Content-Length", strconv.Itoa(len(graphRows)), "Etag", `"1"`)(w, r)
	}, func(cfg *proxy.Config) { cfg.Source = source })

	a := b.call(t, "POST", "/proxy/defender/api/advancedhunting/run?x=1", `{"query":"DeviceInfo | where a == \"\u00e9\"","Timespan":"P1D"}`,
		"Content-Type", "text/plain", "Accept", "application/json;odata.metadata=full;IEEE754Compatible=true", "Expect", "100-continue", "X-Client", "mine")
	if want := `{"Schema":[{"Name":"n","Type":"Int64"}],"Results":[{"n":9007199254740993}],"Stats":{`; a.status != 200 || !strings.HasPrefix(a.body, want) {
		t.Errorf("got %d %s, want %s", a.status, a.body, want)
	}
	// Its length, or none where it went out in pieces; never Graph's.
	if a.header.Get("Content-Type") != "application/json; charset=utf-8" || a.length != int64(len(a.body)) && a.length != -1 || a.header.Get("Etag") != `W/"1"` || a.header.Get("Sunset") != "" {
		t.Errorf("got header %v and length %d, want what holds for this body, and no end announced", a.header, a.length)
	}
	if got.RequestURI != "/graph/v1.0/security/runHuntingQuery" || string(sent) != `{"Query":"DeviceInfo | where a == \"\u00e9\""}` {
		t.Errorf("Graph got %s %s", got.RequestURI, sent)
	}
	h := got.Header
	if h.Get("Authorization") != "Bearer token-1" || h.Get("Content-Type") != "application/json; charset=utf-8" || h.Get("Accept") != "application/json" || h.Get("Expect") != "" || h.Get("X-Client") != "mine" {
		t.Errorf("Graph got header %v", h)
	}
	if len(source.asked) != 1 || source.asked[0].Scope != graphScope || source.asked[0].Use != entra.Proxy || source.asked[0].Route != "defender" {
		t.Errorf("asked for %+v, want Graph's token for a call of defender", source.asked)
	}
	trail := <-b.trails
	if trail.Scope != graphScope || trail.Endpoint != "POST /api/advancedhunting/run" || trail.Rule != "routes.defender.access" || trail.Upstream != 200 {
		t.Errorf("got trail %+v", trail)
	}
}

func TestBridgeTakesABodyOfUnknownLength(t *testing.T) {
	b := startBridge(t, func(w http.ResponseWriter, r *http.Request) {
		if body, err := io.ReadAll(r.Body); err != nil || string(body) != `{"Query":"x"}` || r.ContentLength != int64(len(body)) {
			t.Errorf("got %q of length %d, %v", body, r.ContentLength, err)
		}
		graphSays(200, graphRows)(w, r)
	})
	a := raw(t, b.URL, "POST /proxy/defender/api/advancedqueries/run HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nd\r\n{\"Query\":\"x\"}\r\n0\r\n\r\n")
	if a.status != 200 || !strings.HasPrefix(a.body, `{"Schema"`) {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

func TestBridgeRefusesWhatIsNoQuery(t *testing.T) {
	b := startBridge(t, func(http.ResponseWriter, *http.Request) { t.Error("it went to Graph") })
	for _, body := range []string{"", "{}", `{"Query":`, "\x1f\x8b"} {
		if a := b.call(t, "POST", "/proxy/defender/api/advancedhunting/run", body); a.status != 400 || a.kind() != "invalid" || !strings.Contains(a.body, `{\"Query\": \"…\"}`) {
			t.Errorf("%q: got %d %s, want the remedy", body, a.status, a.body)
		}
	}
}

// Graph's errors have the shape of the old APIs'; its limits are named.
func TestBridgePassesErrorsOn(t *testing.T) {
	for _, tt := range []struct {
		status     int
		body, hint string
	}{
		{400, `{"error":{"code":"BadRequest","message":"Query execution has exceeded the allowed result size."}}`, "at most 50 MB"},
		{400, `{"error":{"code":"BadRequest","message":"Fix semantic errors in your query."}}`, ""},
		{429, `{"error":{"code":"TooManyRequests","message":"","results":[]}}`, "at least 45 queries a minute"},
		{504, `{"error":{"code":"UnknownError","message":""}}`, "at most 3 minutes"},
		{503, "<html>", ""},
	} {
		b := startBridge(t, graphSays(tt.status, tt.body, "Retry-After", "7"))
		a := b.call(t, "POST", "/proxy/defender/api/advancedhunting/run", `{"Query":"x"}`)
		hint := a.header.Get("X-Token-Broker-Hint")
		if a.status != tt.status || a.body != tt.body || a.header.Get("Retry-After") != "7" || (hint == "") != (tt.hint == "") || !strings.Contains(hint, tt.hint) {
			t.Errorf("got %d %s, hint %q, Retry-After %q; want it as it was, with %q", a.status, a.body, hint, a.header.Get("Retry-After"), tt.hint)
		}
	}
}

func TestBridgeForgetsTheHintOfARoundBefore(t *testing.T) {
	calls := 0
	b := startBridge(t, func(w http.ResponseWriter, r *http.Request) {
		if calls++; calls == 1 {
			graphSays(429, `{"error":{"code":"TooManyRequests","message":""}}`, "Retry-After", "1")(w, r)
			return
		}
		graphSays(200, graphRows)(w, r)
	}, paced)
	a := b.call(t, "POST", "/proxy/defender/api/advancedhunting/run", `{"Query":"x"}`, "Prefer", "wait=30")
	if a.status != 200 || calls != 2 || a.header.Get("X-Token-Broker-Hint") != "" {
		t.Errorf("got %d after %d calls, hint %q", a.status, calls, a.header.Get("X-Token-Broker-Hint"))
	}
}

func TestBridgeNeverTakesAPartForTheWhole(t *testing.T) {
	for name, answers := range map[string]http.HandlerFunc{
		"no JSON": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "<html>")
		},
		"compressed": graphSays(200, "\x1f\x8b", "Content-Encoding", "gzip"),
	} {
		if a := startBridge(t, answers).call(t, "POST", "/proxy/defender/api/advancedhunting/run", `{"Query":"x"}`); a.status != 502 || a.kind() != "upstream" {
			t.Errorf("%s: got %d %s", name, a.status, a.body)
		}
	}

	b := startBridge(t, graphSays(200, graphRows[:len(graphRows)-5]))
	req, err := http.NewRequestWithContext(t.Context(), "POST", b.URL+"/proxy/defender/api/advancedhunting/run", strings.NewReader(`{"Query":"x"}`))
	if err != nil {
		t.Fatal(err)
	}
	if res, err := client(t).Do(req); err == nil { // what is short breaks before its header is out
		defer res.Body.Close()
		if got, err := io.ReadAll(res.Body); err == nil {
			t.Errorf("got %s as the whole of a cut answer", got)
		}
	}
	if trail := <-b.trails; entra.AsError(trail.Failure).Kind != entra.Upstream {
		t.Errorf("got failure %v", trail.Failure)
	}
}

func TestBridgeLeavesOtherCallsAlone(t *testing.T) {
	b := start(t, upstream(t, graphSays(200, graphRows)))
	if a := b.call(t, "POST", "/proxy/defender/api/advancedhunting/run", `{}`); a.body != graphRows {
		t.Errorf("got %s without a bridge", a.body)
	}
}
