package cli

import (
	"net/http"
	"slices"
	"strings"

	"tokenbroker/config"
	"tokenbroker/entra"
	"tokenbroker/guard"
	"tokenbroker/protocol"
	"tokenbroker/proxy"
	"tokenbroker/server"
)

// mounts are the paths of a callers' listener.
func (a *app) mounts(srv *server.Server) []server.Mount {
	healthz := server.Mount{Name: "healthz", Path: "/healthz", Methods: []string{http.MethodGet}, Handler: srv.Healthz(), WriteError: server.WriteProblem, Open: true}
	mounts := slices.Concat(a.nativeMounts(srv), a.identityMounts(), a.metadataMounts(), a.sidecarMounts(), a.oauthMounts(), []server.Mount{healthz})
	return append(mounts, a.openAPIMount(mounts))
}

// openAPIMount is the description of what else is served. Protocols that are off
// are left out: their mounts only say so.
func (a *app) openAPIMount(mounts []server.Mount) server.Mount {
	on := a.cfg.Protocols
	off := map[string]bool{"app-service": !on.AppService, "cloud-shell": !on.CloudShell, "imds": !on.IMDS, "sidecar": !on.EntraSidecar.On, "oauth": !on.OAuth}
	own := server.Mount{Name: "openapi", Path: "/openapi.json", Methods: []string{http.MethodGet}, Keys: guard.HeaderKeys, WriteError: server.WriteProblem}
	served := []protocol.Served{{Path: own.Path, Methods: own.Methods}}
	for _, m := range mounts {
		if !off[m.Name] {
			served = append(served, protocol.Served{Path: m.Path, Methods: m.Methods})
		}
	}
	own.Handler = protocol.NewOpenAPI(versionText(), served)
	return own
}

// tokens is where the protocols have their tokens from.
func (a *app) tokens() protocol.Tokens { return protocol.Tokens{Table: a.visible, Source: a.broker} }

func (a *app) nativeMounts(srv *server.Server) []server.Mount {
	native := protocol.Native{Tokens: a.tokens(), WriteError: server.WriteProblem}
	own := func(name, path string, handler http.HandlerFunc, methods ...string) server.Mount {
		return server.Mount{Name: name, Path: path, Methods: methods, Handler: handler, Keys: guard.HeaderKeys, WriteError: server.WriteProblem}
	}
	audited := func(m server.Mount) server.Mount {
		m.Audited = true
		return m
	}
	return []server.Mount{
		{Name: "proxy", Path: "/proxy/*", Handler: a.proxy, Keys: guard.HeaderKeys, WriteError: proxy.WriteError, Audited: true},
		audited(own("token", "/token", native.Token, http.MethodGet, http.MethodPost)),
		own("introspect", "/introspect", protocol.Introspection{Held: a.cache.holds, Verify: a.verify.inspect, WriteError: server.WriteProblem}.ServeHTTP, http.MethodPost),
		own("claims", "/claims", native.Claims, http.MethodGet),
		own("routes", "/routes", native.Routes, http.MethodGet),
		audited(own("login", "/login", a.login(srv.Draining()), http.MethodPost)),
		audited(own("login-answer", "/login/answer", a.loginAnswer, http.MethodPost)),
		audited(own("logout", "/logout", a.logout, http.MethodPost)),
		audited(own("whoami", "/whoami", a.whoami, http.MethodGet)),
	}
}

// identityMounts are the protocols of managed identities but that of virtual
// machines. App Service comes first: it refuses the methods of nobody.
func (a *app) identityMounts() []server.Mount {
	on, write := a.cfg.Protocols, protocol.WriteAppServiceError
	app := a.keyed(server.Mount{
		Name: "app-service", Path: "/msi/token", Methods: []string{http.MethodGet}, Handler: http.HandlerFunc(protocol.AppService{Tokens: a.tokens()}.Token),
		Keys: protocol.AppServiceKeys, WriteError: write, Audited: true,
	})
	mounts := []server.Mount{onlyIf(on.AppService, "protocols.app_service", app)}
	for _, path := range []string{"/msi/token", "/oauth2/token"} {
		mounts = append(mounts, onlyIf(on.CloudShell, "protocols.cloud_shell", server.Mount{
			Name: "cloud-shell", Path: path, Methods: []string{http.MethodPost}, Handler: http.HandlerFunc(protocol.CloudShell{Tokens: a.tokens()}.Token),
			WriteError: write, Audited: true,
		}))
	}
	return mounts
}

// metadataMounts are the metadata service of virtual machines, at the path that
// is documented and as its clients misspell it.
func (a *app) metadataMounts() []server.Mount {
	const path = "/metadata/identity/oauth2/token"
	var mounts []server.Mount
	for _, path := range []string{path, path + "/", "/" + path, "/" + path + "/"} {
		mounts = append(mounts, onlyIf(a.cfg.Protocols.IMDS, "protocols.imds", server.Mount{
			Name: "imds", Path: path, Methods: []string{http.MethodGet}, Handler: http.HandlerFunc(protocol.IMDS{Tokens: a.tokens()}.Token),
			WriteError: protocol.WriteIMDSError, Audited: true,
		}))
	}
	return mounts
}

// sidecarMounts are the API of Microsoft's own sidecar. Its paths are known in
// any letter case there, and here in the two that occur.
func (a *app) sidecarMounts() []server.Mount {
	on := a.cfg.Protocols.EntraSidecar
	sidecar := protocol.Sidecar{Tokens: a.tokens(), Default: a.cfg.DefaultRoute, Overrides: on.Overrides, Verify: a.verify.user, Downstream: a.proxy}
	var mounts []server.Mount
	for _, m := range []struct {
		path    string
		handler http.HandlerFunc
		keys    guard.KeysOf
	}{
		{"/AuthorizationHeader/:service", sidecar.AuthorizationHeader, protocol.SidecarKeys},
		{"/AuthorizationHeaderUnauthenticated/:service", sidecar.AuthorizationHeaderUnauthenticated, nil},
		{"/DownstreamApi/:service", sidecar.DownstreamAPI, protocol.SidecarKeys},
		{"/DownstreamApiUnauthenticated/:service", sidecar.DownstreamAPIUnauthenticated, nil},
		{"/Validate", sidecar.Validate, protocol.SidecarKeys},
	} {
		for _, path := range []string{m.path, strings.ToLower(m.path)} {
			mounts = append(mounts, onlyIf(on.On, "protocols.entra_sidecar", server.Mount{
				Name: "sidecar", Path: path, Methods: []string{http.MethodGet, http.MethodPost}, Handler: m.handler,
				Keys: m.keys, WriteError: protocol.WriteSidecarError, Audited: true,
			}))
		}
	}
	return mounts
}

// oauthMounts are the token endpoint of Entra, and what its clients look up
// before they ask. There is nothing in that to be kept from anybody.
func (a *app) oauthMounts() []server.Mount {
	oauth, write := protocol.OAuth{Tokens: a.tokens()}, protocol.WriteOAuthError
	var mounts []server.Mount
	for _, m := range []struct {
		path    string
		handler http.HandlerFunc
	}{
		{"/:tenant/oauth2/v2.0/token", oauth.TokenV2},
		{"/:tenant/oauth2/token", oauth.TokenV1},
		{"/adfs/oauth2/token", oauth.TokenADFS},
		{"/adfs/oauth2/v2.0/token", oauth.TokenADFS},
	} {
		mounts = append(mounts, server.Mount{
			Name: "oauth", Path: m.path, Methods: []string{http.MethodPost}, Handler: m.handler, Keys: protocol.OAuthKeys, WriteError: write, Audited: true,
		})
	}
	for path, handler := range map[string]http.HandlerFunc{
		"/:tenant/v2.0/.well-known/openid-configuration": protocol.Discover,
		"/adfs/.well-known/openid-configuration":         protocol.DiscoverADFS,
	} {
		mounts = append(mounts, server.Mount{Name: "oauth", Path: path, Methods: []string{http.MethodGet}, Handler: handler, WriteError: write, Open: true})
	}
	for i := range mounts {
		mounts[i] = onlyIf(a.cfg.Protocols.OAuth, "protocols.oauth", mounts[i])
	}
	return mounts
}

// onlyIf is the mount of a protocol, or where that is off one that says so, in
// the protocol's own shape: its clients take a 404 for a reason to try again.
func onlyIf(on bool, setting string, m server.Mount) server.Mount {
	if !on {
		write := m.WriteError
		m.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			write(w, r, entra.Errorf(entra.Denied, "cli.protocol", "this protocol is off here; set %s to turn it on", setting))
		})
	}
	return m
}

// routeGuard is the guard of a listener that stands for a route.
func (a *app) routeGuard(at *config.Listener) *guard.Guard {
	if host := impersonated(a.cfg, at); host != "" {
		return a.guard.Named(host)
	}
	return a.guard
}

// routeMount is the one mount of a listener that stands for a route. Whoever may
// not have the route does not learn its name there.
func (a *app) routeMount(name string) server.Mount {
	calls := a.proxy.ForRoute(name)
	handler := func(w http.ResponseWriter, r *http.Request) {
		if _, err := a.visible(r.Context()).Route(name); entra.KindOf(err) == entra.NotFound {
			proxy.WriteError(w, r, entra.Errorf(entra.NotFound, "cli.route", "route of this listener: not open to this caller; it takes an entry in the caller's routes"))
			return
		}
		calls.ServeHTTP(w, r)
	}
	return server.Mount{Name: "proxy", Path: "/*", Handler: http.HandlerFunc(handler), Keys: guard.HeaderKeys, WriteError: proxy.WriteError, Audited: true}
}
