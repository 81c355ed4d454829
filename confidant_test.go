package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"

	entraemu "tokenbroker/emulator/entra"
)

// confidant stands before Entra and notes every secret that passes, either way.
type confidant struct {
	mu    sync.Mutex // guards what follows
	heard map[string]string
	lying bool           // Entra repeats what it was sent, and gives nothing
	brief bool           // device codes live for two seconds
	given map[string]int // how many secrets of each kind
}

// told are the fields of requests and answers that are nobody else's business.
var told = []string{
	"access_token", "refresh_token", "id_token", "code", "code_verifier", "state", "device_code",
	"password", "assertion", "client_secret", "client_assertion",
}

func (c *confidant) note(name, value string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.Contains(told, name) && len(value) > 8 && c.heard[value] == "" {
		c.given[name]++
		c.heard[value] = fmt.Sprintf("%s %d", name, c.given[name])
	}
}

func (c *confidant) noteAll(values url.Values) {
	for name := range values {
		c.note(name, values.Get(name))
	}
}

// behave sets how Entra is from now on.
func (c *confidant) behave(lying, brief bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lying, c.brief = lying, brief
}

// between answers all requests to Entra, most of them as the emulator does.
func (c *confidant) between(emulated *entraemu.Server, w http.ResponseWriter, r *http.Request) bool {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	form, _ := url.ParseQuery(string(body))
	c.noteAll(form)
	c.noteAll(r.URL.Query())
	c.mu.Lock()
	lying, brief := c.lying, c.brief
	c.mu.Unlock()
	if lying && strings.HasSuffix(r.URL.Path, "/token") {
		refusal(w, map[string]any{
			"error": form.Get("refresh_token") + form.Get("device_code"), "error_description": "AADSTS50126: " + form.Encode() + string(body),
			"error_codes": []int{50126}, "correlation_id": form.Get("password"), "claims": form.Get("assertion"), "suberror": form.Get("code_verifier"),
		})
		return true
	}
	recorded := httptest.NewRecorder()
	emulated.ServeHTTP(recorded, r)
	var answer map[string]any
	if json.Unmarshal(recorded.Body.Bytes(), &answer) == nil {
		for name, value := range answer {
			if text, ok := value.(string); ok {
				c.note(name, text)
			}
		}
	}
	said := recorded.Body.String()
	if brief {
		said = strings.Replace(said, `"expires_in":900`, `"expires_in":2`, 1)
	}
	for name, values := range recorded.Header() {
		w.Header()[name] = values
	}
	if to, err := url.Parse(recorded.Header().Get("Location")); err == nil {
		c.noteAll(to.Query())
	}
	w.WriteHeader(recorded.Code)
	_, _ = io.WriteString(w, strings.Replace(said, `"interval":5`, `"interval":1`, 1))
	return true
}
