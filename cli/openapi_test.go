package cli

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/server"
)

// secured is the broker behind a listener with TLS, without which /adfs refuses.
func (b *running) secured() *running {
	handler := b.handler
	b.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.TLS = new(tls.ConnectionState)
		handler.ServeHTTP(w, r)
	})
	return b
}

// mounted are the method and the shape of the path of all mounts but those of
// protocols that are off.
func (b *running) mounted(off ...string) []string {
	var all []string
	for _, m := range b.mounts(server.New(server.Config{})) {
		if slices.Contains(off, m.Name) {
			continue
		}
		methods := m.Methods
		if methods == nil {
			methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
		}
		at := regexp.MustCompile(`:[a-z]+`).ReplaceAllString(strings.Replace(m.Path, "*", "{}/{}", 1), "{}")
		for _, method := range methods {
			all = append(all, method+" "+plainly(at))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// plainly is a path in the one of its spellings that the document has.
func plainly(at string) string { return strings.ToLower(path.Clean(at)) }

// documented are the method and the shape of the path of all operations.
func (d *openAPI) documented(t *testing.T) []string {
	t.Helper()
	var all []string
	for name := range d.operations(t) {
		method, at, _ := strings.Cut(name, " ")
		all = append(all, method+" "+plainly(regexp.MustCompile(`\{[^}]+\}`).ReplaceAllString(at, "{}")))
	}
	slices.Sort(all)
	return all
}

func readOpenAPI(t *testing.T, content []byte) *openAPI {
	t.Helper()
	d := new(openAPI)
	must(t, json.Unmarshal(content, d))
	return d
}

// described is the document of the listener.
func (b *running) described() *openAPI {
	b.t.Helper()
	resp := b.get("/openapi.json")
	body := text(b.t, resp)
	if resp.StatusCode != http.StatusOK {
		b.t.Fatalf("%d %s", resp.StatusCode, body)
	}
	return readOpenAPI(b.t, []byte(body))
}

func TestOpenAPIIsWhatIsMounted(t *testing.T) {
	w := newWorld(t)
	all, usual := w.start(everything), w.broker("secret", "")
	none := w.broker("secret", "protocols: {app_service: false, oauth: false, entra_sidecar: false}")
	file, err := os.ReadFile("../protocol/openapi.json")
	must(t, err)
	for _, tt := range []struct {
		name     string
		mounted  []string
		document *openAPI
	}{
		{"the file", all.mounted(), readOpenAPI(t, file)},
		{"all that there is", all.mounted(), all.described()},
		{"what is on by itself", usual.mounted("imds", "cloud-shell"), usual.described()},
		{"no protocols", none.mounted("app-service", "cloud-shell", "imds", "sidecar", "oauth"), none.described()},
	} {
		if diff := gocmp.Diff(tt.mounted, tt.document.documented(t)); diff != "" {
			t.Errorf("%s (-mounted +documented):\n%s", tt.name, diff)
		}
		if len(tt.mounted) < 15 {
			t.Errorf("%s: only %v", tt.name, tt.mounted)
		}
	}
	if got := all.described().Info.Version; got != versionText() {
		t.Errorf("version %s", got)
	}
}

// reading compares answers with a document, and notes whose there were.
type reading struct {
	*running
	document   *openAPI
	operations map[string]openAPIOperation // by method and path
	given      map[string]bool             // by operation's id: what it asks for, or
	refused    map[string]bool             // an error
}

func (b *running) reading() *reading {
	d := b.described()
	return &reading{b, d, d.operations(b.t), map[string]bool{}, map[string]bool{}}
}

// ask sends a request, and returns its status.
func (d *reading) ask(a asking, more ...string) int {
	d.t.Helper()
	var method string
	for name, operation := range d.operations {
		if operation.OperationID == a.operation {
			method, _, _ = strings.Cut(name, " ")
		}
	}
	resp := d.call(cmp.Or(method, "NONE"), a.target, a.body, slices.Concat(a.header, more)...)
	d.compare(a, method, resp, text(d.t, resp))
	return resp.StatusCode
}

// compare holds an answer to what the document says of the operation.
func (d *reading) compare(a asking, method string, resp *http.Response, body string) {
	d.t.Helper()
	status := resp.StatusCode
	fault := func(format string, args ...any) {
		d.t.Helper()
		d.t.Errorf("%s %s: %d, %.300s: %s", a.operation, a.target, status, body, fmt.Sprintf(format, args...))
	}
	operation, at := d.operationAt(method, a.target)
	if operation.OperationID != a.operation {
		fault("the document has %q at %q", operation.OperationID, at)
		return
	}
	response, known := operation.Responses[strconv.Itoa(status)]
	if _, whatever := operation.Responses["default"]; whatever && resp.Header.Get("X-Token-Broker-Error") == "" {
		d.given[a.operation] = true // the API's answer
		return
	}
	if status < http.StatusBadRequest {
		d.given[a.operation] = true
	} else {
		d.refused[a.operation] = true
	}
	if !known {
		fault("no such status in the document")
		return
	}
	if method == http.MethodHead {
		return
	}
	media, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	content, ok := response.Content[media]
	if err != nil || !ok {
		fault("Content-Type %q is not in the document", resp.Header.Get("Content-Type"))
		return
	}
	values := []any{body}
	if media != "text/plain" {
		values = valuesIn(d.t, body)
	}
	if len(values) == 0 {
		fault("no body")
	}
	for _, value := range values {
		if err := d.document.check(content.Schema, value, "#"); err != nil {
			fault("%v", err)
		}
	}
}

// operationAt is the operation of a request: at the path itself, or at one with
// parameters.
func (d *reading) operationAt(method, target string) (found openAPIOperation, at string) {
	asked, _, _ := strings.Cut(target, "?")
	for name, operation := range d.operations {
		of, template, _ := strings.Cut(name, " ")
		pattern := regexp.MustCompile(`\\\{path\\\}`).ReplaceAllString(regexp.QuoteMeta(template), ".*")
		pattern = "(?i)^" + regexp.MustCompile(`\\\{[a-z]+\\\}`).ReplaceAllString(pattern, "[^/]+") + "$"
		if of == method && regexp.MustCompile(pattern).MatchString(asked) && (at == "" || strings.Contains(at, "{")) {
			found, at = operation, template
		}
	}
	return found, at
}

// valuesIn are the JSON values in a body.
func valuesIn(t *testing.T, body string) (values []any) {
	t.Helper()
	for d := json.NewDecoder(strings.NewReader(body)); d.More(); {
		var value any
		must(t, d.Decode(&value))
		values = append(values, value)
	}
	return values
}

// signsIn signs somebody in and out, in the way of a browser elsewhere.
func (d *reading) signsIn(w *world) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://broker/login", strings.NewReader("identity=me"))
	must(d.t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := d.reach(w).Do(req)
	must(d.t, err)
	defer resp.Body.Close()
	lines, body := bufio.NewScanner(resp.Body), new(bytes.Buffer)
	for lines.Scan() {
		fmt.Fprintln(body, lines.Text())
		var line signInLine
		must(d.t, json.Unmarshal(lines.Bytes(), &line))
		if line.Prompt == nil {
			continue
		}
		back, err := w.person(d.t, entraemu.DefaultUser).SignIn(ctx, line.Prompt.URL)
		must(d.t, err)
		form := url.Values{"identity": {"me"}, "url": {back.URL.String()}}
		d.ask(asking{"answerLogin", "/login/answer", form.Encode(), nil})
	}
	d.compare(asking{operation: "login", target: "/login"}, http.MethodPost, resp, body.String())
	d.ask(asking{"whoami", "/whoami?identity=me", "", nil})
	d.ask(asking{"logout", "/logout", "identity=me", nil})
}

// Every operation of the document is asked for what it gives, and refuses: what
// a page of another origin sends, what is wrong, and what else there is to it.
func TestOpenAPIIsTrue(t *testing.T) {
	w := newWorld(t)
	w.write("keys", "a-key-that-is-long-enough-for-it\n")
	user := w.assertion(t, entraemu.DefaultUser, "", brokerScope, 0).Reveal()

	b := w.start(everything + "identity_header_file: 'DIR/identity-header'\n")
	must(t, b.header.write())
	key := keyIn(t, w.dir+"/identity-header")
	plain := b.handler
	d := b.secured().reading()
	forEverybody := []string{"healthz", "getDiscovery", "getAdfsDiscovery"}
	for _, a := range askings(key, user) {
		if status := d.ask(a); status >= http.StatusBadRequest && !d.given[a.operation] {
			t.Errorf("%s %s: %d", a.operation, a.target, status)
		}
		if status := d.ask(a, "Origin", "https://evil.example"); (status < http.StatusBadRequest) != slices.Contains(forEverybody, a.operation) {
			t.Errorf("%s %s of another origin: %d", a.operation, a.target, status)
		}
	}
	d.signsIn(w)
	b.handler = plain
	for _, a := range refusals(key) {
		if status := d.ask(a); status < http.StatusBadRequest {
			t.Errorf("%s %s: %d", a.operation, a.target, status)
		}
	}
	for _, operation := range d.operations {
		switch id := operation.OperationID; {
		case !d.given[id]:
			t.Errorf("%s: nobody asked, or it gave nothing", id)
		case !d.refused[id] && id != "healthz": // which refuses in a drain alone
			t.Errorf("%s: it refused nothing", id)
		}
	}

	keyed := w.start(everything + "caller_key_file: 'DIR/keys'\n").secured()
	keyed.checkKey(d, askings("", user), forEverybody)
	w.entra.SetFaults(entraemu.Faults{Status: http.StatusServiceUnavailable, RetryAfterS: 7})
	away := w.start(everything + "identity_header_file: 'DIR/identity-header'\n").secured()
	away.checkAway(d, askings(key, user))
}

// checkKey asks without a key where there has to be one.
func (b *running) checkKey(d *reading, all []asking, forEverybody []string) {
	b.t.Helper()
	here := &reading{b, d.document, d.operations, map[string]bool{}, map[string]bool{}}
	for _, a := range all {
		want := http.StatusUnauthorized
		if a.operation == "getImdsToken" {
			want = http.StatusBadRequest
		}
		if status := here.ask(a); status != want && !slices.Contains(forEverybody, a.operation) {
			b.t.Errorf("%s %s without a key: %d", a.operation, a.target, status)
		}
	}
}

// checkAway asks while Entra is away, and counts who minds.
func (b *running) checkAway(d *reading, all []asking) {
	b.t.Helper()
	here := &reading{b, d.document, d.operations, map[string]bool{}, map[string]bool{}}
	minded := map[string]bool{}
	for _, a := range all {
		if here.ask(a) == http.StatusServiceUnavailable {
			minded[a.operation] = true
		}
	}
	if len(minded) < 25 {
		b.t.Errorf("Entra is away, and only these mind: %v", slices.Sorted(maps.Keys(minded)))
	}
}
