package cli

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tokenbroker/broker"
	"tokenbroker/cache"
	"tokenbroker/config"
	"tokenbroker/defender"
	"tokenbroker/entra"
	"tokenbroker/guard"
	"tokenbroker/proxy"
	"tokenbroker/route"
	"tokenbroker/setup"
)

// app is the broker of one configuration, its sources nested:
//
//	broker (policy) → accounts (whose token) → cache (memory) → mux (by identity) → a flow (MSAL)
//
// Cache and mux are handed on from one configuration to the next.
type app struct {
	cfg       *config.Config
	logger    logger
	catalogue *defender.Catalogue
	table     *route.Table
	policy    *guard.Policy
	cache     *memory
	mux       *broker.Mux
	flows     broker.Flows
	users     map[entra.IdentityID]*user // the identities that somebody signs in to
	source    entra.Source               // the accounts, and what is behind them
	broker    *broker.Broker
	guard     *guard.Guard
	header    *identityHeader    // the key made at the start; nil: none
	shown     []*certificateFile // by listener of callers; nil: it has none from files
	proxy     *proxy.Proxy
	traffic   *traffic
	roots     *roots
	entra     *http.Client                                                         // MSAL's
	people    *http.Client                                                         // MSAL's, for users
	upstreams *http.Transport                                                      // the proxy's
	dial      func(ctx context.Context, network, address string) (net.Conn, error) // nil: the network
	expires   map[string]func() time.Time                                          // when the certificate of an identity ends, by its name
	verify    *verifying
	files     []heldFile // what is read again when it changes
}

// configFlag adds --config.
func configFlag(cmd *cobra.Command, sys System) *string {
	file := cmd.Flags().String("config", sys.Getenv(envConfig), "configuration file (or "+envConfig+"; default: from the AZURE_* variables alone)")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
	return file
}

// settingsOf leaves out the variables that stand for flags of commands: they
// are none of the configuration, which warns of those that it does not know.
func settingsOf(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.Contains([]string{envConfig, envURL, envSocket, envKeyFile}, name)
	})
}

// load reads the configuration and builds the broker from it. What the broker
// has to say while it works goes to log.
func load(sys System, file string, log io.Writer) (*app, error) {
	catalogue, err := defender.Load()
	if err != nil {
		return nil, err
	}
	cfg, err := readConfig(sys, config.Options{Catalogue: catalogue, File: file})
	if err != nil {
		return nil, err
	}
	return build(cfg, surroundings{catalogue: catalogue, logger: newLogger(log, cfg.Log)})
}

// readConfig reads and checks the configuration, with the variables of sys, and
// of a faulty one the files that it names too, so that all that is wrong is said
// at once.
func readConfig(sys System, opts config.Options) (*config.Config, error) {
	opts.Env = settingsOf(sys.Env)
	cfg, err := config.Load(opts)
	if err != nil {
		return cfg, errors.Join(err, fileFaults(cfg))
	}
	return cfg, nil
}

// surroundings are what a broker has beside its configuration.
type surroundings struct {
	catalogue *defender.Catalogue
	logger    logger
	before    *app                                                                 // the broker of the configuration before, of which it keeps what still fits; nil: none
	dial      func(ctx context.Context, network, address string) (net.Conn, error) // nil: the network
	keys      *guard.Keyring                                                       // nil: the configuration's
}

// build nests the sources. It reads every file that the configuration names,
// reports all that is wrong at once, and asks nobody anything yet.
func build(cfg *config.Config, around surroundings) (*app, error) {
	a := &app{cfg: cfg, logger: around.logger, catalogue: around.catalogue, table: cfg.Table, expires: map[string]func() time.Time{}}
	rootsErr := a.connect(around)
	credentials, credentialsErr := a.openCredentials()
	headerErr := a.openHeader(around.before)
	keysErr := a.openKeys(around.keys)
	certificatesErr := a.openCertificates(around.before)
	usersErr := a.openUsers(around.before)
	if err := errors.Join(rootsErr, credentialsErr, usersErr, headerErr, keysErr, certificatesErr); err != nil {
		return nil, err
	}
	a.verify = a.verifier(around.before)
	if err := a.makeFlows(credentials); err != nil {
		return nil, err
	}
	if err := a.remember(around.before); err != nil {
		return nil, err
	}
	a.policy = guard.NewPolicy(guard.PolicyConfig{Table: a.table, HandOut: cfg.Tokens.HandOut, Scopes: cfg.Tokens.Scopes, Callers: policyCallers(cfg)})
	a.source = broker.NewAccounts(a.cache, a.signedIn)
	a.traffic = new(traffic)
	if around.before != nil {
		a.traffic = around.before.traffic
	}
	a.broker = broker.New(a.source, a.policy)
	var err error
	a.proxy, err = proxy.New(proxy.Config{
		Resolve:        a.resolve,
		Permit:         a.permit,
		Source:         a.broker,
		Transport:      a.upstreams,
		Budgets:        &a.traffic.budgets,
		Catalogue:      a.catalogue,
		Hints:          proxy.Hints{Resource: setup.Resource, Consent: a.consent},
		Retiring:       a.traffic.note,
		Redact:         guard.RedactError,
		MaxRequestBody: int64(cfg.Limits.RequestBody),
		Logger:         a.logger.Logger,
	})
	return a, err
}

// connect makes the clients of the authority and of the upstreams, or keeps
// those of before, with their connections.
func (a *app) connect(around surroundings) (err error) {
	limits := a.cfg.Limits
	a.dial = around.dial
	if a.roots, err = readRoots(a.cfg.CAFile); err != nil {
		a.roots = new(roots)
	}
	if old := around.before; old != nil && a.roots.same(old.roots) {
		if a.cfg.Authority == old.cfg.Authority && limits.EntraTimeout == old.cfg.Limits.EntraTimeout {
			a.entra, a.people = old.entra, old.people
		}
		if limits.ResponseHeaderTimeout == old.cfg.Limits.ResponseHeaderTimeout {
			a.upstreams = old.upstreams
		}
	}
	if a.entra == nil {
		client := broker.ClientConfig{Authority: a.cfg.Authority, Roots: a.roots.pool, Timeout: limits.EntraTimeout, DialContext: around.dial}
		a.entra, a.people = broker.NewClient(client), broker.NewUserClient(client)
	}
	if a.upstreams == nil {
		a.upstreams = proxy.NewTransport(proxy.TransportConfig{
			Roots: a.roots.pool, ResponseHeaderTimeout: limits.ResponseHeaderTimeout, DialContext: around.dial,
		})
	}
	return err
}

// makeFlows makes the source of each identity.
func (a *app) makeFlows(credentials map[string]broker.Credential) error {
	a.flows = broker.Flows{}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(a.cfg.Identities)) {
		identity := a.cfg.Identities[name]
		flow, err := a.makeFlow(&identity, credentials[name])
		if err != nil {
			errs = append(errs, atPath("identities."+name, err))
			continue
		}
		a.flows[identity.ID(a.cfg.Authority)] = flow
	}
	return errors.Join(errs...)
}

func (a *app) makeFlow(id *config.Identity, credential broker.Credential) (entra.Source, error) {
	app := broker.App{Authority: a.cfg.Authority, Tenant: id.Tenant, ClientID: id.ClientID, HTTP: a.entra}
	switch c := &id.Credential; c.Kind {
	case config.ManagedIdentity:
		return a.managed(id.Tenant, c.ClientID, c.ObjectID, c.ResourceID)
	case config.Password:
		return a.openPassword(id, app)
	case config.DeviceCode, config.Browser:
		return a.users[id.ID(a.cfg.Authority)].User, nil
	case config.OnBehalfOf:
		return broker.NewOnBehalfOf(app, credential, a.verify.check)
	default:
		return broker.NewConfidential(app, credential)
	}
}

// remember takes the tokens of the broker before, or begins without any.
func (a *app) remember(before *app) (err error) {
	if before != nil {
		a.mux, a.cache = before.mux, before.cache
		return nil
	}
	a.mux = broker.NewMux(a.flows)
	a.cache, err = newMemory(a.mux, cache.Config{Size: a.cfg.Cache.Size, FillTimeout: a.cfg.Limits.EntraTimeout, Logger: a.logger.Logger})
	return err
}

// visible is the table that exists for the caller.
func (a *app) visible(ctx context.Context) *route.Table {
	who, _ := guard.PrincipalOf(ctx)
	return a.policy.Table(who)
}

// resolve resolves a call by what exists for the caller.
func (a *app) resolve(ctx context.Context, target route.Target) (route.Call, error) {
	return a.visible(ctx).Resolve(target)
}

// permit is policy by route, endpoint and method, for the proxy.
func (a *app) permit(ctx context.Context, call *route.Call) error {
	who, _ := guard.PrincipalOf(ctx)
	decision := a.policy.Decide(who, guard.AskOf(call))
	decision.Note(entra.TrailOf(ctx))
	return decision.Err()
}

// warm asks for the tokens of the routes that the configuration names, so that
// the first caller does not wait; of a user's those who are signed in.
func (a *app) warm(ctx context.Context) {
	var requests []entra.Request
	for _, r := range a.table.Routes() {
		if identity, err := a.table.Identity(r.Identity); err != nil || identity.OnBehalfOf || r.Optional {
			continue
		}
		for _, scope := range r.Scopes() {
			if grant, err := a.table.ResolveToken(route.Ask{Scope: scope, Identity: r.Identity}); err == nil && a.warms(ctx, &grant.Request) {
				requests = append(requests, grant.Request)
			}
		}
	}
	a.cache.own.Warm(ctx, requests...)
}

// close lets go of connections and of what runs behind.
func (a *app) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = a.cache.close(ctx)
	a.verify.keys.CloseIdleConnections()
	a.entra.CloseIdleConnections()
	a.people.CloseIdleConnections()
	a.upstreams.CloseIdleConnections()
}
