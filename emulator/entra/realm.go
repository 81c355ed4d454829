package entraemu

import (
	"cmp"
	"net/http"
	"strings"
)

// userRealm says who signs a user in: Entra (Managed) or their domain's own
// service (Federated). A domain that no tenant has is Unknown.
type userRealm struct {
	Version   string `json:"ver"`
	Account   string `json:"account_type"`
	Domain    string `json:"domain_name,omitempty"`
	Instance  string `json:"cloud_instance_name"`
	Audience  string `json:"cloud_audience_urn"`
	Protocol  string `json:"federation_protocol,omitempty"`
	Metadata  string `json:"federation_metadata_url,omitempty"`
	ActiveURL string `json:"federation_active_auth_url,omitempty"`
}

// realm answers the look-up that precedes a password. It asks nobody to prove
// anything, and tells of a domain, not whether a user is in it.
func (s *Server) realm(w http.ResponseWriter, r *http.Request) {
	f, changed := s.takeFault(RealmEndpoint)
	if s.fail(w, r, f, changed) {
		return
	}
	upn := cmp.Or(r.PathValue("user"), r.URL.Query().Get("user"))
	_, domain, _ := strings.Cut(upn, "@")
	answer := userRealm{Version: "1.0", Account: "Unknown", Instance: "microsoftonline.com", Audience: "urn:federation:MicrosoftOnline"}
	user, known := s.account(upn)
	_, no := s.tenant(domain)
	switch {
	case known && user.Federation != "":
		answer.Account, answer.Protocol, answer.Metadata, answer.ActiveURL = "Federated", "WSTrust", user.Federation, user.Federation
	case no == nil || known:
		answer.Account = "Managed"
	}
	if answer.Account != "Unknown" {
		answer.Domain = domain
	}
	writeJSON(w, http.StatusOK, answer)
}
