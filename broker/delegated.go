package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/public"

	"tokenbroker/entra"
)

// delegated is an exchange for a user who signs in to us, with the words for
// what goes wrong.
type delegated struct {
	exchange
	user string // who it is for, for messages
	act  string // what a person can do, such as to sign in
	code string // of failures that they end that way; empty: Entra's own
}

// check refuses what a user's identity cannot be asked for.
func (d *delegated) check(req *entra.Request) error {
	if _, err := entra.ParseTenant(string(d.tenant)); err != nil {
		return err
	}
	if !req.Assertion.IsZero() {
		return entra.Errorf(entra.Invalid, opUser, "this identity is a user already: leave the assertion of another out")
	}
	if len(req.Scope.Names()) == 0 {
		return entra.Errorf(entra.Invalid, opUser, "scope: there is none; want https://host/.default, or delegated permissions of one resource")
	}
	return nil
}

// msal makes MSAL's client for one exchange. It begins with what the cache has,
// and leaves there what it remembers; nil: it begins with nothing, and forgets.
func (d *delegated) msal(app *App, memory *msalCache) (public.Client, error) {
	options := []public.Option{
		public.WithAuthority(d.authority.Tenant(d.tenant)),
		public.WithHTTPClient(app.HTTP),
		public.WithInstanceDiscovery(false),
	}
	if memory != nil {
		options = append(options, public.WithCache(memory))
	}
	client, err := public.New(d.client, options...)
	if err != nil {
		return client, d.errorf(entra.Internal, "MSAL makes no client of app {client} at {authority}")
	}
	return client, nil
}

// explain turns a failure of MSAL into ours, as [exchange.classify] does, in
// words for a user's flows.
func (d *delegated) explain(ctx context.Context, err error) *entra.Error {
	// MSAL gives no token where the answer's scope is narrower than what it
	// asked for, and has no type for that.
	if strings.Contains(err.Error(), "declined scopes are present") {
		e := d.errorf(entra.Challenged, d.words("not all of {scope} was granted to {user}: {act}"))
		e.Code = d.code
		return e
	}
	return d.tell(d.classify(ctx, err))
}

// tell puts a refusal into words for the user.
func (d *delegated) tell(e *entra.Error) *entra.Error {
	kind, text := signInRemedy(e.AADSTS, e.Code)
	switch {
	case text == "" && e.Kind == entra.Challenged:
		kind, text = e.Kind, e.Message()+"; {act}"
	case text == "":
		return e
	case e.AADSTS != 0:
		text += fmt.Sprintf(" (AADSTS%d)", e.AADSTS)
	}
	told := *e
	told.Kind, told.Err = kind, errors.Unwrap(d.errorf(kind, d.words(text)))
	if d.code != "" && strings.Contains(text, "{act}") {
		told.Code = d.code
	}
	return &told
}

// words puts the user's part into a text.
func (d *delegated) words(text string) string {
	return strings.NewReplacer("{user}", d.user, "{act}", d.act).Replace(text)
}
