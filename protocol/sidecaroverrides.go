package protocol

import (
	"maps"
	"slices"
	"strings"

	"tokenbroker/entra"
	"tokenbroker/route"
)

// overrides are what a request says beside its service.
type overrides struct {
	scope    entra.Scope
	tenant   entra.Tenant
	appToken bool
	fresh    bool
	path     string // of the call, escaped, with a leading slash; empty: none was said
	query    string // of the call, escaped
	method   string // of the call; empty: GET
}

// overridesOff is what a request reads that would change something where that is
// not allowed.
const overridesOff = "requests change nothing here: protocols.entra_sidecar.overrides is false"

// sidecarParameter is one that the API has, in the spelling of its documentation;
// letter case makes no difference. A dot at the end stands for any rest.
type sidecarParameter struct {
	name string
	take func(o *overrides, value string) error
	why  string // in place of take: why it is refused, with the remedy
}

const options = "optionsOverride."

// sidecarParameters is every parameter that there is. None is passed over: the
// caller would take what it gets for what it asked for.
var sidecarParameters = [...]sidecarParameter{
	{name: options + "Scopes", take: func(o *overrides, value string) (err error) {
		o.scope, err = entra.ParseScope(value)
		return err
	}},
	{name: options + "RequestAppToken", take: func(o *overrides, value string) (err error) {
		o.appToken, err = parseSwitch(value)
		return err
	}},
	{name: options + "AcquireTokenOptions.Tenant", take: func(o *overrides, value string) (err error) {
		o.tenant, err = entra.ParseTenant(value)
		return err
	}},
	{name: options + "AcquireTokenOptions.ForceRefresh", take: func(o *overrides, value string) (err error) {
		o.fresh, err = parseSwitch(value)
		return err
	}},
	{name: options + "RelativePath", take: (*overrides).aim},
	{name: options + "HttpMethod", take: func(o *overrides, value string) error {
		o.method = strings.ToUpper(value) // .NET writes "Post"
		return nil
	}},

	{name: options + "BaseUrl", why: "the service decides where its calls go; name another service, or add a route for that host"},
	{name: options + "ContentType", why: "send it as the header Content-Type, which is passed on"},
	{name: options + "AcceptHeader", why: "send it as the header Accept, which is passed on"},
	{name: options + "ExtraHeaderParameters.", why: "send it as a header of the request, which is passed on as through /proxy/"},
	{name: options + "ExtraQueryParameters.", why: "put it behind a ? into optionsOverride.RelativePath"},
	{name: options + "AcquireTokenOptions.Claims", why: "a claims challenge is for the user's sign-in; send the token that comes of that"},
	{name: options + "AcquireTokenOptions.CorrelationId", why: "send it as the header X-Request-Id, which goes on to Entra"},
	{name: options + "AcquireTokenOptions.FmiPath", why: "there are no agent identities here"},
	{name: options + "AcquireTokenOptions.PopPublicKey", why: "the tokens here are bearer tokens"},
	{name: options + "AcquireTokenOptions.PopClaim", why: "the tokens here are bearer tokens"},
	{name: options + "AcquireTokenOptions.LongRunningWebApiSessionKey", why: "send the user's token with each request"},
	{name: options + "AcquireTokenOptions.AuthenticationOptionsName", why: "the service has its identity; name another service"},
	{name: options + "AcquireTokenOptions.ManagedIdentity.", why: "the service has its identity; name another service"},
	{name: "AgentIdentity", why: noAgents},
	{name: "AgentUsername", why: noAgents},
	{name: "AgentUserId", why: noAgents},
}

const noAgents = "there are no agent identities here; leave it off to act as the service's identity, or give the agent's app a route of its own"

// readOverrides reads the query. Where several parameters are wrong, it is the
// first by name, so that a request gets the same answer every time.
func readOverrides(query string) (o overrides, err error) {
	given, err := parse("query", query)
	if err != nil {
		return overrides{}, err
	}
	said := parameters{} // in lower case, so that two spellings of a name are the one name
	for name, values := range given {
		lower := strings.ToLower(name)
		said[lower] = append(said[lower], values...)
	}
	for _, name := range slices.Sorted(maps.Keys(said)) {
		if err := o.read(name, said[name]); err != nil {
			return overrides{}, err
		}
	}
	return o, nil
}

func (o *overrides) read(name string, values []string) error {
	i := slices.IndexFunc(sidecarParameters[:], func(p sidecarParameter) bool { return p.is(name) })
	if i < 0 {
		return entra.Errorf(entra.Invalid, opSidecar, "parameter %s: not known; want %s", entra.Quote(name), sidecarNames())
	}
	p := &sidecarParameters[i]
	value := values[0]
	switch {
	case p.take == nil:
		return entra.Errorf(entra.Invalid, opSidecar, "parameter %s: not taken; %s", p.name, p.why)
	case p.name == options+"Scopes":
		value = strings.Join(values, " ")
	case len(values) > 1:
		return entra.Errorf(entra.Invalid, opSidecar, "parameter %s: said twice; say it once", p.name)
	}
	if strings.TrimSpace(value) == "" {
		return entra.Errorf(entra.Invalid, opSidecar, "parameter %s: empty; give it a value or leave it off", p.name)
	}
	if err := p.take(o, value); err != nil {
		return entra.Errorf(entra.Invalid, opSidecar, "parameter %s: %s", p.name, entra.AsError(err).Message())
	}
	return nil
}

// is reports whether a name, in lower case, is the parameter's.
func (p *sidecarParameter) is(name string) bool {
	own := strings.ToLower(p.name)
	return name == own || strings.HasSuffix(own, ".") && strings.HasPrefix(name, own)
}

// sidecarNames lists the parameters that are taken.
func sidecarNames() string {
	var names []string
	for _, p := range sidecarParameters {
		if p.take != nil {
			names = append(names, p.name)
		}
	}
	return strings.Join(names, ", ")
}

func parseSwitch(value string) (bool, error) {
	switch strings.ToLower(value) { // Python writes "True"
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, entra.Errorf(entra.Invalid, opSidecar, "%s: want true or false", entra.Quote(value))
}

// ask is what a request for a header comes to. Without overrides it may say
// which of the service's own scopes it means, by any of their names, and repeat
// the tenant.
func (s Sidecar) ask(c *sidecarCall) (route.Ask, error) {
	ask := route.Ask{Route: c.route.Name, Path: c.said.path, Tenant: string(c.said.tenant), Assertion: c.user}
	if c.said.fresh && !s.Overrides {
		return ask, entra.Errorf(entra.Invalid, opSidecar, "parameter optionsOverride.AcquireTokenOptions.ForceRefresh: %s; POST /token with fresh=true gets a new token", overridesOff)
	}
	if err := s.checkTenant(c); err != nil || c.said.scope == "" {
		return ask, err
	}
	switch grant, err := c.table.ResolveToken(ask); {
	case err != nil || grant.Request.Scope == c.said.scope:
		return ask, err
	case c.said.path != "":
		return ask, entra.Errorf(entra.Invalid, opSidecar, "optionsOverride.RelativePath and Scopes: two answers to one question; keep one of them")
	case !s.Overrides && !c.needs(c.said.scope, c.route):
		return ask, c.otherScope(overridesOff)
	}
	ask.Route, ask.Path, ask.Scope, ask.Identity = "", "", c.said.scope, c.identity.Name
	return ask, nil
}

// checkTenant refuses another tenant than the identity's own.
func (s Sidecar) checkTenant(c *sidecarCall) error {
	if said := c.said.tenant; said != "" && said != c.identity.Tenant && !s.Overrides {
		return entra.Errorf(entra.Invalid, opSidecar, "parameter optionsOverride.AcquireTokenOptions.Tenant: %s is not the tenant of service %s, and %s", said, entra.Quote(c.name), overridesOff)
	}
	return nil
}

// needs reports whether the calls of a route need the scope, by this name or by
// another of its resource.
func (c *sidecarCall) needs(scope entra.Scope, r *route.Route) bool {
	identity, err := c.table.Identity(r.Identity)
	return err == nil && slices.Contains(c.table.UsersOf(scope, identity.ID), r)
}

// otherScope refuses a scope that is not the service's, and names the services
// whose it is.
func (c *sidecarCall) otherScope(why string) error {
	var whose []string
	for _, r := range c.table.Routes() {
		if c.needs(c.said.scope, r) {
			whose = append(whose, r.Name)
		}
	}
	remedy := ""
	if len(whose) > 0 {
		remedy = "; it is that of service " + strings.Join(whose, ", ")
	}
	return entra.Errorf(entra.Invalid, opSidecar, "parameter optionsOverride.Scopes: %s is not the scope of service %s, and %s%s", entra.Quote(string(c.said.scope)), entra.Quote(c.name), why, remedy)
}
