package broker

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/public"

	"tokenbroker/entra"
)

// UserFlow is a way for a person to sign in.
type UserFlow uint8

// The ways to sign in.
const (
	DeviceCode UserFlow = iota // RFC 8628: they type a code in, at a browser on any machine
	Browser                    // RFC 8252: their browser is sent back to us, or they paste where it went
)

// UserConfig describes an identity that is a signed-in user.
type UserConfig struct {
	App         App      // a public client; HTTP is from [NewUserClient]
	Name        string   // the identity's, for the command in messages
	Flow        UserFlow // unless the login says otherwise
	RedirectURI string   // of [Browser], as it is registered; empty: http://localhost
	Store       SignIns
	StoreName   string // of the identity's sign-in, for good
	Logger      *slog.Logger
}

// User is the source of an identity that is a user: the one who signed in last,
// until they sign out. What a sign-in gave is in the store. There is one User
// for an identity in a process, through all reloads.
//
// Another process may sign somebody in to the same store, or out of it; that is
// seen within [lookAgain].
type User struct {
	cfg      UserConfig
	redirect redirect
	login    chan struct{}                           // the sign-in under way has put something there
	giveUp   atomic.Pointer[context.CancelCauseFunc] // that sign-in; nil: none is under way
	turn     chan struct{}                           // who reads the store or writes to it has put something there
	account  atomic.Pointer[seen]                    // of the sign-in in the store; nil: nobody has looked, or there is none
}

// seen is who was signed in when somebody last looked.
type seen struct {
	Account
	at time.Time
}

const (
	lookAgain    = 5 * time.Second // how long that goes for who is signed in now
	lookPatience = time.Second     // with a store that another process has locked
)

// NewUser makes the source, and asks nobody anything yet.
func NewUser(cfg UserConfig) (*User, error) {
	if err := cfg.App.validate(); err != nil {
		return nil, err
	}
	to, err := parseRedirect(cmp.Or(cfg.RedirectURI, "http://localhost"))
	if err != nil {
		return nil, err
	}
	return &User{cfg: cfg, redirect: to, login: make(chan struct{}, 1), turn: make(chan struct{}, 1)}, nil
}

// Account returns who is signed in. Where nobody is, the error has the code
// [LoginRequired].
func (u *User) Account(ctx context.Context) (Account, error) {
	held := u.account.Load()
	switch {
	case held == nil:
		in, err := u.load(ctx)
		if err != nil {
			return Account{}, err
		}
		return in.Account, nil
	case time.Since(held.at) < lookAgain:
		return held.Account, nil
	}
	return u.look(ctx, held)
}

// look looks whether who is signed in still is. Where somebody else looks, or
// the store does not say, it stays at what is known.
func (u *User) look(ctx context.Context, held *seen) (Account, error) {
	select {
	case u.turn <- struct{}{}:
		defer func() { <-u.turn }()
	default:
		return held.Account, nil
	}
	if now := u.account.Load(); now != nil && now != held {
		return now.Account, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	in, err := u.read(ctx)
	switch e := entra.AsError(err); {
	case err == nil:
		return in.Account, nil
	case e.Code == LoginRequired:
		return Account{}, err
	}
	u.see(held.Account)
	return held.Account, nil
}

// see notes who is signed in, in the turn of who has found out.
func (u *User) see(account Account) { u.account.Store(&seen{account, time.Now()}) }

// Token gets a new token for the request's account with its refresh token, which
// Entra replaces by another.
func (u *User) Token(ctx context.Context, req entra.Request) (entra.Token, error) {
	d, err := u.exchange(ctx, req)
	if err != nil {
		return entra.Token{}, err
	}
	in, err := u.load(ctx)
	if err != nil {
		return entra.Token{}, err
	}
	if req.Account != in.ID { // be it none, with which one user's token would stand for another's
		return entra.Token{}, entra.Errorf(entra.Unavailable, opUser, "identity %q: somebody else has signed in by now: ask again", u.cfg.Name)
	}
	renewed := in.cache
	client, err := d.msal(&u.cfg.App, &renewed)
	if err != nil {
		return entra.Token{}, err
	}
	options := []public.AcquireSilentOption{public.WithSilentAccount(public.Account{HomeAccountID: in.ID})}
	if req.Claims != "" {
		options = append(options, public.WithClaims(req.Claims))
	}
	result, err := client.AcquireTokenSilent(d.in(ctx), req.Scope.Names(), options...)
	if err != nil {
		return entra.Token{}, u.challenged(ctx, d.explain(ctx, err), in, &req)
	}
	if result.Account.HomeAccountID != in.ID {
		return entra.Token{}, d.errorf(entra.Unavailable, "{authority} answered with the token of another user: it is not used")
	}
	if err := u.amend(ctx, in, func(now *signIn) { now.cache = renewed }); err != nil {
		u.cfg.Logger.Warn("refresh token not kept, the one of before stays in use", "identity", u.cfg.Name, "err", err)
	}
	return d.token(&result, time.Time{})
}

// challenged notes what the next sign-in has to be asked for: what Entra wants,
// or what the API that the token is for wanted of Entra.
func (u *User) challenged(ctx context.Context, e *entra.Error, in *signIn, req *entra.Request) *entra.Error {
	if claims := cmp.Or(e.Claims, req.Claims); e.Kind == entra.Challenged && claims != "" {
		e.Claims = claims
		u.want(ctx, in, claims)
	}
	return e
}

// want notes what the next sign-in has to be asked for; empty: nothing.
func (u *User) want(ctx context.Context, in *signIn, claims string) {
	if in.claims == claims {
		return
	}
	if err := u.amend(ctx, in, func(now *signIn) { now.claims = claims }); err != nil {
		u.cfg.Logger.Warn("claims challenge not kept for the next sign-in", "identity", u.cfg.Name, "err", err)
	}
}

// exchange begins one for the user.
func (u *User) exchange(ctx context.Context, req entra.Request) (*delegated, error) {
	d := &delegated{exchange: u.cfg.App.exchange(ctx, &req, new(proof)), user: fmt.Sprintf("the user of identity %q", u.cfg.Name), act: u.command(), code: LoginRequired}
	return d, d.check(&req)
}

func (u *User) command() string { return "run: tokenbroker login " + u.cfg.Name }

// Logout forgets who is signed in, and ends a sign-in under way. What Entra gave
// them goes on until it expires: it has no way to take a refresh token back.
func (u *User) Logout(ctx context.Context) error {
	return u.inTurn(ctx, func() error {
		if err := u.cfg.Store.Delete(ctx, u.cfg.StoreName); err != nil {
			return err
		}
		u.account.Store(nil)
		if end := u.giveUp.Load(); end != nil {
			(*end)(errSignedOut)
		}
		return nil
	})
}

// load reads the sign-in from the store.
func (u *User) load(ctx context.Context) (in *signIn, err error) {
	err = u.inTurn(ctx, func() error {
		in, err = u.read(ctx)
		return err
	})
	return in, err
}

// keep writes a sign-in to the store, in the place of any other.
func (u *User) keep(ctx context.Context, in *signIn) error {
	packed, err := u.pack(in)
	if err != nil {
		return err
	}
	return u.inTurn(ctx, func() error {
		if err := u.cfg.Store.Save(ctx, u.cfg.StoreName, packed); err != nil {
			return err
		}
		u.see(in.Account)
		return nil
	})
}

// amend changes a sign-in in the store, unless it is over: somebody has signed
// out, or in, meanwhile, here or in another process. It returns why it has
// failed, but for a caller who left: what was there before goes on.
func (u *User) amend(ctx context.Context, in *signIn, change func(now *signIn)) error {
	var fault error
	edit := func(stored entra.Secret) entra.Secret {
		now, err := u.open(stored)
		if err != nil || now.ID != in.ID || !now.SignedIn.Equal(in.SignedIn) {
			return stored
		}
		change(now)
		var changed entra.Secret
		if changed, fault = u.pack(now); fault != nil {
			return stored
		}
		return changed
	}
	err := u.inTurn(ctx, func() error { return u.cfg.Store.Update(ctx, u.cfg.StoreName, edit) })
	if err == nil {
		err = fault
	}
	if entra.KindOf(err) == entra.Canceled {
		return nil
	}
	return err
}

// inTurn does something with the store while nobody else does, so that what is
// known of it and what is in it are the same.
func (u *User) inTurn(ctx context.Context, do func() error) error {
	select {
	case u.turn <- struct{}{}:
		defer func() { <-u.turn }()
		if ctx.Err() == nil {
			return do()
		}
	case <-ctx.Done():
	}
	return entra.AsError(ctx.Err())
}

func (u *User) read(ctx context.Context) (*signIn, error) {
	stored, err := u.cfg.Store.Load(ctx, u.cfg.StoreName)
	if err != nil {
		return nil, err
	}
	return u.open(stored)
}

// open takes out of its wrapping what was in the store, and notes whose it is.
func (u *User) open(stored entra.Secret) (*signIn, error) {
	in, ok := unpack(stored)
	if !ok {
		u.account.Store(nil)
		if stored.IsZero() {
			return nil, u.required("nobody is signed in")
		}
		return nil, u.required("the sign-in in the store cannot be read")
	}
	u.see(in.Account)
	return in, nil
}

func (u *User) pack(in *signIn) (entra.Secret, error) {
	packed, err := in.pack()
	if err != nil {
		return packed, entra.Errorf(entra.Internal, opUser, "identity %q: its sign-in cannot be packed", u.cfg.Name)
	}
	return packed, nil
}

// required says that somebody has to sign in, and how.
func (u *User) required(why string) *entra.Error {
	e := entra.Errorf(entra.Challenged, opUser, "identity %q: %s; %s", u.cfg.Name, why, u.command())
	e.Code = LoginRequired
	return e
}
