package protocol

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"tokenbroker/entra"
	"tokenbroker/route"
)

const (
	grantForUser = "urn:ietf:params:oauth:grant-type:jwt-bearer" // RFC 7523 §2.1

	unsupportedGrant = "unsupported_grant_type"
	wrongClient      = "unauthorized_client"
	wrongScope       = "invalid_scope"
)

// oauthAsk is what a request to the token endpoint asks for.
type oauthAsk struct {
	route.Ask
	target      string // whom the token is for, as errors name it
	resource    string // the same as v1 answers it
	wrongTarget string // the error that it is the wrong one
}

// readOAuth reads a request to the token endpoint (RFC 6749 §3.2). What is not
// known is ignored there: SDKs send claims, client_info and telemetry.
func readOAuth(w http.ResponseWriter, r *http.Request) (oauthAsk, error) {
	if err := checkOAuthQuery(r.URL.RawQuery); err != nil {
		return oauthAsk{}, err
	}
	form, err := readOAuthForm(w, r)
	if err != nil {
		return oauthAsk{}, err
	}
	client, err := readClient(r, form)
	if err != nil {
		return oauthAsk{}, err
	}
	ask := oauthAsk{Ask: route.Ask{Known: route.Known{ClientID: client.id}}}
	if _, said := r.Header["X-User-Assertion"]; said {
		return oauthAsk{}, oauthRefusal(invalidRequest, "header X-User-Assertion: not read here; send the user's token as assertion, with grant_type=%s", grantForUser)
	}
	if err := ask.readGrant(form); err != nil {
		return oauthAsk{}, err
	}
	err = ask.readTarget(form)
	return ask, err
}

// readOAuthForm reads the form, once: after that it is r.PostForm. Nothing may
// stand there twice, and what has no value counts as left out (RFC 6749 §3.2).
func readOAuthForm(w http.ResponseWriter, r *http.Request) (parameters, error) {
	if r.PostForm != nil {
		return parameters(r.PostForm), nil
	}
	form, err := readForm(w, r)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(form)) {
		if len(form[name]) > 1 {
			return nil, oauthRefusal(invalidRequest, "parameter %s: said twice; say it once", entra.Quote(name))
		}
	}
	r.PostForm = url.Values(form)
	return form, nil
}

// checkOAuthQuery refuses in the query what belongs into the form. SDKs put
// telemetry there, and scripts an api-version, which make no difference.
func checkOAuthQuery(query string) error {
	said, err := parse("query", query)
	if err != nil {
		return err
	}
	for _, name := range [...]string{
		"grant_type", "scope", "resource", "client_id", "client_secret", "client_assertion",
		"assertion", "requested_token_use", "username", "password",
	} {
		if said[name] != nil {
			return oauthRefusal(invalidRequest, "parameter %s: in the query, which ends in logs and is not read here; send it in the form", name)
		}
	}
	return nil
}

// readGrant reads who the token is to act as: the identity itself, or a user.
func (a *oauthAsk) readGrant(form parameters) error {
	switch grant := form.get("grant_type"); grant {
	case "client_credentials": // RFC 6749 §4.4
		if form.get("assertion") != "" {
			return oauthRefusal(invalidRequest, "assertion: has no place beside grant_type=client_credentials; leave it off, or send grant_type=%s", grantForUser)
		}
		return nil
	case grantForUser:
		if form.get("requested_token_use") != "on_behalf_of" || form.get("assertion") == "" {
			return oauthRefusal(invalidRequest, "grant_type %s: want requested_token_use=on_behalf_of and the user's token as assertion", grantForUser)
		}
		a.Assertion = entra.NewSecret(form.get("assertion"))
		return nil
	case "password": // RFC 6749 §4.3
		return a.readUser(form)
	case "":
		return oauthRefusal(invalidRequest, "grant_type: missing; send grant_type=client_credentials")
	default:
		return oauthRefusal(unsupportedGrant, "grant_type %s: want client_credentials, %s, or password of a user whose password the broker has", entra.Quote(grant), grantForUser)
	}
}

// readUser reads the user of the password grant. The password is the broker's
// own, whatever the caller sends; what it may not get is another identity.
func (a *oauthAsk) readUser(form parameters) error {
	if a.Known.User = form.get("username"); a.Known.User == "" || a.Known.ClientID == "" {
		return oauthRefusal(invalidRequest, "grant_type password: want username and client_id of an identity whose password the broker has; an application's own token comes by client_credentials")
	}
	return nil
}

// readTarget reads whom the token is for: v2's scope or v1's resource. Scripts
// that were put together from both send both, which may then not differ.
func (a *oauthAsk) readTarget(form parameters) (err error) {
	scope := form.get("scope")
	a.resource, a.wrongTarget = form.get("resource"), wrongResource
	switch {
	case a.resource == "" && scope == "":
		return oauthRefusal(invalidRequest, "what for? say scope=https://host/.default, or resource=https://host")
	case a.resource == "":
		a.wrongTarget, a.target = wrongScope, "scope "+entra.Quote(scope)
		if a.Scope, err = entra.ParseScope(scope); err != nil {
			return coded(wrongScope, entra.AsError(err))
		}
		a.resource = a.Scope.Audience()
		return nil
	}
	a.target = "resource " + entra.Quote(a.resource)
	if a.Scope, err = entra.ParseResource(a.resource); err != nil {
		return coded(wrongResource, entra.AsError(err))
	}
	if _, err := entra.ParseScope(scope + " " + string(a.Scope)); err != nil {
		return oauthRefusal(invalidRequest, "%s and scope %s: two answers to one question; keep one of them", a.target, entra.Quote(strings.TrimSpace(scope)))
	}
	return nil
}
