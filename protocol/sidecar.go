package protocol

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"tokenbroker/entra"
	"tokenbroker/route"
)

const opSidecar = "sidecar.ask"

// Sidecar speaks the HTTP API of Microsoft's own sidecar, so that its clients
// need not know which of the two answers. What it calls a service is a route. See
// "Microsoft Entra SDK for AgentID: endpoints",
// learn.microsoft.com/entra/msidweb/agent-id-sdk/endpoints.
//
// A path that ends in Unauthenticated acts as the identity of the route. The
// others take the token of a user as Authorization: Bearer, and act on behalf of
// that user.
type Sidecar struct {
	Tokens
	// Default is the route that the service named default stands for. Empty: only
	// a route of that name does.
	Default string
	// Overrides lets a request change what it gets of a service; policy decides
	// about the result. False: it may say no more than what it would get anyway.
	Overrides bool
	// Verify returns what a user's token says if it is right, and for an
	// application of ours. Errors of kind
	// [entra.Invalid] and [entra.Unadmitted] are verdicts; any other says that
	// there is none.
	Verify func(context.Context, entra.Secret) (entra.JWT, error)
	// Downstream makes the calls: the handler of /proxy/{route}[@{tenant}]/{path}.
	// It judges them, and notes in the request's trail what failed.
	Downstream http.Handler
}

// AuthorizationHeader answers /AuthorizationHeader/{service} with the value of a
// header for the service's API, on behalf of the user.
func (s Sidecar) AuthorizationHeader(w http.ResponseWriter, r *http.Request) {
	s.authorize(w, r, s.user)
}

// AuthorizationHeaderUnauthenticated is [Sidecar.AuthorizationHeader] as the
// service's own identity.
func (s Sidecar) AuthorizationHeaderUnauthenticated(w http.ResponseWriter, r *http.Request) {
	s.authorize(w, r, nobody)
}

// Validate answers /Validate: what the token says that came as Authorization, if
// it is right.
func (s Sidecar) Validate(w http.ResponseWriter, r *http.Request) {
	user, jwt, err := s.verified(r)
	if err == nil && (r.URL.RawQuery != "" || r.ContentLength != 0) {
		err = entra.Errorf(entra.Invalid, opSidecar, "query and body: nothing is read from them here; send the token as Authorization: Bearer, and nothing beside it")
	}
	if err != nil {
		WriteSidecarError(w, r, entra.AsError(err))
		return
	}
	token := entra.Token{Access: user}
	body, _ := json.Marshal(struct { // of JSON that was read
		Protocol string          `json:"protocol"`
		Token    string          `json:"token"`
		Claims   json.RawMessage `json:"claims"`
	}{"Bearer", string(token.AppendAccess(nil)), jwt.Payload})
	writeAnswer(w, sidecarMedia, append(body, '\n'))
}

const sidecarMedia = "application/json; charset=utf-8"

// authorize answers with a header's value, and with the end of its token as .NET
// writes a DateTimeOffset.
func (s Sidecar) authorize(w http.ResponseWriter, r *http.Request, who authentication) {
	tok, err := s.header(r, who)
	if err != nil {
		WriteSidecarError(w, r, entra.AsError(err))
		return
	}
	value := tok.Header()[0] // letters that stand for themselves in JSON, see entra.NewToken
	body := append(make([]byte, 0, len(value)+96), `{"authorizationHeader":"`...)
	body = append(append(body, value...), `","expiresOn":"`...)
	body = tok.ExpiresOn.UTC().AppendFormat(body, "2006-01-02T15:04:05-07:00")
	writeAnswer(w, sidecarMedia, append(body, "\"}\n"...))
}

func (s Sidecar) header(r *http.Request, who authentication) (entra.Token, error) {
	c, err := s.read(r, who)
	if err != nil {
		return entra.Token{}, err
	}
	if c.said.method != "" || r.ContentLength != 0 {
		return entra.Token{}, entra.Errorf(entra.Invalid, opSidecar, "optionsOverride.HttpMethod and body: no call is made here; send them to /DownstreamApi/%s", c.name)
	}
	ask, err := s.ask(&c)
	if err != nil {
		return entra.Token{}, err
	}
	grant, tok, err := s.get(r, ask, entra.HandOut)
	if err == nil && c.said.fresh {
		grant.Request.Rejected = tok.Access.Fingerprint()
		tok, err = s.Source.Token(r.Context(), grant.Request)
	}
	if err != nil {
		return entra.Token{}, c.blame(entra.AsError(err))
	}
	return tok, c.checkActor(&tok)
}

// sidecarCall is a request to the sidecar's API, as far as it can be judged
// before a token is asked for.
type sidecarCall struct {
	table    *route.Table // what exists for the caller
	name     string       // of the service, as the caller has it
	route    *route.Route
	identity *route.Identity
	user     entra.Secret // on whose behalf; zero: as the identity itself
	said     overrides
}

// authentication is how a path takes the user's token; a zero one: it acts as
// the identity itself.
type authentication func(*http.Request) (entra.Secret, error)

// read reads a request. The user comes first: who shows no good token learns
// nothing of services.
func (s Sidecar) read(r *http.Request, who authentication) (sidecarCall, error) {
	c := sidecarCall{table: s.Table(r.Context())}
	var err error
	if c.user, err = who(r); err != nil {
		return c, err
	}
	if assertion, err := route.UserAssertion(r.Header); err != nil || !assertion.IsZero() {
		return c, entra.Errorf(entra.Invalid, opSidecar, "header X-User-Assertion: not read here; send the user's token as Authorization: Bearer to the path without Unauthenticated")
	}
	if c.said, err = readOverrides(r.URL.RawQuery); err != nil {
		return c, err
	}
	if err := s.find(&c, r.URL.EscapedPath()); err != nil {
		return c, err
	}
	return c, s.chooseActor(&c)
}

// find finds the service that the path names behind its first segment. More
// segments than one name none: routers take them for one.
func (s Sidecar) find(c *sidecarCall, path string) (err error) {
	_, escaped, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if c.name, err = url.PathUnescape(escaped); err != nil {
		return entra.Errorf(entra.Invalid, opSidecar, "service: it has a %% that begins no escape, write %%25")
	}
	name := c.name
	if name == "default" && s.Default != "" {
		name = s.Default
	}
	c.route, err = c.table.Route(name)
	if entra.KindOf(err) == entra.NotFound {
		return entra.Errorf(entra.NotFound, opSidecar, "service %s: no such service; there are: %s", entra.Quote(c.name), s.services(c.table))
	}
	if err != nil {
		return err
	}
	c.identity, err = c.table.Identity(c.route.Identity)
	return err
}

// services lists what a caller may name.
func (s Sidecar) services(table *route.Table) string {
	var names []string
	for _, r := range table.Routes() {
		if r.Name == s.Default {
			names = slices.Insert(names, 0, "default")
		}
		names = append(names, r.Name)
	}
	if len(names) == 0 {
		return "none for this caller"
	}
	return strings.Join(names, ", ")
}

// chooseActor decides whom the call stands for. Nobody gets the application's
// own rights by showing a user's token, unless that is what they ask for.
func (s Sidecar) chooseActor(c *sidecarCall) error {
	refuse := func(why string) error {
		return entra.Errorf(entra.Invalid, opSidecar, "service %s: %s", entra.Quote(c.name), why)
	}
	switch {
	case c.identity.OnBehalfOf && c.said.appToken:
		return refuse("optionsOverride.RequestAppToken=true, and its identity acts on behalf of users alone; name a service whose identity is an application")
	case c.identity.OnBehalfOf && c.user.IsZero():
		return refuse("its identity acts on behalf of users alone; call the path without Unauthenticated, with the user's token as Authorization: Bearer")
	case c.identity.OnBehalfOf || c.user.IsZero():
		return nil
	case !c.said.appToken:
		return refuse("its identity does not act on behalf of users; call the path that ends in Unauthenticated, or name a service whose identity is on-behalf-of")
	case !s.Overrides:
		return refuse("optionsOverride.RequestAppToken=true beside a user's token, and " + overridesOff + "; or call the path that ends in Unauthenticated")
	}
	c.user = entra.Secret{}
	return nil
}

// checkActor holds a token to RequestAppToken: that of an identity that somebody
// signs in to is none of an application.
func (c *sidecarCall) checkActor(tok *entra.Token) error {
	if !c.said.appToken {
		return nil
	}
	if jwt, err := tok.JWT(); err == nil && jwt.Claims.Delegated() { // an opaque one does not say
		return entra.Errorf(entra.Invalid, opSidecar, "service %s: optionsOverride.RequestAppToken=true, and the tokens of identity %q are a user's; leave it off, or name a service whose identity is an application",
			entra.Quote(c.name), c.identity.Name)
	}
	return nil
}

// blame makes of what the flow finds wrong with the user's token the refusal of
// that token, which it is here. Entra's own refusals have a correlation id.
func (c *sidecarCall) blame(err *entra.Error) *entra.Error {
	if c.user.IsZero() || err.Kind != entra.Invalid || err.Code == "" || err.CorrelationID != "" {
		return err
	}
	return unauthorized(err)
}
