package vaultemu

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"tokenbroker/entra"
)

// supported reports whether there is such an api-version: by number up to 2025,
// by date before and since.
func supported(api string) bool {
	api, _, _ = strings.Cut(api, "-preview")
	if minor, ok := strings.CutPrefix(api, "7."); ok {
		return len(minor) == 1 && '0' <= minor[0] && minor[0] <= '9'
	}
	_, err := time.Parse(time.DateOnly, api)
	return err == nil
}

// authenticate checks the token of a request: from Entra, of the vault's
// tenant, for a vault. An audience with a slash at its end is another one.
func (s *Server) authenticate(r *http.Request) (entra.Claims, *refusal) {
	token, ok := bearer(r.Header)
	if !ok {
		return entra.Claims{}, unauthorized("AKV10000: Request is missing a Bearer or PoP token.")
	}
	claims, err := s.config.Verify(token)
	if err != nil {
		return entra.Claims{}, unauthorized("Error validating token: it was not signed by the authority, or is not within its time.")
	}
	if own := issuerOf(string(s.config.Tenant)); !strings.EqualFold(claims.Issuer, own) {
		return entra.Claims{}, unauthorized("AKV10032: Invalid issuer. Expected one of " + own + ", found " + claims.Issuer + ".")
	}
	if !slices.Contains(claims.Audience, s.config.Resource) && !slices.Contains(claims.Audience, appID) {
		return entra.Claims{}, unauthorized("AKV10022: Invalid audience. Expected " + s.config.Resource + ", found: " + strings.Join(claims.Audience, ", ") + ".")
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

// authorize asks the access policies.
func (s *Server) authorize(c *call, claims *entra.Claims) *refusal {
	s.mu.Lock()
	policies := s.policies
	s.mu.Unlock()
	for _, name := range []string{claims.Client(), claims.Object} {
		if slices.Contains(policies[strings.ToLower(name)], c.operation) {
			return nil
		}
	}
	permission := permissions[c.operation]
	vault, _, _ := strings.Cut(c.host, ".")
	return forbidden("AccessDenied", "The user, group or application 'appid="+claims.Client()+";oid="+claims.Object+";iss="+claims.Issuer+
		"' does not have "+permission.kind+" "+permission.verb+" permission on key vault '"+vault+";location=westeurope'.")
}

// issuerOf is the issuer in the tokens of a tenant.
func issuerOf(tenant string) string { return "https://sts.windows.net/" + tenant + "/" }
