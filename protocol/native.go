package protocol

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"tokenbroker/entra"
	"tokenbroker/route"
)

// Native is the broker's own way of asking: /token, /claims and /routes.
type Native struct {
	Tokens
	// WriteError writes a failure in the shape of the broker's own paths.
	WriteError func(w http.ResponseWriter, r *http.Request, err *entra.Error)
}

// Token answers GET and POST /token with a token (RFC 6749 §5.1), or with the
// token alone where the first type that the caller accepts is text/plain.
func (n Native) Token(w http.ResponseWriter, r *http.Request) {
	ask, fresh, err := readAsk(w, r)
	if err == nil {
		err = checkFresh(r, fresh)
	}
	if err != nil {
		n.WriteError(w, r, entra.AsError(err))
		return
	}
	grant, tok, err := n.get(r, ask, entra.HandOut)
	if err == nil && fresh == "true" {
		grant.Request.Rejected = tok.Access.Fingerprint()
		tok, err = n.Source.Token(r.Context(), grant.Request)
	}
	if err != nil {
		n.WriteError(w, r, entra.AsError(err))
		return
	}
	if wantsText(r) {
		writeAnswer(w, "text/plain; charset=utf-8", tok.AppendAccess(nil))
		return
	}
	room := len(tok.Header()[0]) + 1024 // for the members beside it
	writeAnswer(w, "application/json", appendAnswer(make([]byte, 0, room), &grant, &tok, time.Now()))
}

// Claims answers GET /claims: what is in the token that the broker would use,
// without the token.
func (n Native) Claims(w http.ResponseWriter, r *http.Request) {
	ask, fresh, err := readAsk(w, r)
	if err == nil && fresh != "" && fresh != "false" {
		err = entra.Errorf(entra.Invalid, opAsk, "fresh: claims show the token that is held; ask /token for a fresh one")
	}
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
		// Nothing that the caller could mend.
		n.WriteError(w, r, entra.Errorf(entra.Upstream, "native.claims", "%s", entra.AsError(err).Message()))
		return
	}
	writeAnswer(w, "application/json", append(decoded.Payload, '\n'))
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

// Routes answers GET /routes: what is configured for the caller, no secrets.
func (n Native) Routes(w http.ResponseWriter, r *http.Request) {
	views := []routeView{}
	for _, r := range n.Table(r.Context()).Routes() {
		views = append(views, routeView{
			Name: r.Name, Upstream: r.Upstream.String(), Identity: r.Identity, Scopes: r.Scopes(),
			Access: r.Access.String(), Allow: ruleTexts(r.Allow), Deny: ruleTexts(r.Deny), Optional: r.Optional,
		})
	}
	body, _ := json.MarshalIndent(map[string]any{"routes": views}, "", "  ") // strings alone: it cannot fail
	writeAnswer(w, "application/json", append(body, '\n'))
}

func ruleTexts(rules []route.Rule) []string {
	var texts []string
	for _, r := range rules {
		texts = append(texts, r.String())
	}
	return texts
}

// appendAnswer appends the token answer as one JSON object. Nothing in a tenant,
// which is a GUID or a domain name, or in the name of an identity (see
// [route.IsName]) needs escaping.
func appendAnswer(b []byte, grant *route.Grant, tok *entra.Token, now time.Time) []byte {
	b = append(b, '{')
	b = tok.AppendMembers(b, now)
	b = append(b, `,"tenant":"`...)
	b = append(b, grant.Request.Tenant...)
	b = append(b, `","identity":"`...)
	b = append(b, grant.Identity...)
	b = append(b, '"')
	if len(grant.Other) > 0 {
		others, _ := json.Marshal(grant.Other) // strings alone: it cannot fail
		b = append(b, `,"other_scopes":`...)
		b = append(b, others...)
	}
	return append(b, "}\n"...)
}

// wantsText reports whether text/plain comes first in Accept, of what is
// accepted at all. Other weights than 0 are not looked at; a list that begins
// with JSON, as many clients send, means JSON.
func wantsText(r *http.Request) bool {
	for item := range strings.SplitSeq(r.Header.Get("Accept"), ",") {
		media, parameters, _ := strings.Cut(item, ";")
		if !weighsNothing(parameters) {
			return strings.EqualFold(strings.TrimSpace(media), "text/plain")
		}
	}
	return false
}

// weighsNothing reports whether there is a weight of 0 among the parameters:
// not acceptable (RFC 9110 §12.4.2).
func weighsNothing(parameters string) bool {
	for parameter := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
		if weight, err := strconv.ParseFloat(value, 64); strings.EqualFold(name, "q") && err == nil {
			return weight == 0
		}
	}
	return false
}
