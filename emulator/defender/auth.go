package defenderemu

import (
	"net"
	"net/http"
	"slices"
	"strings"

	"tokenbroker/defender"
	"tokenbroker/entra"
)

// authorize checks who calls and with which permissions.
func (s *Server) authorize(r *http.Request, e *defender.Endpoint, host *defender.Host) (entra.Claims, error) {
	token, ok := bearer(r.Header)
	if !ok {
		return entra.Claims{}, unauthorized()
	}
	claims, err := s.cfg.Verify(token)
	if err != nil {
		return entra.Claims{}, unauthorized()
	}
	if err := s.checkAudience(&claims, e.API, host); err != nil {
		return entra.Claims{}, err
	}
	if missing := defender.Missing(e, &claims); missing != nil {
		return entra.Claims{}, forbidden(missing, &claims)
	}
	return claims, nil
}

// bearer reads the token of the only Authorization header.
func bearer(h http.Header) (string, bool) {
	values := h.Values("Authorization")
	if len(values) != 1 {
		return "", false
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	return token, ok && token != "" && strings.EqualFold(scheme, "Bearer")
}

// forbidden is the 403 for a token without the permissions.
func forbidden(wanted []string, claims *entra.Claims) *refusal {
	kind := "roles"
	if claims.Delegated() {
		kind = "scopes"
	}
	return refuse(http.StatusForbidden, "Forbidden", "Missing application %s. API required %s: %s, application %s: %s.",
		kind, kind, strings.Join(wanted, ", "), kind, strings.Join(claims.Permissions(), ", "))
}

// misleading is the audience of an application that the portal offers beside
// the right ones. A token for it gets a 403, not a 401
// (github.com/MicrosoftDocs/microsoft-365-docs, issue 9246).
const misleading = "https://userrequestsgraphapi-prd.trafficmanager.net"

// checkAudience refuses a token that is for another API.
func (s *Server) checkAudience(claims *entra.Claims, api defender.API, host *defender.Host) error {
	accepted := s.audiences(api, host)
	for _, audience := range claims.Audience {
		audience = strings.TrimSuffix(strings.ToLower(audience), "/")
		if slices.Contains(accepted, audience) {
			return nil
		}
		if audience == misleading {
			return refuse(http.StatusForbidden, "Forbidden", "The token is for another application.")
		}
	}
	return unauthorized()
}

// audiences lists what a token for an API at a host may be for, in lower case.
// Of the resource applications' several names, those that are documented or
// seen in the field count.
func (s *Server) audiences(api defender.API, host *defender.Host) []string {
	if host == nil {
		host = s.publicHost(api)
	}
	accepted := []string{host.Scope(api).Audience()}
	switch {
	case api == defender.MDE && slices.Contains(host.Clouds, entra.Public):
		return append(accepted, "https://api.securitycenter.microsoft.com", "https://api.securitycenter.windows.com",
			"https://securitycenter.onmicrosoft.com/windowsatpservice", "fc780465-2017-40d4-a0c5-307022471b92")
	case api == defender.MDE && slices.Contains(host.Clouds, entra.GCC):
		return append(accepted, "https://securitycenter.onmicrosoft.com/windowsatpservice")
	case api == defender.MDE:
		return append(accepted, "https://securitycenter.onmicrosoft.us/windowsatpservice")
	case api == defender.XDR && slices.Contains(host.Clouds, entra.Public):
		return append(accepted, "https://security.microsoft.com/mtp", "8ee8fdad-f234-4243-8f3b-15c294843740")
	case api == defender.Graph:
		return append(accepted, "00000003-0000-0000-c000-000000000000")
	}
	return accepted
}

// publicHost is the first host of the public cloud that serves an API: whom a
// request stands for whose Host says nothing.
func (s *Server) publicHost(api defender.API) *defender.Host {
	hosts := s.cfg.Catalogue.Hosts()
	i := slices.IndexFunc(hosts, func(h defender.Host) bool { return h.Scope(api) != "" && slices.Contains(h.Clouds, entra.Public) })
	return &hosts[i] // the catalogue has one for every API
}

// hostName is a Host header without its port.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return host
}
