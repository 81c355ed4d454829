// Package protocol is the wire of each way in which local callers ask for
// tokens: the handler, how a caller shows its key, and how a failure looks.
//
// A protocol reads a request into a [route.Ask], lets the table resolve it,
// asks a source, and writes the answer. What a caller may have is decided
// behind the source, not here.
package protocol

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"tokenbroker/entra"
	"tokenbroker/route"
)

// Native is the broker's own way of asking: /token, /claims and /routes.
type Native struct {
	Table  *route.Table
	Source entra.Source
	// WriteError writes a failure in the shape of the broker's own paths.
	WriteError func(w http.ResponseWriter, r *http.Request, err *entra.Error)
}

// Token answers GET and POST /token with a token (RFC 6749 §5.1), or with the
// token alone where the caller accepts text/plain.
func (n Native) Token(w http.ResponseWriter, r *http.Request) {
	ask, fresh, err := readAsk(w, r)
	if err != nil {
		n.WriteError(w, r, entra.AsError(err))
		return
	}
	grant, tok, err := n.get(r, ask, entra.HandOut)
	if err == nil && fresh {
		grant.Request.Rejected = tok.Access.Fingerprint()
		tok, err = n.Source.Token(r.Context(), grant.Request)
	}
	if err != nil {
		n.WriteError(w, r, entra.AsError(err))
		return
	}
	entra.TrailOf(r.Context()).TokenFP = tok.Access.Fingerprint()
	h := w.Header()
	h["Cache-Control"] = []string{"no-store"} // RFC 6749 §5.1
	if plainText(r) {
		h["Content-Type"] = []string{"text/plain; charset=utf-8"}
		_, _ = w.Write([]byte(tok.Header()[0][len("Bearer "):]))
		return
	}
	h["Content-Type"] = []string{"application/json"}
	_, _ = w.Write(appendAnswer(make([]byte, 0, 4096), &grant, &tok, time.Now()))
}

// appendAnswer appends the token answer as one JSON object.
func appendAnswer(b []byte, grant *route.Grant, tok *entra.Token, now time.Time) []byte {
	b = append(b, '{')
	b = tok.AppendMembers(b, now)
	// Tenants and identity names are made of letters, digits, dots and
	// hyphens: nothing in them needs escaping.
	b = append(b, `,"tenant":"`...)
	b = append(b, grant.Request.Tenant...)
	b = append(b, `","identity":"`...)
	b = append(b, grant.Identity...)
	b = append(b, '"')
	if len(grant.Other) > 0 {
		others, _ := json.Marshal(grant.Other)
		b = append(append(b, `,"other_scopes":`...), others...)
	}
	return append(b, "}\n"...)
}

// Claims answers GET /claims: what is in the token that the broker would use,
// without the token.
func (n Native) Claims(w http.ResponseWriter, r *http.Request) {
	ask, _, err := readAsk(w, r)
	if err != nil {
		n.WriteError(w, r, entra.AsError(err))
		return
	}
	_, tok, err := n.get(r, ask, entra.Inspect)
	if err != nil {
		n.WriteError(w, r, entra.AsError(err))
		return
	}
	decoded, err := tok.JWT()
	if err != nil {
		n.WriteError(w, r, entra.AsError(err))
		return
	}
	entra.TrailOf(r.Context()).TokenFP = tok.Access.Fingerprint()
	writeJSON(w, decoded.Payload)
}

// get resolves what is asked for and asks the source, noting both.
func (n Native) get(r *http.Request, ask route.Ask, use entra.Use) (route.Grant, entra.Token, error) {
	grant, err := n.Table.ResolveToken(ask)
	if err != nil {
		return route.Grant{}, entra.Token{}, err
	}
	grant.Request.Use = use
	trail := entra.TrailOf(r.Context())
	trail.Identity, trail.Tenant, trail.Scope, trail.Route = grant.Identity, grant.Request.Tenant, grant.Request.Scope, grant.Request.Route
	tok, err := n.Source.Token(r.Context(), grant.Request)
	return grant, tok, err
}

// routeView is a route as /routes shows it.
type routeView struct {
	Name     string        `json:"name"`
	Upstream string        `json:"upstream"`
	Identity string        `json:"identity"`
	Scopes   []entra.Scope `json:"scopes"`
	Access   string        `json:"access"`
	Allow    []string      `json:"allow,omitempty"`
	Deny     []string      `json:"deny,omitempty"`
	Optional bool          `json:"optional,omitempty"`
}

// Routes answers GET /routes: what is configured, no secrets.
func (n Native) Routes(w http.ResponseWriter, _ *http.Request) {
	views := []routeView{}
	for _, r := range n.Table.Routes() {
		views = append(views, routeView{
			Name: r.Name, Upstream: r.Upstream.String(), Identity: r.Identity, Scopes: r.Scopes(),
			Access: r.Access.String(), Allow: ruleTexts(r.Allow), Deny: ruleTexts(r.Deny), Optional: r.Optional,
		})
	}
	body, _ := json.MarshalIndent(map[string]any{"routes": views}, "", "  ")
	writeJSON(w, body)
}

func ruleTexts(rules []route.Rule) []string {
	var texts []string
	for _, r := range rules {
		texts = append(texts, strings.TrimSpace(strings.Join(r.Methods, ",")+" "+r.Path.String()))
	}
	return texts
}

func writeJSON(w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(append(body, '\n'))
}

func plainText(r *http.Request) bool {
	for _, accept := range r.Header["Accept"] {
		if media, _, _ := strings.Cut(accept, ";"); strings.TrimSpace(media) == "text/plain" {
			return true
		}
	}
	return false
}
