package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"tokenbroker/defender"
	"tokenbroker/entra"
	"tokenbroker/route"
	"tokenbroker/setup"
)

const (
	soon     = 30 * 24 * time.Hour // a credential that ends sooner should be replaced
	tolerant = 2 * time.Minute     // a clock that is off by less does no harm; Entra itself bears five
	mostSaid = 5                   // permissions that one line names
)

// finding is what is known of one scope of a route in one tenant, after a token
// was asked for.
type finding struct {
	catalogue *defender.Catalogue
	route     *route.Route
	scope     entra.Scope
	lets      func(*defender.Endpoint) bool // whether the route lets a call of it through

	authority entra.Authority
	tenant    entra.Tenant
	client    string    // the app's id
	managed   bool      // a managed identity: nobody can consent to it
	expires   time.Time // when the certificate ends; zero: there is none, or it is not known

	failure *entra.Error  // why there is no token; nil: there is one
	claims  *entra.Claims // nil: nobody but the API can read the token
	skew    time.Duration // by how much this machine's clock is ahead of Entra's; zero: not known
	now     time.Time
}

// counsel is what check says of a finding.
type counsel struct {
	ok      bool
	verdict string   // one line
	steps   []string // what to know or to do, a line each
}

// advise judges a finding. It asks nobody anything.
func advise(f *finding) counsel {
	c := f.judge()
	c.steps = slices.Concat(c.steps, f.certificate(), f.clock())
	return c
}

func (f *finding) judge() counsel {
	switch {
	case f.failure != nil:
		return counsel{verdict: f.failure.Message() + aside(f.failure), steps: f.afterFailure()}
	case f.claims == nil:
		return counsel{ok: true, verdict: "a token came back, but it is opaque"}
	}
	if wrong := f.audience(); wrong != "" {
		return counsel{verdict: "wrong audience: " + wrong, steps: f.byPath("")}
	}
	all := f.endpoints()
	opened := slices.DeleteFunc(slices.Clone(all), func(e defender.Endpoint) bool { return defender.Missing(&e, f.claims) != nil })
	through := 0
	for i := range opened {
		if f.lets(&opened[i]) {
			through++
		}
	}
	missing := f.missing(all)
	switch {
	case len(all) == 0:
		return counsel{ok: true, verdict: "works; the catalogue knows no endpoint of this upstream", steps: f.stranger()}
	case len(f.claims.Permissions()) == 0:
		return counsel{verdict: "the token has no permissions", steps: missing}
	case len(opened) == 0:
		return counsel{verdict: "its permissions open none of the endpoints of this API", steps: missing}
	case through == 0:
		return counsel{verdict: "its permissions open none of the endpoints that the route lets through", steps: missing}
	case f.route.Restricted():
		return counsel{true, fmt.Sprintf("works; the token opens %d of %d endpoints, the route lets %d through", len(opened), len(all), through), slices.Concat(missing, f.halfServed())}
	default:
		return counsel{true, fmt.Sprintf("works; opens %d of %d endpoints", len(opened), len(all)), slices.Concat(missing, f.halfServed())}
	}
}

// endpoints lists those of the API that the scope is for.
func (f *finding) endpoints() []defender.Endpoint {
	asked := entra.Audience{f.scope.Audience()}
	var all []defender.Endpoint
	for _, e := range f.catalogue.Endpoints() {
		if f.catalogue.Opens(asked, e.API) {
			all = append(all, e)
		}
	}
	return all
}

// audience says what is wrong with whom the token is for; empty: nothing. Of a
// resource that the catalogue does not know, nothing can be said: it can have
// several names.
func (f *finding) audience() string {
	same := func(held string) bool { return f.catalogue.SameResource(entra.Scope(held+"/.default"), f.scope) }
	switch host := f.route.Host; {
	case len(f.endpoints()) == 0:
		return ""
	case !slices.ContainsFunc(f.claims.Audience, same):
		return fmt.Sprintf("the token is for %s, and %s was asked for", orElse(f.resource(f.claims.Audience...), "nobody"), f.resource(f.scope.Audience()))
	case host != nil && len(f.served()) == 0:
		return fmt.Sprintf("the token is for %s, and %s takes those for %s", f.resource(f.scope.Audience()), host.Name, f.resource(host.Scopes()[0].Audience()))
	}
	return ""
}

// served lists the scopes of the route's host that the token is good for.
func (f *finding) served() []entra.Scope {
	return slices.DeleteFunc(f.route.Host.Scopes(), func(s entra.Scope) bool { return !f.catalogue.SameResource(s, f.scope) })
}

// halfServed warns of a route whose one scope stands for all its paths, while
// its host has two resource applications.
func (f *finding) halfServed() []string {
	if f.route.Host == nil {
		return nil
	}
	var steps []string
	for _, other := range f.route.Host.Scopes() {
		if !f.catalogue.SameResource(other, f.scope) {
			steps = append(steps, f.byPath(f.route.Host.Name+" refuses this token at the paths of "+f.resource(other.Audience())+": ")...)
		}
	}
	return steps
}

// stranger warns of a scope at a host that the catalogue does not know it for.
// It may be one more name of the right resource application.
func (f *finding) stranger() []string {
	if f.route.Host == nil {
		return nil
	}
	return f.byPath("the catalogue knows no API of the name " + f.resource(f.scope.Audience()) + ": if " + f.route.Host.Name + " refuses the token, ")
}

// byPath says how the right scope is found, where another was set.
func (f *finding) byPath(why string) []string {
	if f.route.Scope == "" {
		return nil
	}
	return []string{why + "remove routes." + f.route.Name + ".scope, and the catalogue chooses the scope by path"}
}

// resource names the resource application of a token as the portal does, or by
// its audience where the catalogue does not know it.
func (f *finding) resource(audience ...string) string {
	for _, e := range f.catalogue.Endpoints() {
		if f.catalogue.Opens(audience, e.API) {
			return setup.Resource(e.API)
		}
	}
	return field(strings.Join(audience, " "))
}

// missing names the least permissions that would open what the route lets
// through and the token does not open, and says how they are added. Unless a
// list of the configuration's names more, only reads are missed: nobody should
// be talked into what isolates machines.
func (f *finding) missing(all []defender.Endpoint) []string {
	var closed []defender.Endpoint
	for _, e := range all {
		if defender.Missing(&e, f.claims) != nil && f.lets(&e) && (e.Effect == defender.Read || f.listed()) {
			closed = append(closed, e)
		}
	}
	needed := setup.Least(closed, f.claims.Delegated())
	if len(needed) == 0 {
		return nil
	}
	slices.SortStableFunc(needed, func(a, b setup.Needed) int { return len(b.Opens) - len(a.Opens) })
	var names, texts []string
	for i, n := range needed {
		names = append(names, n.Name)
		if i < mostSaid {
			texts = append(texts, fmt.Sprintf("%s (for %s)", n.Name, some(n.Opens)))
		}
	}
	line := "missing: " + strings.Join(texts, ", ")
	if more := len(needed) - mostSaid; more > 0 {
		line += fmt.Sprintf(" and %d more: see tokenbroker endpoints", more)
	}
	return []string{line, f.add(needed[0].API, names)}
}

// listed reports whether the configuration lists what the route is for.
func (f *finding) listed() bool {
	r := f.route
	builtin := r.Host != nil && slices.EqualFunc(r.Allow, r.Host.Paths(), func(rule route.Rule, path string) bool { return rule.String() == path })
	return len(r.Allow) > 0 && !builtin
}

// some names the first of the endpoints, and counts the others.
func some(endpoints []string) string {
	if more := len(endpoints) - 1; more > 0 {
		return fmt.Sprintf("%s and %d more", endpoints[0], more)
	}
	return endpoints[0]
}

// add says how permissions of an API are added, in the portal's words.
func (f *finding) add(api defender.API, names []string) string {
	if f.managed {
		return "to add them: tokenbroker setup --managed-identity " + field(f.claims.Object) + " --role " + strings.Join(names, " --role ") + "; the portal has no button for it"
	}
	kind, list := "Application permissions", "APIs my organization uses > "
	if f.claims.Delegated() {
		kind = "Delegated permissions"
	}
	if api == defender.Graph {
		list = ""
	}
	return fmt.Sprintf("to add them: App registrations > %s > API permissions > Add a permission > %s%s > %s; then have an administrator consent: %s",
		f.client, list, setup.Resource(api), kind, f.consent())
}

func (f *finding) consent() string { return entra.TenantConsentURL(f.authority, f.tenant, f.client) }

// afterFailure says what the failure's own text does not: where to turn.
func (f *finding) afterFailure() []string {
	place := "App registrations > " + f.client + " > Certificates & secrets"
	switch f.failure.AADSTS {
	case 7000222, 7000215: // a secret that has expired, or is wrong
		return []string{"secrets are made at " + place + " > New client secret; put the value into the file, and the broker takes it up by itself"}
	case 700027, 7000272, 50012: // a certificate that Entra does not know
		return []string{"certificates are uploaded at " + place + " > Certificates"}
	case 700016, 65001, 650052, 650056, 650057, 90094, 500011, 501051: // the tenant has not consented
		if !f.managed && !strings.Contains(f.failure.Message(), f.consent()) {
			return []string{"an administrator of the tenant consents at " + f.consent()}
		}
	case 7000112:
		return []string{"an administrator of the tenant switches it on at Enterprise applications > " + f.client + " > Properties > Enabled for users to sign-in"}
	}
	return nil
}

// certificate warns of one that ends soon.
func (f *finding) certificate() []string {
	left := f.expires.Sub(f.now)
	const remedy = ": make a new one, upload it to the app, and put it into the file; the broker takes it up by itself"
	switch day := f.expires.UTC().Format(time.DateOnly); {
	case f.expires.IsZero() || left > soon:
		return nil
	case left <= 0:
		return []string{"the certificate expired on " + day + remedy}
	default:
		return []string{fmt.Sprintf("the certificate expires on %s, in %d days%s", day, int(left.Hours()/24), remedy)}
	}
}

// clock warns of a clock that is off: by what Entra's answer said, or else by a
// token from the future.
func (f *finding) clock() []string {
	skew := f.skew
	if skew == 0 && f.claims != nil && f.claims.IssuedAt != 0 {
		skew = min(f.now.Sub(f.claims.IssuedAt.Time()), 0)
	}
	direction := "ahead of"
	if skew < 0 {
		direction = "behind"
	}
	if skew.Abs() <= tolerant {
		return nil
	}
	return []string{fmt.Sprintf("this machine's clock is %s %s Entra's: set it right (NTP); tokens are refreshed at the wrong time, and certificates refused", skew.Abs().Round(time.Second), direction)}
}
