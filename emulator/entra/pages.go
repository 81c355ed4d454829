package entraemu

import (
	"crypto/rand"
	"html/template"
	"net/http"
	"time"
)

// The pages are plain forms, for browsers with and without scripts and for
// [Person]. Each names its step in the id of its form.

var signInTemplate = template.Must(template.New("").Parse(`<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>Sign in to your account</title>
<h1>Sign in</h1>{{with .Error}}
<p id="error" role="alert">{{.}}</p>{{end}}
<form id="{{.Step}}" method="post" action="/common/login">
<input type="hidden" name="flow" value="{{.Flow}}">{{if eq .Step "account"}}
<p>Pick an account{{range .Accounts}}
<p><button name="login" value="{{.}}">{{.}}</button>{{end}}
<p><button name="login" value="">Use another account</button>{{else if eq .Step "password"}}
<p><label>User <input name="login" value="{{.Hint}}" autocomplete="username"></label>
<p><label>Password <input name="passwd" type="password" autocomplete="current-password"></label>
<p><button name="answer" value="next">Sign in</button>{{else if eq .Step "mfa"}}
<p>{{.User}}: the emulator's code is {{.Code}}.
<p><label>Code <input name="otc" autocomplete="one-time-code"></label>
<p><button name="answer" value="next">Verify</button>{{else}}
<p>{{.User}}: the application {{.Client}} asks for{{range .Scopes}}
<li>{{.}}{{end}}{{if .Governs}}
<p><label><input name="organisation" type="checkbox" value="yes"> Consent on behalf of your organisation</label>{{end}}
<p><button name="answer" value="accept">Accept</button>{{end}}
<button name="answer" value="cancel">Cancel</button>
</form>
`))

var deviceTemplate = template.Must(template.New("").Parse(`<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>Enter code</title>
<h1>Enter code</h1>{{with .Error}}
<p id="error" role="alert">{{.}}</p>{{end}}
<form id="device" method="post">
<p><label>Enter the code displayed on your device <input name="code" value="{{.Code}}" autocomplete="off"></label>
<p><button name="answer" value="next">Next</button>
</form>
`))

var doneTemplate = template.Must(template.New("").Parse(`<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>Sign in</title>
<p id="done">{{.}} You may now close this window.</p>
`))

var formPostTemplate = template.Must(template.New("").Parse(`<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>Working...</title>
<form id="answer" method="post" action="{{.Action}}">{{range $name, $values := .Fields}}{{range $values}}
<input type="hidden" name="{{$name}}" value="{{.}}">{{end}}{{end}}
<noscript><button>Continue</button></noscript>
</form>
<script>document.forms[0].submit()</script>
`))

// stepNames are the ids of the forms.
var stepNames = map[step]string{askAccount: "account", askPassword: "password", askMFA: "mfa", askConsent: "consent"}

// ask shows the page of a sign-in's step, with the refusal of what was answered
// before, if any.
func (s *Server) ask(w http.ResponseWriter, r *http.Request, si *signIn, d *delegation, no *refusal) {
	page := struct {
		Step, Flow, Hint, User, Code, Client string
		Error                                error
		Accounts, Scopes                     []string
		Governs                              bool
	}{Step: stepNames[si.step], Flow: rand.Text(), Hint: si.hint, User: si.login.upn, Code: MFACode, Client: si.client}
	if no != nil {
		page.Error = no
	}
	if si.step == askAccount {
		for _, l := range s.signedIn(r) {
			page.Accounts = append(page.Accounts, l.upn)
		}
	}
	if d != nil {
		page.Governs = d.user.governs(d.tenant)
		page.Scopes = d.lacking
		if len(d.lacking) == 0 {
			page.Scopes = d.scp
		}
	}
	si.expires = time.Now().Add(signInLifetime)
	s.mu.Lock()
	s.signIns[page.Flow] = *si
	s.mu.Unlock()
	s.page(w, signInTemplate, page)
}

// page shows a page.
func (s *Server) page(w http.ResponseWriter, page *template.Template, data any) {
	w.Header().Set("Content-Type", htmlType)
	w.Header().Set("X-Frame-Options", "DENY")
	_ = page.Execute(w, data) // an error here is the client's leaving
}
