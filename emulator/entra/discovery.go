package entraemu

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"tokenbroker/entra"
)

// instanceMetadata is what instance discovery says about one cloud.
type instanceMetadata struct {
	Network string   `json:"preferred_network"`
	Cache   string   `json:"preferred_cache"`
	Aliases []string `json:"aliases"`
}

// instances returns the clouds, and the host itself where it is none of them.
func instances(host string) []instanceMetadata {
	clouds := []instanceMetadata{
		{"login.microsoftonline.com", "login.windows.net", []string{"login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net"}},
		{"login.partner.microsoftonline.cn", "login.partner.microsoftonline.cn", []string{"login.partner.microsoftonline.cn", "login.chinacloudapi.cn"}},
		{"login.microsoftonline.us", "login.microsoftonline.us", []string{"login.microsoftonline.us", "login.usgovcloudapi.net"}},
	}
	if slices.ContainsFunc(clouds, func(m instanceMetadata) bool { return slices.Contains(m.Aliases, host) }) {
		return clouds
	}
	return append(clouds, instanceMetadata{host, host, []string{host}})
}

// discovery counts, lets faults happen, and then answers.
func (s *Server) discovery(next func(http.ResponseWriter, *http.Request, Faults)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.count(func(stats *Stats) { stats.Discovery++ })
		f, changed := s.takeFault(DiscoveryEndpoint)
		if !s.fail(w, r, f, changed) {
			next(w, r, f)
		}
	}
}

// instance says where an authority's tenant is described. The answer names the
// authority asked about: a client files its tokens under that.
func (s *Server) instance(w http.ResponseWriter, r *http.Request, _ Faults) {
	asked, err := url.Parse(r.URL.Query().Get("authorization_endpoint"))
	if err != nil || asked.Scheme != "https" || asked.Host == "" {
		s.refuse(w, r, malformedDiscovery())
		return
	}
	metadata := instances(r.Host)
	if !slices.ContainsFunc(metadata, func(m instanceMetadata) bool { return slices.Contains(m.Aliases, asked.Host) }) {
		s.refuse(w, r, unknownInstance(asked.Host))
		return
	}
	tenant, rest, _ := strings.Cut(strings.TrimPrefix(asked.Path, "/"), "/")
	description := "/.well-known/openid-configuration"
	if strings.Contains(rest, "v2.0") {
		description = "/v2.0" + description
	}
	writeJSON(w, http.StatusOK, struct {
		Endpoint string             `json:"tenant_discovery_endpoint"`
		Version  string             `json:"api-version"`
		Metadata []instanceMetadata `json:"metadata"`
	}{"https://" + asked.Host + "/" + url.PathEscape(tenant) + description, "1.1", metadata})
}

// openID describes a tenant. Whatever name it was asked by, the addresses hold
// its GUID, as the real ones do; those of no tenant in particular hold the name.
func (s *Server) openID(v version) func(http.ResponseWriter, *http.Request, Faults) {
	return func(w http.ResponseWriter, r *http.Request, f Faults) {
		tenant, no := s.tenantOrAny(r.PathValue("tenant"))
		if no != nil {
			s.refuse(w, r, no)
			return
		}
		name, id := r.PathValue("tenant"), entra.Tenant("{tenantid}")
		if tenant != nil {
			name, id = string(tenant.ID), tenant.ID
		}
		base := "https://" + r.Host + "/" + name
		issuer := v2IssuerOf(r.Host, id)
		if v == v1 {
			issuer = issuerOf(id)
		}
		endpoint := f.TokenEndpoint
		if endpoint == "" {
			endpoint = base + v.tokenPath
		}
		writeJSON(w, http.StatusOK, map[string]any{
			"issuer":                                issuer,
			"token_endpoint":                        endpoint,
			"authorization_endpoint":                base + strings.Replace(v.tokenPath, "token", "authorize", 1),
			"device_authorization_endpoint":         base + "/oauth2/v2.0/devicecode",
			"end_session_endpoint":                  base + "/oauth2/v2.0/logout",
			"response_modes_supported":              []string{"query", "fragment", "form_post"},
			"scopes_supported":                      openIDScopes,
			"jwks_uri":                              base + v.keysPath,
			"token_endpoint_auth_methods_supported": []string{"client_secret_post", "private_key_jwt", "client_secret_basic"},
			"response_types_supported":              []string{"code"},
			"subject_types_supported":               []string{"pairwise"},
			"id_token_signing_alg_values_supported": []string{"RS256"},
			"cloud_instance_name":                   "microsoftonline.com",
			"tenant_region_scope":                   "EU",
		})
	}
}

// keys publishes the keys that tokens are signed with (RFC 7517 §5).
func (s *Server) keys(w http.ResponseWriter, _ *http.Request, _ Faults) {
	keys := []any{}
	for _, key := range s.published() {
		keys = append(keys, key.jwk())
	}
	writeJSON(w, http.StatusOK, map[string]any{"keys": keys})
}

// issuerOf is the issuer in the tokens of a tenant.
func issuerOf(tenant entra.Tenant) string { return "https://sts.windows.net/" + string(tenant) + "/" }

// v2IssuerOf is the issuer in a tenant's tokens of version 2.
func v2IssuerOf(host string, tenant entra.Tenant) string {
	return "https://" + host + "/" + string(tenant) + "/v2.0"
}
