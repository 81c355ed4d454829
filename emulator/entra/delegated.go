package entraemu

import (
	"maps"
	"net/url"
	"slices"
	"strings"
)

const (
	dotDefault = ".default" // all that was consented to
	graphID    = "00000003-0000-0000-c000-000000000000"
)

// openIDScopes are OpenID Connect's own.
var openIDScopes = []string{"openid", "profile", "email", "offline_access"}

// wish is what is asked for in a user's name: permissions of one resource, and
// OpenID Connect's scopes.
type wish struct {
	audience string   // as it was spelled; empty: OpenID Connect's scopes alone
	prefix   string   // what stands before a permission where it is asked for; empty: nothing
	names    []string // of permissions; .default stands alone
	openID   []string // those of openIDScopes
}

// wishOf reads what a request asks for; where it does not say, the fallback.
func wishOf(v version, form url.Values, fallback wish) (wish, *refusal) {
	asked := form.Get(v.parameter)
	switch {
	case asked == "" && fallback.empty():
		return wish{}, missing(v.parameter)
	case asked == "":
		return fallback, nil
	case v == v1:
		// Version 1 gives a refresh token without being asked.
		return wish{audience: asked, names: []string{dotDefault}, openID: append(strings.Fields(form.Get("scope")), "offline_access")}, nil
	}
	return parseWish(asked)
}

// parseWish takes a scope of version 2 to pieces. A permission that names no
// resource is Microsoft Graph's.
func parseWish(scope string) (wish, *refusal) {
	var w wish
	for name := range strings.FieldsSeq(scope) {
		if slices.Contains(openIDScopes, name) {
			w.openID = append(w.openID, name)
			continue
		}
		prefix := name[:strings.LastIndexByte(name, '/')+1]
		audience, permission := graphID, name[len(prefix):]
		if prefix != "" {
			audience = strings.TrimSuffix(prefix, "/")
		}
		switch {
		case strings.ContainsAny(name, `"\`) || audience == "" || permission == "":
			return wish{}, invalidScope(scope)
		case w.audience != "" && !sameAudience(w.audience, audience):
			return wish{}, severalResources(scope)
		}
		w.audience, w.prefix = audience, prefix
		w.names = append(w.names, permission)
	}
	if slices.Contains(w.names, dotDefault) && len(w.names) > 1 {
		return wish{}, defaultAlone(scope)
	}
	return w, nil
}

func sameAudience(a, b string) bool {
	return strings.EqualFold(strings.TrimSuffix(a, "/"), strings.TrimSuffix(b, "/"))
}

func (w *wish) empty() bool { return w.audience == "" && len(w.openID) == 0 }

// has reports whether one of OpenID Connect's scopes is asked for.
func (w *wish) has(scope string) bool { return slices.Contains(w.openID, scope) }

// delegation is what an app may do in a user's name with one resource.
type delegation struct {
	app      App
	user     User
	object   string // the user's, in the tenant
	tenant   *Tenant
	resource *Resource
	audience string   // as it was asked for
	scp      []string // what was consented to, all of it: Entra gives more than is asked for
	echo     []string // the answer's scope
	lacking  []string // what is asked for and not consented to
}

// delegate weighs a wish of an app's against what was consented to.
func (s *Server) delegate(client string, user User, tenant *Tenant, w wish) (*delegation, *refusal) {
	d := &delegation{user: user, tenant: tenant, audience: w.audience}
	var ok bool
	if d.app, ok = s.app(client); !ok || !d.app.openTo(tenant) {
		return nil, noApp(client, tenant.ID)
	}
	consent := d.app.consent(tenant)
	if consent != nil && consent.Disabled {
		return nil, disabledApp(client)
	}
	if d.object, ok = user.in(tenant); !ok {
		return nil, notInTenant(user.UPN, tenant.ID)
	}
	if w.audience == "" {
		d.audience = graphID
	}
	var no *refusal
	if d.resource, no = s.resource(tenant, d.audience); no != nil {
		return nil, no
	}
	if w.audience == "" {
		d.scp = slices.DeleteFunc(slices.Clone(w.openID), func(name string) bool { return name == "offline_access" })
		d.echo = d.scp
		return d, nil
	}
	granted := user.consented(client, tenant, d.resource.Name)
	if consent != nil {
		granted = slices.Concat(consent.Scopes[d.resource.Name], granted)
	}
	slices.Sort(granted)
	d.scp = slices.Compact(granted)
	if no := d.weigh(w); no != nil {
		return nil, no
	}
	for _, name := range d.scp {
		d.echo = append(d.echo, w.prefix+name)
	}
	if w.prefix != "" && w.names[0] == dotDefault {
		d.echo = append(d.echo, w.prefix+dotDefault)
	}
	d.echo = append(d.echo, slices.DeleteFunc(slices.Clone(w.openID), func(name string) bool { return name == "offline_access" })...)
	return d, nil
}

// weigh finds what is lacking.
func (d *delegation) weigh(w wish) *refusal {
	if w.names[0] == dotDefault {
		registered := d.app.Delegates[d.resource.Name]
		switch {
		case len(d.scp) > 0:
		case len(registered) == 0:
			return notRegistered(d.audience, d.app.ClientID)
		default:
			d.lacking = registered
		}
		return nil
	}
	for _, name := range w.names {
		named := func(known string) bool { return strings.EqualFold(known, name) }
		switch {
		case d.resource.Scopes != nil && !slices.ContainsFunc(d.resource.Scopes, named):
			return noSuchScope(d.app.ClientID, name, d.resource.Name)
		case !slices.ContainsFunc(d.scp, named):
			d.lacking = append(d.lacking, name)
		}
	}
	return nil
}

// consentTo does what a user answered: it grants what is lacking, to themselves
// or, for an administrator who says so, to everybody in the tenant. It makes
// the app's service principal there if there is none.
func (s *Server) consentTo(d *delegation, everybody bool) {
	name := d.resource.Name
	if !everybody {
		_ = s.changeAccount(d.user.UPN, func(a *account) { // it is known
			own := UserConsent{Tenant: d.tenant.ID, ClientID: d.app.ClientID, Scopes: Scopes{name: d.lacking}}
			a.Consents = append(slices.Clone(a.Consents), own)
		})
	}
	_ = s.change(d.app.ClientID, func(app *App) { // it is known
		consent := Consent{Tenant: d.tenant.ID}
		if before := app.consent(d.tenant); before != nil {
			consent = *before
		}
		if everybody {
			granted := Scopes{}
			maps.Copy(granted, consent.Scopes)
			granted[name] = slices.Concat(granted[name], d.lacking)
			consent.Scopes = granted
		}
		app.Consents = append(app.without(d.tenant.ID), consent)
	})
	s.count(func(stats *Stats) { stats.Consents++ })
}
