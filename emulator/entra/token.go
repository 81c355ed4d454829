package entraemu

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// version is what tells the two versions of Entra's endpoints apart.
type version struct {
	parameter string // names what is asked for
	tokenPath string
	keysPath  string
}

var (
	v1 = version{"resource", "/oauth2/token", "/discovery/keys"}
	v2 = version{"scope", "/oauth2/v2.0/token", "/discovery/v2.0/keys"}
)

// The values of grant_type, of which all but the first stand for a user, and
// the name of all that Entra does not know.
const (
	clientCredentials = "client_credentials"
	byCodeGrant       = "authorization_code"
	byRefreshGrant    = "refresh_token"
	byPasswordGrant   = "password"
	byDeviceGrant     = "urn:ietf:params:oauth:grant-type:device_code"
	onBehalfGrant     = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	otherGrant        = "other"
)

// tokenRequest is a token request in parts.
type tokenRequest struct {
	version   version
	grant     string
	form      url.Values
	origin    string // of the page that sent it
	host      string
	name      string  // of the tenant, as it was asked by
	tenant    *Tenant // nil: the user's
	client    string
	secret    string
	assertion string
	audience  string // as it was asked for
}

// token counts, lets faults happen, and then gives a token or says why not.
func (s *Server) token(v version) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		// First of all, since the server sees a client leave only when the body
		// has been read.
		formErr := r.ParseForm()
		s.count(func(stats *Stats) {
			stats.Tokens++
			stats.Grants[grantName(r.PostForm.Get("grant_type"))]++
		})
		f, changed := s.takeFault(TokenEndpoint)
		if s.fail(w, r, f, changed) {
			return
		}
		t, no := s.grant(v, r, formErr, f)
		if no != nil {
			s.refuse(w, r, no)
			return
		}
		s.count(func(stats *Stats) {
			stats.Issued++
			stats.Given[grantName(r.PostForm.Get("grant_type"))]++
			stats.Audiences[t.audience]++
		})
		writeJSON(w, http.StatusOK, v.answer(t))
	}
}

// grant gives a token for the request, or says why not.
func (s *Server) grant(v version, r *http.Request, formErr error, f Faults) (*issued, *refusal) {
	req, no := s.parse(v, r, formErr)
	if no != nil {
		return nil, no
	}
	if req.grant != clientCredentials {
		return s.grantToUser(req, f)
	}
	return s.grantToApp(req, f)
}

// grantToApp gives a token to an application that acts as itself.
func (s *Server) grantToApp(req *tokenRequest, f Faults) (*issued, *refusal) {
	app, consent, no := s.principal(req.client, req.tenant)
	if no != nil {
		return nil, no
	}
	req.client = app.ClientID
	proof, no := s.authenticate(&app, req)
	if no != nil {
		return nil, no
	}
	resource, no := s.resource(req.tenant, req.audience)
	if no != nil {
		return nil, no
	}
	if consent.Withheld {
		return nil, noConsent(req.client)
	}
	return s.issue(req, proof, consent.Roles[resource.Name], f)
}

// grantName is the one name of a grant; other, of those that Entra does not know.
func grantName(grant string) string {
	switch grant {
	case "device_code": // what MSAL for Go sends; Entra takes it
		return byDeviceGrant
	case clientCredentials, byCodeGrant, byRefreshGrant, byPasswordGrant, byDeviceGrant, onBehalfGrant:
		return grant
	}
	return otherGrant
}

// parse takes a token request to pieces, and refuses it where it is none.
func (s *Server) parse(v version, r *http.Request, formErr error) (*tokenRequest, *refusal) {
	if r.Method != http.MethodPost {
		return nil, postOnly(r.Method)
	}
	if formErr != nil {
		return nil, malformed("the body is no form, or too large")
	}
	form := r.PostForm
	named := s.tenantOrAny
	if form.Get("grant_type") == clientCredentials {
		named = s.tenant
	}
	tenant, no := named(r.PathValue("tenant"))
	if no != nil {
		return nil, no
	}
	for parameter, values := range form {
		if len(values) > 1 {
			return nil, duplicated(parameter)
		}
	}
	req := &tokenRequest{
		version:   v,
		grant:     grantName(form.Get("grant_type")),
		form:      form,
		origin:    r.Header.Get("Origin"),
		host:      r.Host,
		name:      r.PathValue("tenant"),
		tenant:    tenant,
		client:    form.Get("client_id"),
		secret:    form.Get("client_secret"),
		assertion: form.Get("client_assertion"),
	}
	if no := req.basic(r); no != nil {
		return nil, no
	}
	switch {
	case form.Get("grant_type") == "":
		return nil, missing("grant_type")
	case req.client == "":
		return nil, missing("client_id")
	case req.grant == otherGrant:
		return nil, unsupportedGrant(form.Get("grant_type"))
	case req.grant == clientCredentials && !req.proven():
		return nil, noCredential()
	case req.secret != "" && req.assertion != "":
		return nil, malformed("it has two client credentials")
	case req.assertion != "" && form.Get("client_assertion_type") == "":
		return nil, missing("client_assertion_type")
	case req.assertion != "" && form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer":
		return nil, malformed("the client_assertion_type is not supported")
	case req.grant != clientCredentials:
		return req, nil
	case form.Get(v.parameter) == "":
		return nil, missing(v.parameter)
	}
	req.audience = form.Get(v.parameter)
	if v == v2 {
		if req.audience, no = audienceOf(req.audience); no != nil {
			return nil, no
		}
	}
	return req, nil
}

// proven reports whether the client sent a credential.
func (req *tokenRequest) proven() bool { return req.secret != "" || req.assertion != "" }

// basic takes the client's id and secret from the Authorization header, if it
// has them (RFC 6749 §2.3.1).
func (req *tokenRequest) basic(r *http.Request) *refusal {
	id, secret, ok := r.BasicAuth()
	if !ok {
		return nil
	}
	id, idErr := url.QueryUnescape(id)
	secret, secretErr := url.QueryUnescape(secret)
	if idErr != nil || secretErr != nil || req.secret != "" || req.client != "" && req.client != id {
		return malformed("the Authorization header and the body do not agree")
	}
	req.client, req.secret = id, secret
	return nil
}

// audienceOf returns the resource of a scope such as https://host/.default.
// OpenID Connect's scopes may stand beside it. A resource that ends in a slash
// has two before .default.
func audienceOf(scope string) (string, *refusal) {
	resource := ""
	for name := range strings.FieldsSeq(scope) {
		switch name {
		case "openid", "profile", "email", "offline_access":
			continue
		}
		audience, ok := strings.CutSuffix(name, "/.default")
		switch {
		case strings.ContainsAny(name, `"\`) || name == "/.default":
			return "", invalidScope(scope)
		case !ok:
			return "", notDefault(name)
		case resource != "" && audience != resource:
			return "", severalResources(scope)
		}
		resource = audience
	}
	if resource == "" {
		return "", notDefault(scope)
	}
	return resource, nil
}

// answer is what a client gets; the two versions do not even agree on whether
// a number is one.
func (v version) answer(t *issued) map[string]any {
	answer := map[string]any{"token_type": "Bearer", "access_token": t.token}
	seconds := func(name string, d time.Duration) {
		if v == v1 {
			answer[name] = strconv.Itoa(int(d / time.Second))
		} else {
			answer[name] = int(d / time.Second)
		}
	}
	seconds("expires_in", t.lifetime)
	seconds("ext_expires_in", t.lifetime)
	if t.refreshIn > 0 {
		seconds("refresh_in", t.refreshIn)
	}
	for name, value := range map[string]string{"scope": t.scope, "refresh_token": t.refresh, "id_token": t.idToken, "client_info": t.clientInfo} {
		if value != "" {
			answer[name] = value
		}
	}
	if v == v1 {
		answer["resource"] = t.audience
		answer["not_before"] = strconv.FormatInt(t.notBefore.Unix(), 10)
		answer["expires_on"] = strconv.FormatInt(t.expires.Unix(), 10)
	}
	return answer
}
