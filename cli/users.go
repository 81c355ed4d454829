package cli

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"sync/atomic"

	"tokenbroker/broker"
	"tokenbroker/config"
	"tokenbroker/entra"
	"tokenbroker/store"
)

// keychainService is what the broker goes by in the system's keychain.
const keychainService = "tokenbroker"

// user is an identity that somebody signs in to. It outlives the configuration
// for as long as the next one says the same of it.
type user struct {
	*broker.User
	name     string
	place    config.Store
	redirect string
	client   *http.Client
	store    store.Store
	answer   atomic.Pointer[func(pasted string) error] // of the sign-in under way, if it takes one
}

// openUsers makes the source of each identity that somebody signs in to, or
// keeps that of before, and opens where their sign-ins are kept.
func (a *app) openUsers(before *app) error {
	a.users = map[entra.IdentityID]*user{}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(a.cfg.Identities)) {
		if identity := a.cfg.Identities[name]; identity.SignsIn() {
			u, err := a.openUser(name, &identity, before)
			if err != nil {
				errs = append(errs, atPath("identities."+name, err))
				continue
			}
			a.users[identity.ID(a.cfg.Authority)] = u
		}
	}
	return errors.Join(errs...)
}

func (a *app) openUser(name string, identity *config.Identity, before *app) (*user, error) {
	id := identity.ID(a.cfg.Authority)
	u := &user{name: name, place: identity.Store, redirect: identity.Credential.RedirectURI, client: a.people}
	if before != nil {
		if old := before.users[id]; old != nil && old.place == u.place {
			if old.redirect == u.redirect && old.client == u.client {
				return old, nil
			}
			u.store = old.store
		}
	}
	var err error
	if u.store == nil {
		if u.store, err = a.openStore(u.place); err != nil {
			return nil, entra.Errorf(entra.Invalid, "", "store: %s", entra.AsError(err).Message())
		}
	}
	flow := broker.DeviceCode
	if identity.Credential.Kind == config.Browser {
		flow = broker.Browser
	}
	u.User, err = broker.NewUser(broker.UserConfig{
		App:  broker.App{Authority: a.cfg.Authority, Tenant: identity.Tenant, ClientID: identity.ClientID, HTTP: a.people},
		Name: name, Flow: flow, RedirectURI: u.redirect, Store: u.store, StoreName: string(id), Logger: a.logger.Logger,
	})
	return u, err
}

// openStore opens where sign-ins are kept. Identities share a keychain, which
// may ask its user each time that it is opened.
//
//nolint:contextcheck,nolintlint // at its callers: all files are opened without one at a start; a store has its own patience
func (a *app) openStore(place config.Store) (store.Store, error) {
	switch place.Kind {
	case config.InKeychain:
		for _, other := range a.users {
			if other.place == place {
				return other.store, nil
			}
		}
		return store.OpenKeychain(keychainService)
	case config.InFile:
		return store.OpenFile(context.Background(), place.File, place.KeyFile)
	default:
		return store.NewMemory(), nil
	}
}

// signedIn is the user that an identity is; nil: none.
func (a *app) signedIn(id entra.IdentityID) *broker.User {
	if u := a.users[id]; u != nil {
		return u.User
	}
	return nil
}

// warms reports whether a token can be asked for before somebody wants it, and
// puts into the request whose it is to be. A keychain is not asked for that: it
// may ask its user.
func (a *app) warms(ctx context.Context, req *entra.Request) bool {
	u := a.users[req.Identity]
	if u == nil {
		return true
	}
	if u.place.Kind == config.InKeychain {
		return false
	}
	account, err := u.Account(ctx)
	req.Account = account.ID
	return err == nil
}

// describeUser says in a verdict who is signed in to an identity, or what to run
// so that somebody is. It reports whether there is a token to ask for.
func (a *app) describeUser(ctx context.Context, v *verdict, id entra.IdentityID) bool {
	u := a.users[id]
	if u == nil {
		return true
	}
	if u.place.Kind == config.InMemory {
		v.Verdict = "valid; who is signed in is in the memory of the running broker: tokenbroker whoami; to sign in: tokenbroker login " + u.name
		return false
	}
	account, err := u.Account(ctx)
	switch e := entra.AsError(err); {
	case err == nil:
		v.Verdict = "valid; signed in: " + account.Username
		return true
	case e.Code == broker.LoginRequired:
		v.Verdict = "valid; " + e.Message()
	default:
		v.fail(err)
	}
	return false
}
