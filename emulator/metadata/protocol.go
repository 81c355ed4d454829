package metadataemu

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"tokenbroker/entra"
)

// protocol is what tells the ways to ask for a token apart.
type protocol struct {
	name      string // in Stats
	admit     func(*Server, *http.Request) *refusal
	selectors map[string]func(*Identity) string // the query's names for one identity
	standIn   func([]Identity) *Identity        // who is meant where none is named; nil: nobody
	nobody    func([]Identity) *refusal         // says so
	unknown   *refusal                          // a name that no identity has
	answer    func(*granted) any
	failure   func(*refusal) any
}

// refusal is an answer that is no.
type refusal struct {
	status int
	code   string
	text   string
}

func badRequest(text string) *refusal {
	return &refusal{http.StatusBadRequest, "invalid_request", text}
}

// selectors are the names that both protocols know, in all their spellings.
var selectors = map[string]func(*Identity) string{
	"client_id":    func(i *Identity) string { return i.ClientID },
	"object_id":    func(i *Identity) string { return i.ObjectID },
	"principal_id": func(i *Identity) string { return i.ObjectID },
	"msi_res_id":   func(i *Identity) string { return i.ResourceID },
	"mi_res_id":    func(i *Identity) string { return i.ResourceID },
}

// choose finds the identity that the query names, or the one that is meant. An
// empty name names nobody. One that is unknown is never replaced by another.
func (s *Server) choose(query url.Values, p *protocol) (*Identity, *refusal) {
	var wanted string
	var of func(*Identity) string
	for name, field := range p.selectors {
		if value := query.Get(name); value != "" {
			if of != nil {
				return nil, badRequest("More than one identity is named: name it once")
			}
			wanted, of = value, field
		}
	}
	if of == nil {
		if identity := p.standIn(s.config.Identities); identity != nil {
			return identity, nil
		}
		return nil, p.nobody(s.config.Identities)
	}
	for i := range s.config.Identities {
		if identity := &s.config.Identities[i]; strings.EqualFold(of(identity), wanted) {
			return identity, nil
		}
	}
	return nil, p.unknown
}

// systemAssigned returns the identity that is the machine's own, or nil.
func systemAssigned(identities []Identity) *Identity {
	for i := range identities {
		if identities[i].System {
			return &identities[i]
		}
	}
	return nil
}

// imds is the protocol of virtual machines. See "How to use managed identities
// on a virtual machine to acquire an access token",
// learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token.
var imds = &protocol{
	name: "imds",
	admit: func(_ *Server, r *http.Request) *refusal {
		switch {
		case r.Method != http.MethodGet:
			return &refusal{http.StatusMethodNotAllowed, "method_not_allowed", "The endpoint takes GET requests only"}
		case !strings.EqualFold(r.Header.Get("Metadata"), "true"):
			return badRequest("Required metadata header not specified")
		case r.Header.Get("X-Forwarded-For") != "":
			return badRequest("Requests must not contain an X-Forwarded-For header")
		case r.URL.Query().Get("api-version") != "2018-02-01":
			return badRequest("api-version is invalid or was not specified in the request: want 2018-02-01")
		}
		return nil
	},
	selectors: selectors,
	standIn: func(identities []Identity) *Identity {
		if len(identities) == 1 {
			return &identities[0]
		}
		return systemAssigned(identities)
	},
	nobody: func(identities []Identity) *refusal {
		if len(identities) > 1 {
			return badRequest("Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the token request")
		}
		return badRequest("Identity not found")
	},
	unknown: badRequest("Identity not found"),
	answer: func(g *granted) any {
		seconds := strconv.Itoa(int(time.Until(g.Expires).Round(time.Second) / time.Second))
		return struct {
			Access       string `json:"access_token"`
			Client       string `json:"client_id"`
			ExpiresIn    string `json:"expires_in"`
			ExpiresOn    string `json:"expires_on"`
			ExtExpiresIn string `json:"ext_expires_in"`
			NotBefore    string `json:"not_before"`
			Resource     string `json:"resource"`
			Type         string `json:"token_type"`
		}{g.Access, g.identity.ClientID, seconds, epoch(g.Expires), seconds, epoch(g.NotBefore), g.resource, "Bearer"}
	},
	failure: func(no *refusal) any {
		return struct {
			Error       string `json:"error"`
			Description string `json:"error_description"`
		}{no.code, no.text}
	},
}

// appService returns the protocol of App Service in a version, the newest
// where it has not that one. See "How to use managed identities for App Service
// and Azure Functions", learn.microsoft.com/azure/app-service/overview-managed-identity.
func appService(version string) *protocol {
	p := &protocol{
		name:      "app_service",
		admit:     appServiceAdmits("X-IDENTITY-HEADER"),
		selectors: selectors,
		standIn:   systemAssigned,
		nobody:    func([]Identity) *refusal { return badRequest("Unable to load the proper Managed Identity.") },
		unknown:   badRequest("No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId."),
		answer:    appServiceAnswers,
		failure: func(no *refusal) any {
			return struct {
				Status  int    `json:"statusCode"`
				Message string `json:"message"`
			}{no.status, no.text}
		},
	}
	if version == "2017-09-01" {
		p.name = "app_service_2017"
		p.admit = appServiceAdmits("secret")
		p.selectors = map[string]func(*Identity) string{"clientid": selectors["client_id"]}
	}
	return p
}

// appServiceAdmits wants the shared secret in a header. Where there is none,
// nothing equals it.
func appServiceAdmits(header string) func(*Server, *http.Request) *refusal {
	return func(s *Server, r *http.Request) *refusal {
		version := r.URL.Query().Get("api-version")
		switch {
		case r.Method != http.MethodGet:
			return &refusal{http.StatusMethodNotAllowed, "method_not_allowed", "The endpoint takes GET requests only"}
		case !s.config.Header.Equal(entra.NewSecret(r.Header.Get(header))):
			return &refusal{http.StatusUnauthorized, "unauthorized", "The header " + header + " is missing or wrong."}
		case version != "2019-08-01" && version != "2017-09-01":
			return badRequest("The API version is missing or not supported.")
		}
		return nil
	}
}

// appServiceAnswers leaves out what only IMDS has: expires_in among it.
func appServiceAnswers(g *granted) any {
	return struct {
		Access    string `json:"access_token"`
		ExpiresOn string `json:"expires_on"`
		Resource  string `json:"resource"`
		Type      string `json:"token_type"`
		Client    string `json:"client_id"`
	}{g.Access, epoch(g.Expires), g.resource, "Bearer", g.identity.ClientID}
}

func epoch(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }
