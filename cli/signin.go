package cli

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"tokenbroker/broker"
	"tokenbroker/entra"
	"tokenbroker/guard"
	"tokenbroker/protocol"
	"tokenbroker/route"
	"tokenbroker/server"
)

const opSignIn = "cli.signin"

// signInLine is one line of the answer to /login: first what to do, then what
// came of it.
type signInLine struct {
	Prompt  *signInPrompt   `json:"prompt,omitempty"`
	Account *broker.Account `json:"account,omitempty"`
	Problem any             `json:"problem,omitempty"`
}

// signInPrompt is what to show to whoever signs in.
type signInPrompt struct {
	URL       string `json:"url"`
	UserCode  string `json:"user_code"` // empty: none is asked for, and the address that the browser ends at may be pasted
	Message   string `json:"message"`
	ExpiresOn int64  `json:"expires_on"`
}

func promptOf(p *broker.Prompt) *signInPrompt {
	return &signInPrompt{p.URL, p.UserCode, p.Message, p.ExpiresOn.Unix()}
}

// whoIs is an identity that somebody signs in to, as /whoami shows it.
type whoIs struct {
	Identity string          `json:"identity"`
	Tenant   entra.Tenant    `json:"tenant"`
	Account  *broker.Account `json:"account"`        // null: nobody is signed in
	Code     string          `json:"code,omitempty"` // of why it is not known who
	Detail   string          `json:"detail,omitempty"`
}

// login answers POST /login: it signs somebody in for as long as the caller
// waits for that, and the broker does not drain.
func (a *app) login(draining <-chan struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		u, opts, err := a.readLogin(w, r)
		if err != nil {
			server.WriteProblem(w, r, entra.AsError(err))
			return
		}
		entra.TrailOf(r.Context()).Scope = opts.Scope
		begun := false
		account, err := u.signInUntil(r.Context(), draining, opts, func(p broker.Prompt) {
			begun = true
			w.Header().Set("Content-Type", "application/x-ndjson")
			w.Header().Set("Cache-Control", "no-store")
			writeLine(w, signInLine{Prompt: promptOf(&p)})
		})
		switch e := entra.AsError(err); {
		case err == nil:
			a.cache.forget(a.idOf(u)) // tokens of before lack what was consented to
			writeLine(w, signInLine{Account: &account})
		case !begun || e.Kind == entra.Canceled: // of whom nobody reads more
			server.WriteProblem(w, r, e)
		default:
			writeLine(w, signInLine{Problem: server.Problem(r, e)})
		}
	}
}

// readLogin reads who is to be signed in to what, and how.
func (a *app) readLogin(w http.ResponseWriter, r *http.Request) (u *user, opts broker.LoginOptions, err error) {
	form, u, err := a.readSignIn(w, r, "identity", "prompt", "browser", "scope")
	if err != nil {
		return nil, opts, err
	}
	opts, err = loginOptions(a.visible(r.Context()), u.name, form)
	return u, opts, err
}

// loginOptions reads how somebody is to be signed in.
func loginOptions(table *route.Table, identity string, form url.Values) (opts broker.LoginOptions, err error) {
	opts = broker.LoginOptions{Prompt: form.Get("prompt"), Browser: form.Get("browser") == "true"}
	if browser := form.Get("browser"); browser != "" && browser != "true" && browser != "false" {
		return opts, entra.Errorf(entra.Invalid, opSignIn, "browser=%s: want true or false", entra.Quote(browser))
	}
	opts.Scope, err = signInScope(table, identity, form.Get("scope"))
	return opts, err
}

// writeLine writes a line that the caller reads at once.
func writeLine(w http.ResponseWriter, line signInLine) {
	body := json.NewEncoder(w)
	body.SetEscapeHTML(false)
	_ = body.Encode(line) // fails only when the caller left, which ends the request
	_ = http.NewResponseController(w).Flush()
}

// signInUntil is signIn that ends, in so many words, when the broker does: who
// waits for a person would wait for all of the drain.
func (u *user) signInUntil(ctx context.Context, draining <-chan struct{}, opts broker.LoginOptions, show func(broker.Prompt)) (broker.Account, error) {
	stops := entra.Errorf(entra.Unavailable, opSignIn, "identity %q: the broker stops; sign in again when it is back", u.name)
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	go func() {
		select {
		case <-draining:
			end(stops)
		case <-ctx.Done():
		}
	}()
	account, err := u.signIn(ctx, opts, show)
	if err != nil && errors.Is(context.Cause(ctx), stops) {
		return broker.Account{}, stops
	}
	return account, err
}

// signIn is [broker.User.Login], and notes meanwhile where a pasted address
// goes.
func (u *user) signIn(ctx context.Context, opts broker.LoginOptions, show func(broker.Prompt)) (broker.Account, error) {
	var mine *func(string) error // two may try, and one of them is refused
	defer func() { u.answer.CompareAndSwap(mine, nil) }()
	return u.Login(ctx, opts, func(p broker.Prompt) {
		if p.Answer != nil {
			mine = &p.Answer
			u.answer.Store(mine)
		}
		show(p)
	})
}

// loginAnswer answers POST /login/answer, which takes the address that the
// browser of who signs in ended at.
func (a *app) loginAnswer(w http.ResponseWriter, r *http.Request) {
	form, u, err := a.readSignIn(w, r, "identity", "url")
	if err == nil && form.Get("url") == "" {
		err = entra.Errorf(entra.Invalid, opSignIn, "url: missing; want the address that the browser ended at")
	}
	if err == nil {
		if answer := u.answer.Load(); answer != nil {
			err = (*answer)(form.Get("url"))
		} else {
			err = entra.Errorf(entra.Invalid, opSignIn, "identity %q: no sign-in by browser is under way; begin one with: tokenbroker login %s --browser", u.name, u.name)
		}
	}
	writeOwn(w, r, map[string]any{"accepted": true}, err)
}

// logout answers POST /logout.
func (a *app) logout(w http.ResponseWriter, r *http.Request) {
	_, u, err := a.readSignIn(w, r, "identity")
	if err == nil {
		if err = u.Logout(r.Context()); err == nil {
			a.cache.forget(a.idOf(u))
		}
	}
	if err != nil {
		server.WriteProblem(w, r, entra.AsError(err))
		return
	}
	writeOwn(w, r, map[string]any{"identity": u.name}, nil)
}

// whoami answers GET /whoami: who is signed in to the identity, or to each one
// that exists for the caller.
func (a *app) whoami(w http.ResponseWriter, r *http.Request) {
	form, err := protocol.ReadForm(w, r, "identity")
	names := []string{form.Get("identity")}
	if err == nil && names[0] == "" {
		names = nil
		for _, identity := range a.visible(r.Context()).Identities() {
			if a.users[identity.ID] != nil && !identity.Guest {
				names = append(names, identity.Name)
			}
		}
		slices.Sort(names)
		a.noteAllowed(r.Context(), "callers")
	} else if err == nil {
		_, err = a.visibleUser(r.Context(), names[0])
	}
	if err != nil {
		server.WriteProblem(w, r, entra.AsError(err))
		return
	}
	all := []whoIs{}
	for _, name := range names {
		all = append(all, a.who(r.Context(), name))
	}
	writeOwn(w, r, map[string]any{"users": all}, nil)
}

// who looks up who is signed in to an identity.
func (a *app) who(ctx context.Context, name string) whoIs {
	identity := a.cfg.Identities[name]
	who := whoIs{Identity: name, Tenant: identity.Tenant}
	account, err := a.users[identity.ID(a.cfg.Authority)].Account(ctx)
	if err == nil {
		who.Account = &account
	} else {
		e := guard.RedactError(ctx, entra.AsError(err))
		who.Code, who.Detail = e.Code, e.Message()
	}
	return who
}

// readSignIn reads a request about a sign-in, and finds the identity.
func (a *app) readSignIn(w http.ResponseWriter, r *http.Request, names ...string) (url.Values, *user, error) {
	form, err := protocol.ReadForm(w, r, names...)
	if err != nil {
		return nil, nil, err
	}
	if form.Get("identity") == "" {
		return nil, nil, entra.Errorf(entra.Invalid, opSignIn, "identity: missing; want the name of one that a user signs in to; see /whoami")
	}
	u, err := a.visibleUser(r.Context(), form.Get("identity"))
	return form, u, err
}

// visibleUser finds an identity that exists for the caller and that somebody
// signs in to, and notes it.
func (a *app) visibleUser(ctx context.Context, name string) (*user, error) {
	identity, err := a.visible(ctx).Identity(name)
	if err != nil {
		return nil, err
	}
	trail := entra.TrailOf(ctx)
	trail.Identity, trail.Tenant = identity.Name, identity.Tenant
	u := a.users[identity.ID]
	if u == nil {
		return nil, nobodySignsIn(identity.Name)
	}
	if identity.Guest {
		return nil, entra.Errorf(entra.Denied, opSignIn, "identity %q: its own tenant is not open to this caller", identity.Name)
	}
	a.noteAllowed(ctx, "identities."+identity.Name)
	return u, nil
}

func nobodySignsIn(name string) error {
	return entra.Errorf(entra.Invalid, opSignIn, "identity %q: nobody signs in to it; that is for kinds device-code and browser", name)
}

// noteAllowed notes what let a request through.
func (a *app) noteAllowed(ctx context.Context, rule string) {
	guard.Decision{Allowed: true, Rule: rule}.Note(entra.TrailOf(ctx))
}

func (a *app) idOf(u *user) entra.IdentityID {
	identity := a.cfg.Identities[u.name]
	return identity.ID(a.cfg.Authority)
}

// signInScope is what a user is asked to consent to: what was said, else a scope
// of the identity's routes, those that the configuration names first, and of
// these one that stands for all that the app is registered to ask for.
func signInScope(table *route.Table, identity, said string) (entra.Scope, error) {
	if said != "" {
		return entra.ParseScope(said)
	}
	var scopes, builtIn []entra.Scope
	for _, r := range table.Routes() {
		switch {
		case r.Identity != identity:
		case r.Optional:
			builtIn = append(builtIn, r.Scopes()...)
		default:
			scopes = append(scopes, r.Scopes()...)
		}
	}
	if len(scopes) == 0 {
		scopes = builtIn
	}
	if len(scopes) == 0 {
		return "", entra.Errorf(entra.Invalid, opSignIn, "identity %q: no route uses it, so say what to sign in for: scope=https://host/.default", identity)
	}
	i := slices.IndexFunc(scopes, func(s entra.Scope) bool { return strings.HasSuffix(string(s), "/.default") })
	return scopes[max(i, 0)], nil
}

// writeOwn writes an answer, or why there is none.
func writeOwn(w http.ResponseWriter, r *http.Request, answer any, err error) {
	if err != nil {
		server.WriteProblem(w, r, entra.AsError(err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	body := json.NewEncoder(w)
	body.SetEscapeHTML(false)
	_ = body.Encode(answer) // fails only when the caller left
}
