package broker

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/public"

	"tokenbroker/entra"
)

// loginPatience is how long a sign-in waits for its user. It is also how long a
// device code of Entra's is good.
const loginPatience = 15 * time.Minute

// selectAccount has Entra ask which account it is to be, whoever the browser
// knows.
const selectAccount = "select_account"

// LoginOptions say how somebody signs in.
type LoginOptions struct {
	// Scope is what they are asked to consent to. With https://host/.default
	// that is, the first time, all that the app is registered to ask for.
	Scope entra.Scope
	// Prompt is OpenID Connect's: select_account, which is also what empty
	// means, login or consent. The page for device codes lets them choose anyway.
	Prompt string
	// Browser signs in by [Browser], whatever the identity's flow.
	Browser bool
}

// Prompt is what to show to whoever signs in.
type Prompt struct {
	URL       string    // to open in a browser
	UserCode  string    // to type in there; empty: none is asked for
	Message   string    // all of that and what else to do, in words
	ExpiresOn time.Time // then the sign-in is given up

	// Answer takes the address that the browser ended at, for when it cannot
	// reach us. An error says that this is not it, and the sign-in goes on. Nil:
	// there is no such address.
	Answer func(pasted string) error
}

// errSignedOut is why a sign-in was given up: somebody would rather have nobody
// signed in.
var errSignedOut = errors.New("signed out")

// Login signs a user in, in the place of who is signed in. It calls show once,
// and returns when they have done what that says, or have not in time. One
// sign-in is under way at a time, and a [User.Logout] ends it. Where a claims challenge has kept the sign-in
// of before from a token, this one meets it: Entra asks the user for what it
// takes.
func (u *User) Login(ctx context.Context, opts LoginOptions, show func(Prompt)) (Account, error) {
	if !slices.Contains([]string{"", selectAccount, "login", "consent"}, opts.Prompt) {
		return Account{}, entra.Errorf(entra.Invalid, opUser, "prompt %s: want select_account, login or consent", entra.Quote(opts.Prompt))
	}
	select {
	case u.login <- struct{}{}:
		defer func() { <-u.login }()
	default:
		return Account{}, entra.Errorf(entra.Unavailable, opUser, "identity %q: a sign-in is under way already: finish it, end the command that waits for it, or run: tokenbroker logout %s", u.cfg.Name, u.cfg.Name)
	}
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	u.giveUp.Store(&giveUp)
	defer u.giveUp.Store(nil)
	account, err := u.signIn(ctx, opts, show)
	if err != nil && errors.Is(context.Cause(ctx), errSignedOut) {
		return Account{}, u.required("somebody has signed out meanwhile")
	}
	return account, err
}

func (u *User) signIn(ctx context.Context, opts LoginOptions, show func(Prompt)) (Account, error) {
	d, err := u.exchange(ctx, entra.Request{Scope: opts.Scope})
	if err != nil {
		return Account{}, err
	}
	before, err := u.before(ctx)
	if err != nil {
		return Account{}, err
	}
	var in signIn
	client, err := d.msal(&u.cfg.App, &in.cache)
	if err != nil {
		return Account{}, err
	}
	flow := u.byDeviceCode
	if opts.Browser || u.cfg.Flow == Browser {
		flow = u.byBrowser
	}
	waiting, cancel := context.WithTimeout(ctx, loginPatience)
	defer cancel()
	result, err := flow(waiting, &login{d, client, opts, show, before.claims})
	if err != nil {
		if waiting.Err() == nil { // else nobody came; what Entra refuses, claims among it, is not asked for twice
			u.want(ctx, before, "")
		}
		return Account{}, err
	}
	in.Account = Account{
		ID: result.Account.HomeAccountID, Username: result.Account.PreferredUsername,
		Tenant: result.IDToken.TenantID, SignedIn: time.Now().UTC(),
	}
	if in.ID == "" || !in.cache.renewable() {
		return Account{}, d.errorf(entra.Unavailable, "{authority} does not say who has signed in, or gives no refresh token: is it an Entra authority?")
	}
	if err := u.keep(ctx, &in); err != nil {
		return Account{}, err
	}
	return in.Account, nil
}

// before is the sign-in that another takes the place of. A store that fails is
// told of before anybody is asked to sign in.
func (u *User) before(ctx context.Context) (*signIn, error) {
	in, err := u.load(ctx)
	if e := entra.AsError(err); e != nil && e.Code == LoginRequired {
		return new(signIn), nil
	}
	return in, err
}

// login is a sign-in under way.
type login struct {
	*delegated
	library public.Client // of MSAL
	opts    LoginOptions
	show    func(Prompt)
	claims  string // of a challenge (OpenID Connect Core §5.5); empty: none
}

// ended is why a sign-in has failed: above all, that nobody has come until
// then.
func (l *login) ended(ctx context.Context, until time.Time, err error) *entra.Error {
	if errors.Is(ctx.Err(), context.Canceled) || ctx.Err() == nil && time.Now().Before(until) {
		return l.explain(ctx, err)
	}
	e := l.errorf(entra.Challenged, l.words("nobody has signed in in time: {act}"))
	e.Code = LoginRequired
	return e
}
