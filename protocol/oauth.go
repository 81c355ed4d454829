package protocol

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"tokenbroker/entra"
	"tokenbroker/route"
)

const opOAuth = "oauth.token"

// OAuth is the token endpoint of OAuth 2.0 (RFC 6749 §3.2) at Entra's own paths,
// so that a script that asks Entra asks the broker when its host is changed.
// See "Microsoft identity platform and the OAuth 2.0 client credentials flow",
// learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow.
type OAuth struct{ Tokens }

// TokenV2 answers POST /{tenant}/oauth2/v2.0/token.
func (o OAuth) TokenV2(w http.ResponseWriter, r *http.Request) { o.inTenant(w, r, appendV2) }

// TokenV1 answers POST /{tenant}/oauth2/token. Either path takes v1's resource
// and v2's scope; the shape of the answer is the path's.
func (o OAuth) TokenV1(w http.ResponseWriter, r *http.Request) { o.inTenant(w, r, appendV1) }

// TokenADFS answers POST /adfs/oauth2/token with a token of the identity's own
// tenant. SDKs take this tenant for a server on somebody's premises, and alone
// there they do not ask Microsoft first whether the authority is one.
func (o OAuth) TokenADFS(w http.ResponseWriter, r *http.Request) {
	if err := needsTLS(r); err != nil {
		WriteOAuthError(w, r, entra.AsError(err))
		return
	}
	o.serve(w, r, "", appendV2)
}

func (o OAuth) inTenant(w http.ResponseWriter, r *http.Request, write answerWriter) {
	tenant, err := tenantOf(r)
	if err != nil {
		WriteOAuthError(w, r, entra.AsError(err))
		return
	}
	o.serve(w, r, tenant, write)
}

// serve answers with a token of the tenant; empty: the identity's own.
func (o OAuth) serve(w http.ResponseWriter, r *http.Request, tenant entra.Tenant, write answerWriter) {
	ask, err := readOAuth(w, r)
	if err != nil {
		WriteOAuthError(w, r, entra.AsError(err))
		return
	}
	ask.Tenant = string(tenant)
	grant, tok, err := o.get(r, ask.Ask, entra.HandOut)
	if err != nil {
		WriteOAuthError(w, r, ask.explain(o.Table(r.Context()), grant.Identity, entra.AsError(err)))
		return
	}
	w.Header().Set("Pragma", "no-cache") // RFC 6749 §5.1
	room := len(tok.Header()[0]) + 512   // for the members beside it
	writeAnswer(w, "application/json", write(make([]byte, 0, room), &ask, &tok, time.Now()))
}

// tenantOf reads the tenant that the path begins with.
func tenantOf(r *http.Request) (entra.Tenant, error) {
	first, _, _ := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	return entra.ParseTenant(first)
}

// answerWriter appends a token answer in the shape of one version.
type answerWriter func(b []byte, ask *oauthAsk, tok *entra.Token, now time.Time) []byte

// appendV2 leaves out the scope, as Entra does and RFC 6749 §5.1 lets it: some
// clients refuse one that is spelt in another way than they asked for.
func appendV2(b []byte, _ *oauthAsk, tok *entra.Token, now time.Time) []byte {
	return fmt.Appendf(b, `{"token_type":"Bearer","expires_in":%d,"ext_expires_in":%[1]d,"access_token":"%s"}`+"\n", left(tok, now), tok.AppendAccess(nil))
}

// appendV1 writes all numbers as strings. No resource has a character that
// needs escaping, see [entra.ParseResource]; it stands there as it was asked for,
// since clients compare it.
func appendV1(b []byte, ask *oauthAsk, tok *entra.Token, now time.Time) []byte {
	return fmt.Appendf(b, `{"access_token":"%s","expires_in":"%d","expires_on":"%d","ext_expires_in":"%[2]d","not_before":"%[4]d","resource":"%[5]s","token_type":"Bearer"}`+"\n",
		tok.AppendAccess(nil), left(tok, now), tok.ExpiresOn.Unix(), notBefore(tok, now).Unix(), ask.resource)
}

// explain puts the failure of a request into OAuth's words, where it knows more
// of what was asked than the kind of the failure says. The identity is the one
// that was chosen; empty: none was.
func (a *oauthAsk) explain(table *route.Table, identity string, err *entra.Error) *entra.Error {
	refused := err.Kind == entra.Denied || err.Kind == entra.Invalid
	client := "client_id " + entra.Quote(a.Known.ClientID)
	switch {
	case refused && !isNeeded(table, a.Scope):
		return oauthRefusal(a.wrongTarget, "%s: no route needs a token for it; want one of: %s", a.target, neededBy(table, a.wrongTarget))
	case err.Kind == entra.NotFound && a.Known.User != "":
		return oauthRefusal(unsupportedGrant, "grant_type password: no identity of %s has the password of user %s; an application's own token comes by client_credentials", client, entra.Quote(a.Known.User))
	case err.Kind == entra.NotFound && a.isServed(table):
		return oauthRefusal(wrongClient, "%s: %s", client, a.otherGrant())
	case err.Kind == entra.Invalid && a.Assertion.IsZero() && actsForUsers(table, identity):
		return oauthRefusal(wrongClient, "identity %q: %s", identity, a.otherGrant())
	case err.Kind == entra.Invalid && !a.Assertion.IsZero():
		return coded("invalid_grant", err) // RFC 7521 §4.1.1
	}
	return err
}

// isServed reports whether some identity is of the application that was named,
// be it by another grant.
func (a *oauthAsk) isServed(table *route.Table) bool {
	return slices.ContainsFunc(table.Identities(), func(i *route.Identity) bool { return strings.EqualFold(i.Known.ClientID, a.Known.ClientID) })
}

func actsForUsers(table *route.Table, name string) bool {
	identity, err := table.Identity(name)
	return err == nil && identity.OnBehalfOf
}

// otherGrant says that it takes the other grant than the one that was sent.
func (a *oauthAsk) otherGrant() string {
	if a.Assertion.IsZero() {
		return "acts on behalf of users alone; send grant_type=" + grantForUser + " with the user's token as assertion"
	}
	return "does not act on behalf of users; send the client_id of an application that does, or grant_type=client_credentials without an assertion"
}
