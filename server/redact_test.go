package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"tokenbroker/entra"
	"tokenbroker/server"
)

// asks stands for a mount that tells the caller what of its form is wrong.
func asks(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	trail := entra.TrailOf(r.Context())
	trail.Scope, trail.Identity = entra.Scope(r.Form.Get("scope")), r.Form.Get("identity")
	server.WriteProblem(w, r, entra.Errorf(entra.Invalid, "native.ask", "form: %s", entra.Quote(fmt.Sprint(r.Form))))
}

// A caller that sends its key in the place of something else finds it in no
// line, no record and no answer, whatever refuses the request.
func TestMisplacedKeysAreNotWrittenDown(t *testing.T) {
	records, audit := recordsOf()
	proxy := audited("/proxy/*", echo)
	proxy.WriteError = func(w http.ResponseWriter, r *http.Request, err *entra.Error) { // it knows of no guard
		entra.TrailOf(r.Context()).Failure = err
		http.Error(w, err.Message(), http.StatusTeapot)
	}
	b := runKeyed(t, server.Config{Audit: audit}, only(audited("/token", asks, http.MethodGet, http.MethodPost), proxy))
	const mine = "\r\nX-Broker-Key: " + key
	for name, request := range map[string]string{
		"path refused by host":        "GET /proxy/" + key + " HTTP/1.1\r\nHost: evil.example" + mine,
		"path refused by forwarded":   "GET /proxy/" + key + " HTTP/1.1\r\nHost: localhost\r\nForwarded: for=x" + mine,
		"path refused by origin":      "GET /proxy/" + key + " HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example" + mine,
		"path of a pair":              "GET /proxy/token&scope=x&X-Broker-Key=" + key + " HTTP/1.1\r\nHost: localhost" + mine,
		"path with an encoded query":  "GET /proxy/token%3Fkey=" + key + " HTTP/1.1\r\nHost: localhost" + mine,
		"path after a colon":          "GET /proxy/x:" + key + " HTTP/1.1\r\nHost: localhost" + mine,
		"path of a function":          "GET /proxy/x('" + key + "') HTTP/1.1\r\nHost: localhost" + mine,
		"path of no mount":            "GET /" + key + " HTTP/1.1\r\nHost: localhost" + mine,
		"host":                        "GET /token HTTP/1.1\r\nHost: " + key,
		"host in another shape":       "GET /proxy/x HTTP/1.1\r\nHost: " + key,
		"origin":                      "GET /token HTTP/1.1\r\nHost: localhost\r\nOrigin: https://" + key,
		"method":                      key + " /token HTTP/1.1\r\nHost: localhost" + mine,
		"method where all are served": key + " /proxy/x HTTP/1.1\r\nHost: localhost" + mine,
		"method where nothing is":     key + " /x HTTP/1.1\r\nHost: localhost" + mine,
		"request id":                  "GET /token HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: id-" + key + mine,
		"scope":                       form("scope=" + key),
		"scope with a key in it":      form("scope=api://" + key + "/.default"),
		"identity":                    form("identity=" + key),
		"parameter":                   form(key + "=1"),
		"cut off":                     form("scope=" + strings.Repeat("x", 90) + key),
	} {
		t.Run(name, func(t *testing.T) {
			request, body, _ := strings.Cut(request, "\r\n\r\n")
			a := b.raw(t, request+"\r\nConnection: close\r\n\r\n"+body)
			written := map[string]any{"line": b.log.next(t, "request")}
			if len(records) > 0 {
				written["record"] = records.next(t, "audit")
			}
			if a.StatusCode >= 400 {
				written["answer"] = fmt.Sprint(a.Header, a.body)
			}
			for where, text := range written {
				if strings.Contains(fmt.Sprint(text), key[:20]) {
					t.Errorf("the %s has the key: %v", where, text)
				}
			}
		})
	}
}

// form is a request with a body.
func form(body string) string {
	return fmt.Sprintf("POST /token HTTP/1.1\r\nHost: localhost\r\nX-Broker-Key: %s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", key, len(body), body)
}
