package cli

import (
	"context"
	"io"
	"maps"
	"net/url"
	"slices"

	"github.com/spf13/cobra"

	"tokenbroker/broker"
	"tokenbroker/config"
	"tokenbroker/entra"
)

// direct is how login, logout and whoami do without a running broker: they
// build that of the configuration, in this process, for the identity's store.
type direct struct {
	on   bool
	file *string
}

// directFlags adds --direct and --config.
func directFlags(cmd *cobra.Command, sys System) *direct {
	d := &direct{file: configFlag(cmd, sys)}
	cmd.Flags().BoolVar(&d.on, "direct", false, "here and now, without a running broker: in the keychain or the file that is the identity's store")
	return d
}

// open builds the broker, and finds the identity there. The app is the
// caller's to close.
func (d *direct) open(ctx context.Context, sys System, name string) (*app, *user, error) {
	a, err := load(sys, *d.file, io.Discard)
	if err != nil {
		return nil, nil, err
	}
	u, err := a.keptUser(name)
	if err != nil {
		a.close(ctx)
		return nil, nil, err
	}
	return a, u, nil
}

// keptUser finds an identity whose sign-in outlives this process.
func (a *app) keptUser(name string) (*user, error) {
	identity, err := a.table.Identity(name)
	if err != nil {
		return nil, err
	}
	u := a.users[identity.ID]
	switch {
	case u == nil:
		return nil, nobodySignsIn(name)
	case u.place.Kind == config.InMemory:
		return nil, wrongUsage("identity %q: its store is memory, that of the running broker, and nothing would be left of --direct: leave that out, or set store to keychain or to a file", name)
	}
	return u, nil
}

// login signs a user in, and shows what to do.
func (d *direct) login(ctx context.Context, sys System, form url.Values) (*broker.Account, error) {
	a, u, err := d.open(ctx, sys, form.Get("identity"))
	if err != nil {
		return nil, err
	}
	defer a.close(ctx)
	opts, err := loginOptions(a.table, u.name, form)
	if err != nil {
		return nil, err
	}
	waiting, end := context.WithCancel(ctx)
	defer end()
	account, err := u.Login(waiting, opts, func(p broker.Prompt) { promptOf(&p).show(waiting, sys, p.Answer) })
	switch {
	case entra.KindOf(err) == entra.Canceled:
		return nil, entra.Errorf(entra.Canceled, "", "identity %q: the sign-in was given up", u.name)
	case err != nil:
		return nil, err
	}
	return &account, nil
}

// logout forgets who is signed in.
func (d *direct) logout(ctx context.Context, sys System, name string) error {
	a, u, err := d.open(ctx, sys, name)
	if err != nil {
		return err
	}
	defer a.close(ctx)
	return u.Logout(ctx)
}

// whoami says who is signed in to the identity, or of none named to each one
// that somebody signs in to.
func (d *direct) whoami(ctx context.Context, sys System, name string) ([]whoIs, error) {
	if name != "" {
		a, u, err := d.open(ctx, sys, name)
		if err != nil {
			return nil, err
		}
		defer a.close(ctx)
		return []whoIs{a.who(ctx, u.name)}, nil
	}
	a, err := load(sys, *d.file, io.Discard)
	if err != nil {
		return nil, err
	}
	defer a.close(ctx)
	all := []whoIs{}
	for _, name := range slices.Sorted(maps.Keys(a.cfg.Identities)) {
		identity := a.cfg.Identities[name]
		switch {
		case identity.Store.Kind == config.InMemory:
			all = append(all, whoIs{Identity: name, Tenant: identity.Tenant, Detail: "in the memory of the running broker: leave --direct out"})
		case identity.SignsIn():
			all = append(all, a.who(ctx, name))
		}
	}
	return all, nil
}
