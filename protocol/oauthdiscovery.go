package protocol

import (
	"encoding/json"
	"net/http"

	"tokenbroker/entra"
)

// discovery is what clients need of OpenID Connect Discovery 1.0 §3 to find the
// token endpoint. Nothing is served at the other two, which MSAL demands.
type discovery struct {
	Issuer        string `json:"issuer"`
	Authorization string `json:"authorization_endpoint"`
	Token         string `json:"token_endpoint"`
	Keys          string `json:"jwks_uri"`
}

// DiscoverADFS answers GET /adfs/.well-known/openid-configuration. It says no
// more than the caller has said, and needs no key: SDKs send none with it.
func DiscoverADFS(w http.ResponseWriter, r *http.Request) {
	if err := needsTLS(r); err != nil {
		WriteOAuthError(w, r, entra.AsError(err))
		return
	}
	at := "https://" + r.Host + "/adfs"
	discovery{at, at + "/oauth2/authorize", at + "/oauth2/token", at + "/discovery/keys"}.write(w)
}

// Discover answers GET /{tenant}/v2.0/.well-known/openid-configuration, likewise.
func Discover(w http.ResponseWriter, r *http.Request) {
	tenant, err := tenantOf(r)
	if err != nil {
		WriteOAuthError(w, r, entra.AsError(err))
		return
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	at := scheme + "://" + r.Host + "/" + string(tenant)
	discovery{at + "/v2.0", at + "/oauth2/v2.0/authorize", at + "/oauth2/v2.0/token", at + "/discovery/v2.0/keys"}.write(w)
}

func (d discovery) write(w http.ResponseWriter) {
	body, _ := json.Marshal(d) // strings alone: it cannot fail
	writeAnswer(w, "application/json", append(body, '\n'))
}

// needsTLS refuses /adfs over plain http, where no SDK would ask for it.
func needsTLS(r *http.Request) error {
	if r.TLS != nil {
		return nil
	}
	return oauthRefusal(invalidRequest, "tenant adfs: served over TLS alone; call a listener that has it (listen.callers[].tls), or /{tenant}/oauth2/v2.0/token")
}
