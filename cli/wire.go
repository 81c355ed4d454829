package cli

import (
	"context"
	"errors"
	"io"
	"log/slog"
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
	"tokenbroker/protocol"
	"tokenbroker/proxy"
	"tokenbroker/route"
	"tokenbroker/server"
)

// app is the broker of one configuration, its sources nested:
//
//	broker (policy) → cache (memory) → mux (by identity) → a flow (MSAL)
type app struct {
	cfg       *config.Config
	logger    *slog.Logger
	catalogue *defender.Catalogue
	table     *route.Table
	policy    *guard.Policy
	cache     *cache.Cache
	broker    *broker.Broker
	guard     *guard.Guard
	proxy     *proxy.Proxy
	entra     *http.Client    // MSAL's
	upstreams *http.Transport // the proxy's
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
	cfg, err := config.Load(config.Options{Catalogue: catalogue, File: file, Env: settingsOf(sys.Env)})
	if err != nil {
		return nil, errors.Join(err, fileFaults(cfg))
	}
	return build(cfg, catalogue, newLogger(log, cfg.Log), surroundings{})
}

// surroundings replace what a broker otherwise has from the system and from
// its configuration. The zero value replaces nothing.
type surroundings struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)
	keys func() []entra.Secret // the caller keys
}

// build nests the sources. It reads every file that the configuration names,
// reports all that is wrong at once, and asks nobody anything yet.
func build(cfg *config.Config, catalogue *defender.Catalogue, logger *slog.Logger, around surroundings) (*app, error) {
	a := &app{cfg: cfg, logger: logger, catalogue: catalogue, table: cfg.Table}
	roots, rootsErr := readRoots(cfg.CAFile)
	a.entra = broker.NewClient(broker.ClientConfig{
		Authority: cfg.Authority, Roots: roots, Timeout: cfg.Limits.EntraTimeout, DialContext: around.dial,
	})
	flows, flowsErr := a.flows()
	keys, keysErr := around.keys, error(nil)
	if keys == nil {
		keys, keysErr = callerKeys(cfg, logger)
	}
	if err := errors.Join(rootsErr, flowsErr, keysErr); err != nil {
		return nil, err
	}
	var err error
	if a.cache, err = cache.New(flows, cache.Config{Size: cfg.Cache.Size, FillTimeout: cfg.Limits.EntraTimeout, Logger: logger}); err != nil {
		return nil, err
	}
	a.policy = &guard.Policy{Table: a.table, HandOut: cfg.Tokens.HandOut, Scopes: cfg.Tokens.Scopes}
	a.broker = broker.New(a.cache, a.policy)
	a.guard = guard.New(guard.Config{Keys: keys, Hosts: listenerHosts(cfg)})
	a.upstreams = proxy.NewTransport(proxy.TransportConfig{
		Roots: roots, ResponseHeaderTimeout: cfg.Limits.ResponseHeaderTimeout, DialContext: around.dial,
	})
	a.proxy, err = proxy.New(proxy.Config{
		Resolve:        a.table.Resolve,
		Permit:         a.permit,
		Source:         a.broker,
		Transport:      a.upstreams,
		MaxRequestBody: int64(cfg.Limits.RequestBody),
		Logger:         logger,
	})
	return a, err
}

// permit is policy by route, endpoint and method, for the proxy.
func (a *app) permit(ctx context.Context, call *route.Call) error {
	who, _ := guard.PrincipalOf(ctx)
	decision := a.policy.Permit(who, call)
	entra.TrailOf(ctx).Rule = decision.Rule
	return decision.Err()
}

// flows makes the source of each identity.
func (a *app) flows() (broker.Mux, error) {
	mux := broker.Mux{}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(a.cfg.Identities)) {
		identity := a.cfg.Identities[name]
		newFlow, err := openCredential(name, identity.Credential, a.logger)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		flow, err := newFlow(broker.App{Authority: a.cfg.Authority, Tenant: identity.Tenant, ClientID: identity.ClientID, HTTP: a.entra})
		if err != nil {
			errs = append(errs, atPath("identities."+name, err))
			continue
		}
		mux[identity.ID(a.cfg.Authority)] = flow
	}
	return mux, errors.Join(errs...)
}

// listenerHosts are the names that the listeners go by in a Host header.
func listenerHosts(cfg *config.Config) []string {
	var hosts []string
	for _, l := range cfg.Listen.Callers {
		if host := l.Address.Host; host != "" {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// warm asks for the tokens of the routes that the configuration names, so that
// the first caller does not wait.
func (a *app) warm(ctx context.Context) {
	var requests []entra.Request
	for _, r := range a.table.Routes() {
		if r.Optional {
			continue
		}
		for _, scope := range r.Scopes() {
			if grant, err := a.table.ResolveToken(route.Ask{Scope: scope, Identity: r.Identity}); err == nil {
				requests = append(requests, grant.Request)
			}
		}
	}
	a.cache.Warm(ctx, requests...)
}

// mounts are the paths of a callers' listener.
func (a *app) mounts(srv *server.Server) []server.Mount {
	native := protocol.Native{Table: a.table, Source: a.broker, WriteError: server.WriteProblem}
	own := func(name, path string, handler http.HandlerFunc, methods ...string) server.Mount {
		return server.Mount{Name: name, Path: path, Methods: methods, Handler: handler, Keys: guard.HeaderKeys, WriteError: server.WriteProblem}
	}
	return []server.Mount{
		{Name: "proxy", Path: "/proxy/*", Handler: a.proxy, Keys: guard.HeaderKeys, WriteError: proxy.WriteError},
		own("token", "/token", native.Token, http.MethodGet, http.MethodPost),
		own("claims", "/claims", native.Claims, http.MethodGet),
		own("routes", "/routes", native.Routes, http.MethodGet),
		{Name: "healthz", Path: "/healthz", Methods: []string{http.MethodGet}, Handler: srv.Healthz(), WriteError: server.WriteProblem, Open: true},
	}
}

// routeMount is the one mount of a listener that stands for a route.
func (a *app) routeMount(name string) server.Mount {
	return server.Mount{Name: "proxy", Path: "/*", Handler: a.proxy.ForRoute(name), Keys: guard.HeaderKeys, WriteError: proxy.WriteError}
}

// close lets go of connections and of what runs behind.
func (a *app) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = a.cache.Close(ctx)
	a.entra.CloseIdleConnections()
	a.upstreams.CloseIdleConnections()
}
