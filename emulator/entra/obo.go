package entraemu

import (
	"errors"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"tokenbroker/entra"
)

// onBehalfOf is the grant by which an API asks for a token of another one, for
// the user whose token it was sent. See "Microsoft identity platform and OAuth
// 2.0 On-Behalf-Of flow", learn.microsoft.com/entra/identity-platform/v2-oauth2-on-behalf-of-flow.
func (s *Server) onBehalfOf(req *tokenRequest, app *App) (*userGrant, *refusal) {
	assertion := req.form.Get("assertion")
	switch {
	case assertion == "":
		return nil, missing("assertion")
	case req.form.Get("requested_token_use") == "":
		return nil, missing("requested_token_use")
	case req.form.Get("requested_token_use") != "on_behalf_of":
		return nil, malformed("the requested_token_use is not supported")
	}
	w, no := wishOf(req.version, req.form, wish{})
	if no != nil {
		return nil, no
	}
	proof, no := s.prove(app, req, false)
	if no != nil {
		return nil, no
	}
	claims, no := s.userAssertion(app, assertion)
	if no != nil {
		return nil, no
	}
	tenant, no := s.tenant(claims.Tenant)
	switch {
	case no != nil || !isIssuerOf(claims.Issuer, tenant.ID):
		return nil, badUserAssertion("The token issuer is no tenant of this authority")
	case req.tenant != nil && req.tenant != tenant:
		return nil, badUserAssertion("The token issuer is another tenant than the one that was asked")
	}
	user, known := s.accountOf(tenant, claims.Object)
	s.mu.Lock()
	before := s.sessions[claims.session] // of nobody, if there is none
	s.mu.Unlock()
	if !known || before.upn != user.UPN {
		return nil, badUserAssertion("The user's session is not known")
	}
	from := s.open(session{login: before.login, client: app.ClientID, proof: proof})
	g, no := s.toUser(req, from, tenant, w)
	if no != nil && no.number == 50076 {
		no = no.as("interaction_required")
	}
	return g, no
}

// userClaims are the claims of a user's token that a grant is based on.
type userClaims struct {
	entra.Claims
	session string
}

// userAssertion checks that the assertion is an access token for the app, of a
// user.
func (s *Server) userAssertion(app *App, assertion string) (*userClaims, *refusal) {
	var sid struct {
		jwt.RegisteredClaims
		Session string `json:"sid"`
	}
	_, _, malformed := jwt.NewParser().ParseUnverified(assertion, &sid)
	parsed, err := entra.ParseJWT(assertion)
	if malformed != nil || err != nil {
		return nil, malformedAssertion("it cannot be parsed")
	}
	err = s.checkSignature(assertion)
	switch claims := parsed.Claims; {
	case errors.Is(err, jwt.ErrTokenSignatureInvalid), errors.Is(err, jwt.ErrTokenUnverifiable):
		return nil, badUserAssertion("The provided signature value did not match the expected signature value")
	case err != nil:
		return nil, staleUserAssertion()
	case !s.isFor(app, claims.Audience):
		return nil, otherApplication(claims.Audience, app.ClientID)
	case claims.IDType == "app":
		return nil, applicationsToken(app.ClientID)
	case !claims.Delegated():
		return nil, idTokenAssertion()
	}
	return &userClaims{parsed.Claims, sid.Session}, nil
}

// isFor reports whether audiences name the app: by its client id, or, where
// that is one of a resource's, by another of the resource's names.
func (s *Server) isFor(app *App, audiences []string) bool {
	names := []string{app.ClientID}
	for _, resource := range s.config.Resources {
		if slices.Contains(resource.Audiences, app.ClientID) {
			names = append(names, resource.Audiences...)
		}
	}
	return slices.ContainsFunc(audiences, func(audience string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, strings.TrimSuffix(audience, "/")) })
	})
}
