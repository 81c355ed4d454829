package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"tokenbroker/emulator"
	entraemu "tokenbroker/emulator/entra"
)

// Secrets with what encodings change: quotes, slashes, ampersands and more.
const (
	clientSecret   = `canary~Zq8/secret+of&the%25"app\<'=é>`
	wrongSecret    = `canary~Xw3/secret+that&is%25"wrong\<'=é>`
	variableSecret = `canary~Vr5/secret+in&a%25"variable\<'=é>`
	callerKey      = `canary~Ck7/key+of&a%25"caller\<'=>`
	otherKey       = `canary~Ok2/key+of&another%25"caller\<'=>`
	wrongKey       = `canary~Wk9/key+that&is%25"wrong\<'=>`
	proxyPassword  = `canary-Pp4-password-of-the-proxy`
	signature      = `canary~Sg6/signature+of+a+SAS+link=`

	// planted is said on purpose: where it is not heard, nobody listens.
	planted = "canary-that-sings"
)

// TestNothingSecretIsSaid does a whole run at debug level, with what goes right
// and what can go wrong, and listens: in the log, in every header, in every
// answer that is an error or is for everybody, and to what the commands write.
// No secret may be there, in whatever form.
func TestNothingSecretIsSaid(t *testing.T) {
	t.Parallel()
	e := newEar(t)
	e.successes()
	e.badCallers()
	e.badQuestions()
	e.badEntra()
	e.badUpstreams()
	e.operators()
	e.commands()
	e.behindProxy()
	e.demo()
	e.judge()
}

// ear is a broker of which every utterance is kept.
type ear struct {
	t      *testing.T
	world  *world
	broker *process
	hidden canaries
	heard  map[string]string // by where it was said
	jwt    string            // somebody's token, and no business of the broker's
}

func newEar(t *testing.T) *ear {
	t.Helper()
	e := &ear{t: t, hidden: canaries{}, heard: map[string]string{}, world: newWorld(t, clientSecret, entraLie)}
	w := e.world
	stranger, err := entraemu.NewFederatedIssuer("https://stranger.example")
	w.must(err)
	foreign, err := stranger.Token(subject, "", time.Hour)
	w.must(err)
	e.jwt, err = stranger.Token("a user", "api://somebody", time.Hour)
	w.must(err)
	foreignCA, err := emulator.NewCA()
	w.must(err)

	for what, value := range map[string]string{
		"the client secret": clientSecret, "the wrong secret": wrongSecret, "the secret in a variable": variableSecret,
		"the caller key": callerKey, "the other key": otherKey, "the wrong key": wrongKey, "the proxy's password": proxyPassword,
		"the SAS signature": signature, "the projected token": w.federate, "the foreign projected token": foreign,
		"the user's token": e.jwt, "the garbage token": entraemu.GarbageToken,
	} {
		e.hidden.add(what, value)
	}
	w.write("wrong-secret", wrongSecret)
	w.write("foreign-token", foreign)
	w.write("keys", callerKey+"\n"+otherKey+"\n")
	w.write("wrong-keys", wrongKey+"\n")
	liar := w.listen(w.ca, http.HandlerFunc(upstreamLie))
	w.write("tokenbroker.yaml", os.Expand(silentConfig, func(name string) string {
		return map[string]string{
			"DIR": w.dir, "ENTRA": w.entraURL, "DEFENDER": w.defenderURL, "LIAR": liar,
			"UNTRUSTED": w.listen(foreignCA, w.defender), "SCOPES": strings.Join(lieScopes(), ", "),
		}[name]
	}))
	e.broker = start(t, []string{
		"CANARY_SECRET=" + variableSecret,
		"TOKENBROKER_SERVICE_HOST=10.0.0.1", // of which a note tells at debug level
	}, "serve", "--config", filepath.Join(w.dir, "tokenbroker.yaml"))
	return e
}

const silentConfig = `
authority: $ENTRA
ca_file: $DIR/ca.pem
caller_key_file: $DIR/keys
log: {level: debug}
limits: {request_body: 1KiB, entra_timeout: 1s, response_header_timeout: 1s}
tokens: {scopes: [$SCOPES]}
identities:
  default: &app
    tenant: 22222222-2222-2222-2222-222222222222
    client_id: 11111111-1111-1111-1111-111111111111
    credential: {kind: secret, file: $DIR/client-secret}
  cluster: {<<: *app, credential: {kind: workload-identity, token_file: $DIR/federated-token}}
  wrong: {<<: *app, tenant: contoso.example, credential: {kind: secret, file: $DIR/wrong-secret}}
  variable: {<<: *app, tenant: fabrikam.example, credential: {kind: secret, env: CANARY_SECRET}}
  foreign: {<<: *app, tenant: contoso.example, credential: {kind: workload-identity, token_file: $DIR/foreign-token}}
routes:
  defender: {upstream: "$DEFENDER"}
  graph: {upstream: "$DEFENDER"}
  cluster: &api {upstream: "$DEFENDER", identity: cluster, scope: https://api.security.microsoft.com/.default}
  wrong: {<<: *api, identity: wrong}
  variable: {<<: *api, identity: variable}
  foreign: {<<: *api, identity: foreign}
  liar: {<<: *api, upstream: "$LIAR"}
  untrusted: {<<: *api, upstream: "$UNTRUSTED"}
  nobody: {<<: *api, upstream: "https://127.0.0.1:1"}
`

// ask sends a request, with the caller key unless it says otherwise, to a path
// of the callers' listener, and listens to the answer. A want of 0 is any error.
func (e *ear) ask(want int, c call) *answer {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), patience)
	defer cancel()
	what := c.method + " " + c.url
	c.url = e.broker.vars["CALLERS"] + c.url
	if c.header == nil {
		c.header = http.Header{}
	}
	if c.key == "" && c.header["X-Broker-Key"] == nil {
		c.key = callerKey
	}
	a, err := c.send(ctx)
	if err != nil { // an answer that broke off
		a = &answer{body: err.Error()}
	}
	if want != a.status && (want != 0 || a.status == http.StatusOK) {
		e.t.Errorf("%.100s: %d, want %d: %.300s", what, a.status, want, a.body)
	}
	said := *a
	if a.status == http.StatusOK || strings.HasPrefix(what, " /proxy/") && a.header.Get("X-Token-Broker-Error") == "" {
		said.body = "" // what was asked for, or what the upstream says
	}
	e.heard["answer to "+strconv.Itoa(len(e.heard))+" "+what] = said.String()
	return a
}

func (e *ear) get(want int, path string) *answer {
	e.t.Helper()
	return e.ask(want, call{url: path})
}

// with is a GET with one header.
func (e *ear) with(want int, path, header, value string) {
	e.t.Helper()
	e.ask(want, call{url: path, header: http.Header{header: {value}}})
}

// open is a GET of what everybody may read: its body is listened to as well.
func (e *ear) open(path string) {
	e.t.Helper()
	e.heard["body of "+path] = e.get(http.StatusOK, path).body
}

func (e *ear) successes() {
	for _, route := range []string{"defender", "mde", "mde-legacy", "cluster"} {
		e.get(200, "/token?route="+route)
		e.with(200, "/token?route="+route, "Accept", "text/plain")
		e.open("/claims?route=" + route)
	}
	e.ask(200, call{url: "/token", body: "route=defender&fresh=true"})
	e.with(200, "/token?route=defender", "X-Request-Id", planted)
	e.open("/routes")
	e.open("/healthz")
	for _, path := range []string{
		"/proxy/defender/api/incidents", "/proxy/defender/api/machines?$top=1", "/proxy/cluster/api/incidents?$top=1",
		"/proxy/graph/v1.0/security/incidents", "/proxy/defender/api/incidents?code=" + url.QueryEscape(callerKey),
		"/proxy/defender/api/machines?$top=1&sig=" + url.QueryEscape(signature),
	} {
		e.get(200, path)
	}
	e.ask(200, call{url: "/proxy/defender/api/advancedhunting/run", body: `{"Query":"DeviceInfo | take 5"}`})
	e.ask(200, call{method: "HEAD", url: "/proxy/defender/api/incidents"})

	// Links that open a file to whoever has them.
	links := e.get(200, "/proxy/defender/api/machines/SoftwareInventoryExport")
	sigs := regexp.MustCompile(`sig=([0-9a-f]{16,})`).FindAllStringSubmatch(links.body, -1)
	if len(sigs) == 0 {
		e.t.Errorf("no SAS link in %.300s", links.body)
	}
	for i, sig := range sigs {
		e.hidden.add("the signature of export "+strconv.Itoa(i), sig[1])
	}
}

// badCallers come with the wrong key, or with one in the wrong place.
func (e *ear) badCallers() {
	for _, path := range []string{"/token?route=defender", "/proxy/defender/api/incidents", "/claims?route=defender", "/nosuchpath"} {
		e.ask(401, call{url: path, key: wrongKey})
		e.with(401, path, "X-Broker-Key", "")
		e.ask(401, call{url: path, header: http.Header{"X-Broker-Key": {callerKey, otherKey}}})
		e.ask(401, call{url: path, header: http.Header{"X-Broker-Key": {}, "Authorization": {"Bearer " + wrongKey}}})
		e.ask(401, call{url: path, header: http.Header{"X-Broker-Key": {}, "Authorization": {"Bearer " + e.jwt}}})
		e.ask(401, call{url: path, header: http.Header{"X-Broker-Key": {}, "Authorization": {
			"Basic " + base64.StdEncoding.EncodeToString([]byte("caller:"+callerKey)),
		}}})
		e.with(403, path, "Host", "evil.example")
		e.with(403, path, "Origin", "https://evil.example")
		e.with(403, path, "X-Forwarded-For", "127.0.0.1")
	}
	for _, header := range []string{"Authorization", "Cookie", "Idempotency-Key", "X-Identity-Header", "Secret", "Proxy-Authorization"} {
		e.with(200, "/proxy/defender/api/machines?$top=1", header, "Bearer "+e.jwt)
		e.with(200, "/proxy/defender/api/machines?$top=1", header, otherKey)
	}
	e.with(400, "/token?route=defender", "X-User-Assertion", e.jwt)

	// No HTTP at all.
	conn, err := net.Dial("tcp", e.broker.vars["CALLERS_AT"])
	e.world.must(err)
	defer conn.Close()
	e.world.must(conn.SetDeadline(time.Now().Add(patience)))
	_, err = conn.Write([]byte("GET " + callerKey + "\r\nX-Broker-Key: " + callerKey + "\r\n\r\n"))
	e.world.must(err)
	said := new(bytes.Buffer)
	_, _ = said.ReadFrom(conn)
	e.heard["answer to no HTTP"] = said.String()
}

// badQuestions have secrets where none belong.
func (e *ear) badQuestions() {
	for _, name := range []string{"key", "code", "secret", "client_secret", "access_token", "assertion", "client_assertion", "sig"} {
		for _, value := range []string{callerKey, wrongKey, clientSecret, e.jwt, e.world.federate, signature} {
			e.get(400, "/token?route=defender&"+name+"="+url.QueryEscape(value))
			e.ask(400, call{url: "/token", body: "route=defender&" + name + "=" + url.QueryEscape(value)})
		}
	}
	for _, token := range []string{e.jwt, e.world.federate, e.world.tokens()[0]} {
		for _, path := range []string{
			"/token?scope=", "/token?resource=", "/token?route=", "/token?route=defender&tenant=", "/token?route=defender&identity=",
			"/token?", "/claims?route=", "/proxy/", "/proxy/defender@", "/proxy/defender/api/../", "/", "/token/",
		} {
			e.get(0, path+token)
		}
		e.get(400, "/proxy/defender/api/incidents/"+token)
		e.get(400, "/token?route=%zz"+token)
		e.ask(400, call{url: "/token", body: `{"assertion":"` + token + `"}`, header: http.Header{"Content-Type": {"application/json"}}})
		e.ask(405, call{method: "DELETE", url: "/token?access_token=" + token})
		e.ask(0, call{url: "/token", body: "scope=" + token + ";%"})
	}
	e.ask(413, call{url: "/proxy/defender/api/advancedhunting/run", body: strings.Repeat(callerKey, 64)})
	e.ask(400, call{method: "TRACE", url: "/proxy/defender/api/incidents"})
}

// badEntra refuses, fails, and repeats what it was sent in every place where a
// careless program would pick it up.
func (e *ear) badEntra() {
	for _, route := range []string{"wrong", "variable", "foreign"} {
		e.get(500, "/token?route="+route)
		e.get(500, "/proxy/"+route+"/api/incidents")
		e.get(500, "/claims?route="+route)
	}
	for _, scope := range lieScopes() {
		for _, identity := range []string{"default", "cluster"} {
			e.get(0, "/token?identity="+identity+"&scope="+scope)
		}
	}
}

func (e *ear) badUpstreams() {
	for _, trick := range upstreamTricks {
		e.get(0, "/proxy/liar/"+trick+"?sig="+url.QueryEscape(signature))
		e.ask(0, call{url: "/proxy/liar/" + trick, body: "sig=" + url.QueryEscape(signature)})
	}
	e.get(200, "/proxy/liar/link")
	e.get(502, "/proxy/untrusted/api/incidents?sig="+url.QueryEscape(signature))
	e.get(502, "/proxy/nobody/api/incidents?sig="+url.QueryEscape(signature))
	e.get(404, "/proxy/defender/api/machines/nosuchmachine?sig="+url.QueryEscape(signature))
}

func (e *ear) operators() {
	for _, path := range []string{"/readyz", "/livez", "/healthz", "/metrics", "/token?access_token=" + url.QueryEscape(clientSecret)} {
		e.heard["ops "+path] = call{url: e.broker.vars["OPS"] + path, key: callerKey}.do(e.t).String()
	}
}

// commands are those that see a secret. What the token command writes to
// standard output is what it was asked for.
func (e *ear) commands() {
	config := filepath.Join(e.world.dir, "tokenbroker.yaml")
	for _, c := range []struct {
		code  int
		stdin string
		args  []string
	}{
		{0, "", []string{"check", "--config", config}},
		{1, "", []string{"check", "--config", config, "--live"}},
		{1, "", []string{"check", "--config", config, "--live", "-o", "json"}},
		{1, "", []string{"token", "--direct", "--config", config, "--route", "wrong"}},
		{1, "", []string{"token", "--direct", "--config", config, "--route", "foreign"}},
		{1, "", []string{"token", "--route", "defender", "--url", e.broker.vars["CALLERS"], "--key-file", filepath.Join(e.world.dir, "wrong-keys")}},
		{0, e.world.tokens()[0], []string{"decode"}},
		{2, clientSecret, []string{"decode"}},
		{2, e.jwt + ".x", []string{"decode"}},
		{2, strings.Replace(e.jwt, ".", ".!", 1), []string{"decode", "-o", "json"}},
	} {
		cmd := exec.CommandContext(e.t.Context(), "tokenbroker", c.args...)
		cmd.Env, cmd.Stdin = append(surroundings(), "CANARY_SECRET="+variableSecret), strings.NewReader(c.stdin)
		said, _ := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != c.code {
			e.t.Errorf("tokenbroker %v: exit code %d, want %d: %s", c.args, got, c.code, said)
		}
		e.heard["tokenbroker "+strings.Join(c.args, " ")] = string(said)
	}
}

// behindProxy asks by forward proxies whose address has a password in it: one
// that refuses, one that is not there, one that is no address.
func (e *ear) behindProxy() {
	refusing := e.world.listen(e.world.ca, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, r.Header.Get("Proxy-Authorization"), http.StatusProxyAuthRequired)
	}))
	for name, proxy := range map[string]string{
		"refusing": strings.Replace(refusing, "://", "://user:"+proxyPassword+"@", 1),
		"away":     "http://user:" + proxyPassword + "@127.0.0.1:1",
		"none":     "http://user:" + proxyPassword + "@[::1:1",
	} {
		p := start(e.t, []string{
			"HTTPS_PROXY=" + proxy, "AZURE_TENANT_ID=contoso.example", "AZURE_CLIENT_ID=11111111-1111-1111-1111-111111111111",
			"AZURE_CLIENT_SECRET=" + variableSecret, "AZURE_AUTHORITY_HOST=https://login.example", "TOKENBROKER_LOG_LEVEL=debug",
		}, "serve")
		a := call{url: p.vars["CALLERS"] + "/token?route=defender"}.do(e.t)
		if a.status != http.StatusServiceUnavailable {
			e.t.Errorf("%s proxy: %s", name, a)
		}
		e.heard["answer behind the proxy "+name] = a.String()
		e.heard["health behind the proxy "+name] = call{url: p.vars["OPS"] + "/readyz"}.do(e.t).String()
		e.finish("broker behind the proxy "+name, p)
	}
}

// demo is asked with its toy key, which it repeats on standard output alone.
func (e *ear) demo() {
	p := start(e.t, nil, "demo", "--key", otherKey)
	ask := func(path, key string) *answer { return call{url: p.vars["CALLERS"] + path, key: key}.do(e.t) }
	for i, route := range []string{"defender", "mde"} {
		token, err := jsonField([]byte(ask("/token?route="+route, otherKey).body), "access_token")
		e.world.must(err)
		e.hidden.add("token "+strconv.Itoa(i)+" of the demo", token)
		ask("/proxy/"+route+"/api/machines?$top=1&access_token="+token, otherKey)
		e.heard["demo's answer with a token in the query, "+route] = ask("/token?access_token="+token, otherKey).String()
	}
	e.heard["demo's answer to the wrong key"] = ask("/token?route=defender", wrongKey).String()
	if code, err := p.stop(); err != nil || code != 0 {
		e.t.Errorf("demo: exit code %d, %v", code, err)
	}
	e.heard["demo, log"] = p.stderr.String()
}

// finish ends a process and keeps what it wrote.
func (e *ear) finish(what string, p *process) {
	e.t.Helper()
	if code, err := p.stop(); err != nil || code != 0 {
		e.t.Errorf("%s: exit code %d, %v", what, code, err)
	}
	e.heard[what+", standard output"], e.heard[what+", log"] = p.stdout.String(), p.stderr.String()
}

// judge ends the run.
func (e *ear) judge() {
	e.finish("broker", e.broker)
	for i, token := range e.world.tokens() {
		e.hidden.add("token "+strconv.Itoa(i)+" of Entra's", token)
	}
	for where, text := range e.heard {
		if found := e.hidden.in(text); len(found) > 0 {
			e.t.Errorf("%.200s: %q", where, found)
		}
	}

	log := e.heard["broker, log"]
	for _, sign := range []string{planted, `"level":"DEBUG"`, `"level":"WARN"`, `"aadsts":7000215`} {
		if !strings.Contains(log, sign) {
			e.t.Errorf("the log has no %s: nobody listens", sign)
		}
	}
	if len(e.world.tokens()) < 6 {
		e.t.Errorf("%d tokens are too few to show anything", len(e.world.tokens()))
	}
}
