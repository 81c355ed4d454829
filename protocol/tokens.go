// Package protocol is the wire of each way in which local callers ask for
// tokens: the handler, how a caller shows its key, and how a failure looks.
//
// A protocol reads a request into a [route.Ask], lets the table resolve it,
// asks a source, and writes the answer. What a caller may have is decided
// behind the source, not here.
package protocol

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"tokenbroker/entra"
	"tokenbroker/route"
)

// Tokens is where every protocol has its tokens from.
type Tokens struct {
	// Table returns the routes that exist for the caller.
	Table  func(context.Context) *route.Table
	Source entra.Source
}

// get resolves what is asked for and asks the source, noting both.
func (t Tokens) get(r *http.Request, ask route.Ask, use entra.Use) (route.Grant, entra.Token, error) {
	grant, err := t.Table(r.Context()).ResolveToken(ask)
	if err != nil {
		return route.Grant{}, entra.Token{}, err
	}
	grant.Request.Use = use
	trail := entra.TrailOf(r.Context())
	trail.Identity, trail.Tenant, trail.Scope, trail.Route = grant.Identity, grant.Request.Tenant, grant.Request.Scope, grant.Request.Route
	tok, err := t.Source.Token(r.Context(), grant.Request)
	return grant, tok, err
}

// writeAnswer writes a whole answer, which nobody on the way may keep. Without
// the length, net/http would send a token's worth of bytes in chunks.
func writeAnswer(w http.ResponseWriter, mediaType string, body []byte) {
	h := w.Header()
	h["Content-Type"] = []string{mediaType}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	h["Cache-Control"] = []string{"no-store"} // RFC 6749 §5.1
	_, _ = w.Write(body)                      // fails only when the caller left
}

// left is how long the token is good, in whole seconds.
func left(tok *entra.Token, now time.Time) int64 {
	return int64(max(tok.ExpiresOn.Sub(now), 0) / time.Second)
}

// notBefore is when the token began to be good; of one that does not say, now.
func notBefore(tok *entra.Token, now time.Time) time.Time {
	if jwt, err := tok.JWT(); err == nil && jwt.Claims.NotBefore != 0 {
		return jwt.Claims.NotBefore.Time()
	}
	return now
}
