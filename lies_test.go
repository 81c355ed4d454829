package main

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	entraemu "tokenbroker/emulator/entra"
)

// entraLies are what an Entra, or who stands in its place, can do with the
// credential that it was sent, by the scope that is asked for: NAME.lies.example.
var entraLies = map[string]func(w http.ResponseWriter, credential string){
	"description": func(w http.ResponseWriter, credential string) {
		refusal(w, map[string]any{
			"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret provided: " + credential,
			"error_codes": []int{7000215}, "error_uri": "https://login.example/error?secret=" + credential,
			"correlation_id": credential, "trace_id": credential, "timestamp": credential,
		})
	},
	"error": func(w http.ResponseWriter, credential string) { refusal(w, map[string]any{"error": credential}) },
	"codes": func(w http.ResponseWriter, credential string) {
		refusal(w, map[string]any{"error": "x", "error_codes": credential})
	},
	"claims": func(w http.ResponseWriter, credential string) {
		refusal(w, map[string]any{"error": "interaction_required", "claims": credential})
	},
	"page": func(w http.ResponseWriter, credential string) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, "<p>"+credential)
	},
	"location": func(w http.ResponseWriter, credential string) {
		w.Header().Set("Location", "https://stranger.example/?client_secret="+url.QueryEscape(credential))
		w.WriteHeader(http.StatusTemporaryRedirect)
	},
	"retry-after": func(w http.ResponseWriter, credential string) {
		w.Header().Set("Retry-After", url.QueryEscape(credential))
		w.WriteHeader(http.StatusTooManyRequests)
	},
	"token-type": func(w http.ResponseWriter, credential string) {
		answerJSON(w, http.StatusOK, map[string]any{"access_token": entraemu.GarbageToken, "token_type": credential, "expires_in": credential})
	},
	"token-with-a-space": func(w http.ResponseWriter, credential string) {
		answerJSON(w, http.StatusOK, map[string]any{"access_token": entraemu.GarbageToken + " " + credential, "expires_in": 3600})
	},
	"expired-token": func(w http.ResponseWriter, _ string) {
		answerJSON(w, http.StatusOK, map[string]any{"access_token": entraemu.GarbageToken, "expires_in": -1})
	},
	"no-http":     func(w http.ResponseWriter, credential string) { raw(w, credential) },
	"status-line": func(w http.ResponseWriter, credential string) { raw(w, "HTTP/1.1 "+credential+"\r\n\r\n") },
	"header":      func(w http.ResponseWriter, credential string) { raw(w, "HTTP/1.1 200 OK\r\n"+credential+"\r\n\r\n") },
	"length": func(w http.ResponseWriter, credential string) {
		raw(w, "HTTP/1.1 200 OK\r\nContent-Length: "+credential+"\r\n\r\n")
	},
	"coding": func(w http.ResponseWriter, credential string) {
		raw(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: "+credential+"\r\n\r\n")
	},
	"chunk": func(w http.ResponseWriter, credential string) {
		raw(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+credential+"\r\n")
	},
	"surplus": func(w http.ResponseWriter, credential string) {
		raw(w, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}"+credential)
	},
	"cut": func(w http.ResponseWriter, credential string) {
		raw(w, "HTTP/1.1 200 OK\r\nContent-Length: 4096\r\n\r\n"+credential)
	},
}

// entraFaults are what goes wrong without malice, in the same way.
var entraFaults = map[string]entraemu.Faults{
	"garbage":   {Body: "garbage"},
	"truncated": {Body: "truncated"},
	"no-expiry": {Body: "no_expiry"},
	"portal":    {Body: "html"},
	"empty":     {Body: "empty"},
	"failure":   {Status: http.StatusInternalServerError},
	"throttle":  {Status: http.StatusTooManyRequests, RetryAfterS: 7},
	"redirect":  {Redirect: "https://stranger.example/?client_secret=1"},
	"hang":      {Hang: true},
}

const lies = ".lies.example/.default"

// lieScopes are the scopes for which Entra lies or fails.
func lieScopes() []string {
	var scopes []string
	for _, name := range slices.Sorted(maps.Keys(entraLies)) {
		scopes = append(scopes, "https://"+name+lies)
	}
	for _, name := range slices.Sorted(maps.Keys(entraFaults)) {
		scopes = append(scopes, "https://"+name+lies)
	}
	return scopes
}

// entraLie answers a token request in the emulator's place where the scope
// names a lie, and switches on the fault that it names.
func entraLie(emulated *entraemu.Server, w http.ResponseWriter, r *http.Request) (lied bool) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return false
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return false
	}
	name, _, ours := strings.Cut(strings.TrimPrefix(form.Get("scope"), "https://"), lies)
	if !ours {
		return false
	}
	if fault, ok := entraFaults[name]; ok {
		fault.Times = 1
		emulated.SetFaults(fault)
		return false
	}
	lie, ok := entraLies[name]
	if ok {
		lie(w, form.Get("client_secret")+form.Get("client_assertion"))
	}
	return ok
}

// upstreamTricks are what an upstream can do with the token that it was sent,
// by the last segment of the path, short of handing it back as an answer.
var upstreamTricks = []string{"no-http", "status-line", "header", "length", "coding", "chunk", "cut", "surplus", "switch", "hang-up", "challenge", "late"}

// upstreamLie is the handler of an upstream that plays those tricks. At /link it
// answers properly, with a link that the broker cannot bring back.
func upstreamLie(w http.ResponseWriter, r *http.Request) {
	token := r.Header.Get("Authorization")
	switch r.URL.Path[1:] {
	case "link":
		answerJSON(w, http.StatusOK, map[string]any{"@odata.nextLink": "https://stranger.example/a/../b?sig=" + signature})
	case "no-http":
		raw(w, token)
	case "status-line":
		raw(w, "HTTP/1.1 "+token+"\r\n\r\n")
	case "header":
		raw(w, "HTTP/1.1 200 OK\r\n"+token+"\r\n\r\n")
	case "length":
		raw(w, "HTTP/1.1 200 OK\r\nContent-Length: "+token+"\r\n\r\n")
	case "coding":
		raw(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: "+token+"\r\n\r\n")
	case "chunk":
		raw(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+token+"\r\n")
	case "cut":
		raw(w, "HTTP/1.1 200 OK\r\nContent-Length: 4096\r\n\r\n"+token)
	case "surplus":
		raw(w, "HTTP/1.1 403 Forbidden\r\nContent-Length: 1\r\n\r\nx"+token)
	case "switch":
		raw(w, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+token+"\r\n\r\n")
	case "challenge":
		w.Header().Set("WWW-Authenticate", `Bearer error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnt9fQ=="`)
		w.WriteHeader(http.StatusUnauthorized)
	case "late":
		<-r.Context().Done()
	default:
		raw(w, "")
	}
}

// raw answers with bytes of one's own, and hangs up.
func raw(w http.ResponseWriter, text string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err) // the server speaks HTTP/1.1 alone, so it can
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, text)
}

func refusal(w http.ResponseWriter, body map[string]any) {
	answerJSON(w, http.StatusUnauthorized, body)
}

func answerJSON(w http.ResponseWriter, status int, body map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
