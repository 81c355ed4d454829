package main

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
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
