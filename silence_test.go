package main

import (
	"bytes"
	"encoding/base64"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
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
		"/proxy/graph/v1.0/security/incidents", "/proxy/defender/api/incidents?code=" + url.QueryEscape(wrongKey),
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
		e.get(403, path+query(path)+"code="+url.QueryEscape(callerKey))
		e.with(403, path, "Cookie", "key="+url.QueryEscape(callerKey))
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

// query is what stands before a further parameter.
func query(path string) string {
	if strings.Contains(path, "?") {
		return "&"
	}
	return "?"
}

// badQuestions have secrets where none belong.
func (e *ear) badQuestions() {
	for _, name := range []string{"key", "code", "secret", "client_secret", "access_token", "assertion", "client_assertion", "sig"} {
		for _, value := range []string{callerKey, wrongKey, clientSecret, e.jwt, e.world.federate, signature} {
			want := 400
			if value == callerKey || name == "client_secret" { // where a key would be read by others
				want = 403
			}
			e.get(want, "/token?route=defender&"+name+"="+url.QueryEscape(value))
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
