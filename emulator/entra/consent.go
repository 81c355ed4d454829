package entraemu

import (
	"crypto/rand"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"tokenbroker/entra"
)

// consentForm is one of the links by which an administrator consents.
type consentForm uint8

const (
	partnerConsent consentForm = iota // "Partner access through Microsoft Defender for Endpoint APIs"
	adminConsent                      // "Grant tenant-wide admin consent to an application"
	adminConsentV2                    // "Admin consent on the Microsoft identity platform"
)

// consentRequest is a link that an administrator has opened.
type consentRequest struct {
	form     consentForm
	app      App
	tenant   *Tenant // nil: that of whoever signs in
	redirect string
	scope    string
	state    string
}

// consent shows what an app asks an administrator for, and takes the answer.
// Nobody has to sign in: who answers says which tenant's administrator they are.
func (s *Server) consent(form consentForm) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		req, no := s.parseConsent(form, r)
		if no != nil {
			s.refusePage(w, no)
			return
		}
		if r.Method != http.MethodPost {
			s.consentPage(w, req)
			return
		}
		answer, no := s.decide(req, r)
		if no != nil {
			s.refusePage(w, no)
			return
		}
		http.Redirect(w, r, answer, http.StatusFound)
	}
}

// parseConsent takes a link to pieces, and refuses it where it is none.
func (s *Server) parseConsent(form consentForm, r *http.Request) (*consentRequest, *refusal) {
	query := r.URL.Query()
	required := [][]string{
		partnerConsent: {"client_id", "response_type"},
		adminConsent:   {"client_id"},
		adminConsentV2: {"client_id", "scope", "redirect_uri"},
	}
	for _, parameter := range required[form] {
		if query.Get(parameter) == "" {
			return nil, missing(parameter)
		}
	}
	switch {
	case form == partnerConsent && query.Get("response_type") != "code":
		return nil, malformed("the response_type is not supported")
	case form == adminConsentV2 && !strings.HasSuffix(query.Get("scope"), "/.default"):
		return nil, invalidScope(query.Get("scope"))
	}
	req := &consentRequest{form: form, scope: query.Get("scope"), state: query.Get("state")}
	var no *refusal
	if req.app, req.tenant, no = s.registration(r.PathValue("tenant"), query.Get("client_id")); no != nil {
		return nil, no
	}
	req.redirect, _, no = req.app.redirect(query.Get("redirect_uri"))
	return req, no
}

// openTo reports whether the app may be used in a tenant, once it has consented.
func (a *App) openTo(tenant *Tenant) bool { return a.Home == "" || a.Home == tenant.ID }

// decide does what the administrator answered, and returns where the browser
// is sent.
func (s *Server) decide(req *consentRequest, r *http.Request) (redirect string, no *refusal) {
	if r.ParseForm() != nil {
		return "", malformed("the body is no form, or too large")
	}
	if req.tenant == nil {
		if req.tenant, no = s.tenant(r.PostForm.Get("tenant")); no != nil {
			return "", no
		}
	}
	answer := url.Values{}
	if req.form != partnerConsent {
		answer.Set("admin_consent", "True")
	}
	switch r.PostForm.Get("answer") {
	case "accept":
		if no := s.accept(req); no != nil {
			return "", no
		}
		if req.form == partnerConsent {
			answer.Set("code", rand.Text())
			answer.Set("session_state", newGUID())
			break
		}
		answer.Set("tenant", string(req.tenant.ID))
		if req.scope != "" {
			answer.Set("scope", req.scope)
		}
	case "cancel":
		answer.Set("error", "consent_required")
		if req.form == partnerConsent {
			answer.Set("error", "access_denied")
		}
		answer.Set("error_description", declined().Error())
	default:
		return "", missing("answer")
	}
	if req.state != "" {
		answer.Set("state", req.state)
	}
	separator := "?"
	if strings.Contains(req.redirect, "?") {
		separator = "&"
	}
	return req.redirect + separator + answer.Encode(), nil
}

// accept makes the app's service principal in the tenant, if it is not there,
// and grants it all that the app asks for. An app that asks for an API which the
// tenant does not have gets nothing.
func (s *Server) accept(req *consentRequest) *refusal {
	for name := range req.app.Requires {
		if !req.tenant.has(name) {
			return notSubscribed(name, req.tenant.ID)
		}
	}
	consent := Consent{Tenant: req.tenant.ID, Roles: req.app.Requires, Scopes: req.app.Delegates}
	if before := req.app.consent(req.tenant); before != nil {
		consent.Disabled = before.Disabled
	}
	_ = s.SetConsent(req.app.ClientID, consent) // both are known
	s.count(func(stats *Stats) { stats.Consents++ })
	return nil
}

// SetConsent puts an app's service principal into a tenant, in place of the one
// that is there.
func (s *Server) SetConsent(clientID string, consent Consent) error {
	if !s.config.hasTenant(consent.Tenant) {
		return entra.Errorf(entra.NotFound, "emulator.entra", "tenant %s: no such tenant", entra.Quote(string(consent.Tenant)))
	}
	consent.Roles, consent.Scopes = maps.Clone(consent.Roles), maps.Clone(consent.Scopes)
	return s.change(clientID, func(app *App) {
		app.Consents = append(app.without(consent.Tenant), consent)
	})
}

// Revoke removes an app's service principal from a tenant.
func (s *Server) Revoke(clientID string, tenant entra.Tenant) error {
	return s.change(clientID, func(app *App) { app.Consents = app.without(tenant) })
}

// without returns the app's consents but for that of a tenant.
func (a *App) without(tenant entra.Tenant) []Consent {
	return slices.DeleteFunc(slices.Clone(a.Consents), func(c Consent) bool { return c.Tenant == tenant })
}

var consentTemplate = template.Must(template.New("").Parse(`<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>Permissions requested</title>
<h1>Permissions requested</h1>
<p>The application {{.App.ClientID}} asks an administrator of {{with .Tenant}}{{.ID}}{{else}}a tenant{{end}} for:
<ul>{{range $api, $roles := .App.Requires}}{{range $roles}}
<li>{{$api}}: {{.}}{{end}}{{end}}{{range $api, $scopes := .App.Delegates}}{{range $scopes}}
<li>{{$api}}, in the name of users: {{.}}{{end}}{{end}}
</ul>
<form method="post">{{if .Choice}}
<p><label>You are an administrator of <select name="tenant">{{range .Choice}}
<option value="{{.ID}}">{{range .Domains}}{{.}} {{end}}{{.ID}}</option>{{end}}
</select></label>{{end}}
<p><button name="answer" value="accept">Accept</button> <button name="answer" value="cancel">Cancel</button>
</form>
`))

// consentPage asks the administrator.
func (s *Server) consentPage(w http.ResponseWriter, req *consentRequest) {
	page := struct {
		App    App
		Tenant *Tenant
		Choice []Tenant
	}{App: req.app, Tenant: req.tenant}
	if req.tenant == nil {
		page.Choice = s.config.Tenants
	}
	w.Header().Set("Content-Type", htmlType)
	_ = consentTemplate.Execute(w, page) // an error here is the client's leaving
}

var refusalTemplate = template.Must(template.New("").Parse(`<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>Sign in</title>
<h1>Sorry, but we're having trouble signing you in.</h1>
<p>{{.Error}}
`))

// refusePage answers a browser with the refusal, and counts it.
func (s *Server) refusePage(w http.ResponseWriter, no *refusal) {
	s.count(func(stats *Stats) { stats.Refused[no.number]++ })
	w.Header().Set("Content-Type", htmlType)
	w.WriteHeader(no.status)
	_ = refusalTemplate.Execute(w, no) // an error here is the client's leaving
}

const htmlType = "text/html; charset=utf-8"
