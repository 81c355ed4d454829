package cli

import (
	"cmp"
	"context"
	"crypto/tls"
	"maps"
	"net/http"
	"slices"

	"tokenbroker/config"
	"tokenbroker/entra"
	"tokenbroker/verify"
)

// verifying is what checks the tokens that callers show. It is handed on from
// one configuration to the next where nothing of it changes, with the keys that
// it has fetched.
type verifying struct {
	*verify.Verifier
	cfg   verify.Config
	apps  map[string]string // the client ids of our own applications, by the audiences that they go by
	roots *roots
	keys  *http.Transport
}

// verifier makes what checks tokens for the identities that act on behalf of
// users and for the resources of the routes, or keeps the one of before.
func (a *app) verifier(before *app) *verifying {
	cfg, apps := verify.Config{Authority: a.cfg.Authority, Logger: a.logger.Logger}, map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(a.cfg.Identities)) {
		identity := a.cfg.Identities[name]
		if identity.Tenant != "" {
			cfg.Tenants = append(cfg.Tenants, identity.Tenant)
		}
		cfg.Tenants = append(cfg.Tenants, identity.Tenants...)
		if identity.Credential.Kind == config.OnBehalfOf {
			cfg.Audiences = append(append(cfg.Audiences, identity.ClientID), identity.Credential.Audiences...)
			apps[identity.ClientID] = identity.ClientID
			for _, audience := range identity.Credential.Audiences {
				apps[audience] = identity.ClientID
			}
		}
	}
	for _, r := range a.table.Routes() {
		for _, scope := range r.Scopes() {
			cfg.Audiences = append(cfg.Audiences, scope.Audience())
		}
	}
	slices.Sort(cfg.Tenants)
	cfg.Tenants = slices.Compact(cfg.Tenants)
	slices.Sort(cfg.Audiences)
	cfg.Audiences = slices.Compact(cfg.Audiences)
	if before != nil {
		if old := before.verify; old.roots.same(a.roots) && old.cfg.Authority == cfg.Authority &&
			slices.Equal(old.cfg.Tenants, cfg.Tenants) && slices.Equal(old.cfg.Audiences, cfg.Audiences) && maps.Equal(old.apps, apps) {
			return old
		}
	}
	v := &verifying{cfg: cfg, apps: apps, roots: a.roots, keys: &http.Transport{
		DialContext:     a.dial,
		TLSClientConfig: &tls.Config{RootCAs: a.roots.pool, MinVersion: tls.VersionTLS12},
	}}
	if a.dial == nil {
		v.keys.Proxy = http.ProxyFromEnvironment
	}
	cfg.HTTP = &http.Client{Transport: v.keys, Timeout: a.cfg.Limits.EntraTimeout}
	v.Verifier = verify.New(cfg)
	return v
}

// check is for the flows that act on behalf of users.
func (v *verifying) check(ctx context.Context, assertion entra.Secret) (entra.Claims, string, error) {
	got, err := v.Verify(ctx, assertion)
	return got.Claims, cmp.Or(v.apps[got.For], got.For), err
}

// inspect is for those who ask about a token.
func (v *verifying) inspect(ctx context.Context, shown entra.Secret) (entra.JWT, error) {
	got, err := v.Verify(ctx, shown)
	return got.JWT, err
}

// user is for those who take a token as proof of who calls: it has to be for an
// application of ours. One for a route's resource was given to be sent there, and
// every application that may call the resource has such tokens.
func (v *verifying) user(ctx context.Context, shown entra.Secret) (entra.JWT, error) {
	got, err := v.Verify(ctx, shown)
	if _, ours := v.apps[got.For]; err != nil || ours {
		return got.JWT, err
	}
	refusal := entra.Errorf(entra.Unadmitted, "cli.user", "token: for %s, which is the resource of a route and no application of ours; get one for the client_id of an identity of kind on-behalf-of", entra.Quote(got.For))
	refusal.Code = string(verify.Audience)
	return entra.JWT{}, refusal
}
