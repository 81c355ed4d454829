package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/config"
	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/entra"
	"tokenbroker/guard"
)

// keyOf is the key of a caller, which stands in DIR/<name>.key. It ends as
// base64 does.
func keyOf(name string) string { return "key-of-" + name + "-0123456789ab==" }

var keyFile = regexp.MustCompile(`DIR/([a-z-]+)\.key`)

// daemon is a broker that answers at real listeners, as serve runs it, in front
// of a world in memory.
type daemon struct {
	t     *testing.T
	doors map[string]net.Addr // "four", "six" where there is one, "socket", and "route/<name>"
	keys  []string            // of all callers
	log   *logBuffer
	audit string // the file
	stop  func() // once: drains, and writes the last records
}

// daemon starts a broker at a listener of each kind, and at one for each of the
// routes. DIR stands for the world's directory; the key files are made.
func (w *world) daemon(settings string, routes ...string) *daemon {
	w.t.Helper()
	dir, err := os.MkdirTemp("", "tb") // the path of a socket has to be short, and that of a subtest's folder is not
	must(w.t, err)
	w.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	listeners := "[localhost:0, 'unix:" + filepath.Join(dir, "s") + "'"
	for _, name := range routes {
		listeners += ", {address: '127.0.0.1:0', route: " + name + "}"
	}
	s := &daemon{t: w.t, doors: map[string]net.Addr{}, log: new(logBuffer), audit: filepath.Join(dir, "audit")}
	for _, match := range keyFile.FindAllStringSubmatch(settings, -1) {
		w.write(match[1]+".key", keyOf(match[1]))
		s.keys = append(s.keys, keyOf(match[1]))
	}
	file := w.write("tokenbroker.yaml", strings.ReplaceAll(`
ca_file: 'DIR/ca.pem'
log: {level: debug}
audit: {file: '`+s.audit+`'}
listen: {ops: 'localhost:0', callers: `+listeners+`]}
`+settings, "DIR", w.dir))
	cfg, err := config.Load(config.Options{Catalogue: catalogue(w.t), File: file})
	must(w.t, err)
	app, err := build(cfg, surroundings{catalogue: catalogue(w.t), logger: newLogger(s.log, cfg.Log), dial: w.network.DialContext})
	must(w.t, err)
	s.run(app, routes)
	return s
}

// run serves until s.stop.
func (s *daemon) run(app *app, routes []string) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	ready, ended, stopped := make(chan addresses, 1), make(chan error, 1), false
	go func() { ended <- app.serve(ctx, new(logWriter), nil, func(at addresses) { ready <- at }) }()
	s.stop = func() {
		s.t.Helper()
		if cancel(); !stopped {
			must(s.t, <-ended)
		}
		stopped = true
	}
	s.t.Cleanup(s.stop)
	select {
	case err := <-ended:
		s.t.Fatal(err)
	case at := <-ready:
		s.note(at.Callers, routes)
	}
}

// note notes where which door is. Those of routes come last, in their order.
func (s *daemon) note(callers, routes []string) {
	s.t.Helper()
	rest := len(callers) - len(routes)
	for i, address := range callers {
		if path, ok := strings.CutPrefix(address, "unix:"); ok {
			s.doors["socket"] = &net.UnixAddr{Name: path, Net: "unix"}
			continue
		}
		addr, err := net.ResolveTCPAddr("tcp", address)
		must(s.t, err)
		switch {
		case i >= rest:
			s.doors["route/"+routes[i-rest]] = addr
		case addr.IP.To4() == nil:
			s.doors["six"] = addr
		default:
			s.doors["four"] = addr
		}
	}
}

// answer is what came back for a request.
type answer struct {
	*http.Response
	body string
	raw  string // all bytes
	id   string // X-Request-Id
}

// with puts headers before those that the request has.
func with(request string, headers ...string) string {
	line, rest, _ := strings.Cut(request, "\n")
	lines := append([]string{line}, headers...)
	if rest != "" {
		lines = append(lines, rest)
	}
	return strings.Join(lines, "\n")
}

var named = regexp.MustCompile(`\{[a-z-]+\}`)

// send writes a request to a door as it stands, but for {port}, {caller} for a
// caller's key, the protocol's version where it is left off, and a body's
// length. It returns the one answer there has to be.
func (s *daemon) send(door, request string) answer {
	s.t.Helper()
	addr := s.doors[door]
	request = named.ReplaceAllStringFunc(request, func(name string) string {
		if tcp, ok := addr.(*net.TCPAddr); ok && name == "{port}" {
			return strconv.Itoa(tcp.Port)
		}
		return keyOf(name[1 : len(name)-1])
	})
	head, body, _ := strings.Cut(request, "\n\n")
	line, headers, _ := strings.Cut(head, "\n")
	if !strings.Contains(line, " HTTP/") {
		line += " HTTP/1.1"
	}
	if body != "" {
		headers += "\nContent-Length: " + strconv.Itoa(len(body))
	}
	wire := strings.ReplaceAll(line+"\n"+strings.TrimPrefix(headers+"\nConnection: close\n\n", "\n"), "\n", "\r\n") + body

	conn, err := net.Dial(addr.Network(), addr.String())
	must(s.t, err)
	defer conn.Close()
	must(s.t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = io.WriteString(conn, wire)
	must(s.t, err)
	raw, err := io.ReadAll(conn)
	must(s.t, err)
	method, _, _ := strings.Cut(line, " ")
	return s.parse(method, raw)
}

func (s *daemon) parse(method string, raw []byte) answer {
	s.t.Helper()
	all := bufio.NewReader(bytes.NewReader(raw))
	resp, err := http.ReadResponse(all, &http.Request{Method: method})
	if err != nil {
		s.t.Fatalf("no answer: %v in %q", err, raw)
	}
	body := text(s.t, resp)
	if rest, _ := io.ReadAll(all); len(rest) > 0 {
		s.t.Errorf("more than one answer: %q", rest)
	}
	return answer{resp, body, string(raw), resp.Header.Get("X-Request-Id")}
}

// kind is the kind of error by which the broker refused; empty: it did not.
func (a *answer) kind() string {
	var problem struct{ Kind string }
	if a.Header.Get("Content-Type") == "application/problem+json" {
		_ = json.Unmarshal([]byte(a.body), &problem) // a HEAD's has no body
	}
	return problem.Kind + a.Header.Get("X-Token-Broker-Error")
}

// record is an audit record.
type record struct {
	Decision, Rule, Principal, Via, Kind string
	Identity, Tenant, Scope              string
	Status                               int
	UID, PID                             *int
	TokenFP                              string `json:"token_fp"`
}

// records stops the broker and returns what it has recorded, by request id.
func (s *daemon) records() map[string][]record {
	s.t.Helper()
	s.stop()
	content, err := os.ReadFile(s.audit)
	must(s.t, err)
	s.hidesKeys("audit file", string(content))
	s.hidesKeys("log", s.log.String())
	all := map[string][]record{}
	for line := range strings.Lines(string(content)) {
		var r struct {
			record
			RequestID string `json:"request_id"`
		}
		must(s.t, json.Unmarshal([]byte(line), &r))
		all[r.RequestID] = append(all[r.RequestID], r.record)
	}
	return all
}

// hidesKeys wants no caller's key in a text.
func (s *daemon) hidesKeys(name, text string) {
	s.t.Helper()
	for _, key := range s.keys {
		if strings.Contains(text, key) {
			s.t.Errorf("the %s has the key %s in it", name, key)
		}
	}
}

// tell says in a line what a request came to: status, the error's kind, and by
// its record, if there is one, the decision, its rule, the caller and its proof.
func tell(a *answer, records []record) string {
	words := []string{strconv.Itoa(a.StatusCode), a.kind()}
	for _, r := range records {
		words = append(words, r.Decision, r.Rule)
		if r.Principal != "" {
			words = append(words, r.Principal+"/"+r.Via)
		}
	}
	return strings.Join(strings.Fields(strings.Join(words, " ")), " ")
}

// row is a request and what it has to come to, as tell says it.
type row struct{ want, door, request string }

// judge sends the rows' requests, and compares what they came to once the
// broker has ended. Whatever the row, there is what every answer has.
func (s *daemon) judge(rows []row) {
	s.t.Helper()
	var answers []answer
	for _, r := range rows {
		answers = append(answers, s.send(r.door, r.request))
	}
	records := s.records()
	for i, r := range rows {
		s.t.Run(fmt.Sprintf("%s %.60q", r.door, r.request), func(t *testing.T) {
			a := &answers[i]
			if got := tell(a, records[a.id]); got != r.want {
				t.Errorf("got %q, want %q, for %q\nthe answer is %.600s", got, r.want, r.request, a.raw)
			}
			checkAnswer(t, a, r.door)
			checkRecord(t, a, records[a.id], r.door)
			checkToken(t, a, records[a.id])
			(&daemon{t: t, keys: s.keys}).hidesKeys("answer", a.raw)
		})
	}
}

// unread is what comes of a request that net/http does not pass on.
const unread = "400"

// checkAnswer checks what holds for every answer.
func checkAnswer(t *testing.T, a *answer, door string) {
	t.Helper()
	for name := range a.Header {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("it has the header %s", name)
		}
	}
	byUs := !strings.HasPrefix(a.body, "400 Bad Request")
	if ids := a.Header["X-Request-Id"]; byUs && (len(ids) != 1 || len(a.id) < 8) {
		t.Errorf("request ids %q", ids)
	}
	if proof := a.Header.Get("Www-Authenticate"); (a.StatusCode == http.StatusUnauthorized) != (proof != "") {
		t.Errorf("WWW-Authenticate %q with status %d, at %s", proof, a.StatusCode, door)
	}
}

// checkToken checks that a token that was handed out is the one of the record.
func checkToken(t *testing.T, a *answer, records []record) {
	t.Helper()
	var handed struct {
		Token string `json:"access_token"`
	}
	if json.Unmarshal([]byte(a.body), &handed) != nil || handed.Token == "" {
		return
	}
	jwt, err := entra.ParseJWT(handed.Token)
	must(t, err)
	client := map[string]string{"default": entraemu.DefaultClient, "second": secondClient}
	for _, r := range records {
		want := []string{r.Tenant, client[r.Identity], entra.Scope(r.Scope).Audience(), r.TokenFP}
		got := []string{jwt.Claims.Tenant, jwt.Claims.Client(), strings.Join(jwt.Claims.Audience, " "), entra.NewSecret(handed.Token).Fingerprint()}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the token handed out is another than in the record (-want +got):\n%s", diff)
		}
	}
}

// checkRecord checks that the record says of the process what is known of it,
// and of the answer what was sent.
func checkRecord(t *testing.T, a *answer, records []record, door string) {
	t.Helper()
	if len(records) > 1 {
		t.Errorf("%d records", len(records))
	}
	for _, r := range records {
		uid, pid := -1, -1
		if r.UID != nil && r.PID != nil {
			uid, pid = *r.UID, *r.PID
		}
		if known := door == "socket" && guard.TellsUID; known && (uid != os.Getuid() || pid != os.Getpid()) || !known && (r.UID != nil || r.PID != nil) {
			t.Errorf("the record has uid %d and pid %d, at %s", uid, pid, door)
		}
		if r.Status != a.StatusCode || a.Request.Method != http.MethodHead && r.Kind != a.kind() {
			t.Errorf("the record has status %d and kind %q, the answer %d and %q", r.Status, r.Kind, a.StatusCode, a.kind())
		}
	}
}
