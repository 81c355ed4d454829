package entraemu

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"tokenbroker/entra"
)

// refusal is an answer of Entra's that is no: its AADSTS number, its status,
// the RFC 6749 §5.2 error and a text. The numbers are those of "Microsoft
// Entra authentication and authorization error codes",
// learn.microsoft.com/entra/identity-platform/reference-error-codes, and of
// answers that people published; status and error are as in the latter. The
// texts are ours: clients may not depend on Entra's.
type refusal struct {
	number int
	status int
	code   string
	text   string
}

// Error makes a refusal pass through a JWT parser.
func (r *refusal) Error() string { return fmt.Sprintf("AADSTS%d: %s", r.number, r.text) }

// The request, before anybody is believed.

func malformed(why string) *refusal {
	return &refusal{9002313, http.StatusBadRequest, "invalid_request", "The request is malformed: " + why + "."}
}

func duplicated(parameter string) *refusal {
	return &refusal{9000411, http.StatusBadRequest, "invalid_request", fmt.Sprintf("The parameter '%s' stands there twice.", parameter)}
}

func missing(parameter string) *refusal {
	return &refusal{900144, http.StatusBadRequest, "invalid_request", fmt.Sprintf("The request body lacks the parameter '%s'.", parameter)}
}

func postOnly(method string) *refusal {
	return &refusal{900561, http.StatusBadRequest, "invalid_request", fmt.Sprintf("The endpoint takes POST requests only, this was a %s.", method)}
}

func unsupportedGrant(grant string) *refusal {
	return &refusal{70003, http.StatusBadRequest, "unsupported_grant_type", fmt.Sprintf("The grant type '%s' is not supported.", grant)}
}

func noTenantName(name string) *refusal {
	return &refusal{900023, http.StatusBadRequest, "invalid_request", fmt.Sprintf("The tenant identifier '%s' is neither a GUID nor a domain name.", name)}
}

func noTenant(name entra.Tenant) *refusal {
	return &refusal{90002, http.StatusBadRequest, "invalid_tenant", fmt.Sprintf("Tenant '%s' not found. Check the tenant and the cloud.", name)}
}

func unknownInstance(host string) *refusal {
	return &refusal{50049, http.StatusBadRequest, "invalid_instance", fmt.Sprintf("The instance '%s' is unknown.", host)}
}

func malformedDiscovery() *refusal {
	return &refusal{50050, http.StatusBadRequest, "invalid_request", "The discovery request is malformed: authorization_endpoint must be an https URL."}
}

// What is asked for.

func invalidScope(scope string) *refusal {
	return &refusal{70011, http.StatusBadRequest, "invalid_scope", fmt.Sprintf("The scope '%s' is not valid.", scope)}
}

func notDefault(scope string) *refusal {
	return &refusal{1002012, http.StatusBadRequest, "invalid_scope", fmt.Sprintf("The scope '%s' is not valid: client credentials want the resource identifier with /.default at its end.", scope)}
}

func severalResources(scope string) *refusal {
	return &refusal{28000, http.StatusBadRequest, "invalid_scope", fmt.Sprintf("The scope '%s' names more than one resource.", scope)}
}

func noResource(audience string, tenant entra.Tenant) *refusal {
	return &refusal{500011, http.StatusBadRequest, "invalid_resource", fmt.Sprintf("The resource principal '%s' was not found in the tenant '%s'.", audience, tenant)}
}

// Who asks, and the proof.

func noApp(client string, tenant entra.Tenant) *refusal {
	return &refusal{700016, http.StatusBadRequest, "unauthorized_client", fmt.Sprintf("The application '%s' was not found in the directory '%s': nobody consented to it there.", client, tenant)}
}

func disabledApp(client string) *refusal {
	return &refusal{7000112, http.StatusBadRequest, "unauthorized_client", fmt.Sprintf("The application '%s' is disabled.", client)}
}

func noConsent(client string) *refusal {
	return &refusal{65001, http.StatusBadRequest, "invalid_grant", fmt.Sprintf("Neither the user nor an administrator has consented to the application '%s'.", client)}
}

func noCredential() *refusal {
	return &refusal{7000216, http.StatusUnauthorized, "invalid_client", "The grant type 'client_credentials' wants a 'client_secret' or a 'client_assertion'."}
}

func noUserCredential() *refusal {
	return &refusal{7000218, http.StatusUnauthorized, "invalid_client", "The request body lacks a 'client_secret' or a 'client_assertion'."}
}

func wrongSecret(client string) *refusal {
	return &refusal{7000215, http.StatusUnauthorized, "invalid_client", fmt.Sprintf("Invalid client secret for app '%s'. Send the secret's value, not its id.", client)}
}

func expiredSecret(client string) *refusal {
	return &refusal{7000222, http.StatusUnauthorized, "invalid_client", fmt.Sprintf("The client secret of app '%s' has expired.", client)}
}

func malformedAssertion(why string) *refusal {
	return &refusal{50027, http.StatusBadRequest, "invalid_request", "The JWT is malformed: " + why + "."}
}

func otherClient() *refusal {
	return &refusal{700021, http.StatusUnauthorized, "invalid_client", "The issuer of the client assertion is not the 'client_id'."}
}

func otherSubject() *refusal {
	return &refusal{50048, http.StatusUnauthorized, "invalid_client", "The subject of the client assertion is not its issuer."}
}

func otherAudience() *refusal {
	return &refusal{700023, http.StatusUnauthorized, "invalid_client", "The audience of the client assertion is not this realm."}
}

func outOfTime(now, from, until time.Time) *refusal {
	return &refusal{700024, http.StatusUnauthorized, "invalid_client", fmt.Sprintf("The client assertion is not within its time. Now: %s, valid from %s, expires %s.", stamp(now), stamp(from), stamp(until))}
}

func badSignature(why string) *refusal {
	return &refusal{700027, http.StatusUnauthorized, "invalid_client", "The signature of the client assertion is invalid. [Reason - " + why + ".]"}
}

func noFederation(client string) *refusal {
	return &refusal{70025, http.StatusUnauthorized, "invalid_client", fmt.Sprintf("The client '%s' has no federated identity credentials.", client)}
}

func noFederatedIssuer(issuer string) *refusal {
	return &refusal{700211, http.StatusUnauthorized, "invalid_client", fmt.Sprintf("No federated identity record matches the issuer '%s' of the assertion.", issuer)}
}

func noFederatedAudience(audience string) *refusal {
	return &refusal{700212, http.StatusUnauthorized, "invalid_client", fmt.Sprintf("No federated identity record matches the audience '%s' of the assertion.", audience)}
}

func noFederatedSubject(subject string) *refusal {
	return &refusal{700213, http.StatusUnauthorized, "invalid_client", fmt.Sprintf("No federated identity record matches the subject '%s' of the assertion.", subject)}
}

func noFederatedKey(kid, issuer string) *refusal {
	return &refusal{7000272, http.StatusUnauthorized, "invalid_client", fmt.Sprintf("The key '%s' of the federated token is not among those of the identity provider '%s'.", kid, issuer)}
}

// What an administrator is asked to consent to.

func notMultiTenant(client string) *refusal {
	return &refusal{50194, http.StatusBadRequest, "invalid_request", fmt.Sprintf("The application '%s' is not multi-tenant: use the endpoint of its tenant.", client)}
}

func noRedirect(client string) *refusal {
	return &refusal{500113, http.StatusBadRequest, "invalid_request", fmt.Sprintf("No reply address is registered for the application '%s'.", client)}
}

func otherRedirect(uri, client string) *refusal {
	return &refusal{50011, http.StatusBadRequest, "invalid_request", fmt.Sprintf("The redirect URI '%s' is not one of those of the application '%s'.", uri, client)}
}

func notSubscribed(resource string, tenant entra.Tenant) *refusal {
	return &refusal{650052, http.StatusBadRequest, "invalid_client", fmt.Sprintf("The app needs access to the service '%s', which the organisation '%s' has not subscribed to.", resource, tenant)}
}

func declined() *refusal {
	return &refusal{65004, http.StatusBadRequest, "access_denied", "The administrator declined to consent."}
}

// trouble is what goes wrong on Entra's own side.
func trouble(status int) *refusal {
	if status == http.StatusTooManyRequests {
		return &refusal{90055, status, "temporarily_unavailable", "Too many requests."}
	}
	return &refusal{90033, status, "temporarily_unavailable", "The service is unavailable for a moment."}
}

// refuse answers with the refusal in Entra's shape, and counts it.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, no *refusal) {
	s.count(func(stats *Stats) { stats.Refused[no.number]++ })
	trace, correlation, at := w.Header().Get(requestID), correlationID(r), time.Now().UTC().Format("2006-01-02 15:04:05Z")
	writeJSON(w, no.status, struct {
		Error         string `json:"error"`
		Description   string `json:"error_description"`
		Codes         []int  `json:"error_codes"`
		Timestamp     string `json:"timestamp"`
		TraceID       string `json:"trace_id"`
		CorrelationID string `json:"correlation_id"`
		URI           string `json:"error_uri"`
		Suberror      string `json:"suberror,omitempty"`
		Claims        string `json:"claims,omitempty"`
	}{
		Error:         no.code,
		Description:   fmt.Sprintf("%s Trace ID: %s Correlation ID: %s Timestamp: %s", no.Error(), trace, correlation, at),
		Codes:         []int{no.number},
		Timestamp:     at,
		TraceID:       trace,
		CorrelationID: correlation,
		URI:           errorURI(no),
		Suberror:      no.suberror(),
		Claims:        no.claims(),
	})
}

// errorURI is where Entra explains a number.
func errorURI(no *refusal) string {
	return fmt.Sprintf("https://login.microsoftonline.com/error?code=%d", no.number)
}

// correlationID is the one that the client sent, or else a new one.
func correlationID(r *http.Request) string {
	if id := r.Header.Get("client-request-id"); entra.IsGUID(id) {
		return strings.ToLower(id)
	}
	return newGUID()
}

// writeJSON answers in the way of every endpoint of Entra's.
func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // an error here is the client's leaving
}

// stamp writes a time as Entra does in its texts.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.0000000Z") }

// newGUID returns a random GUID (RFC 9562 §5.4).
func newGUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand
	return guid(b)
}

// guid writes 16 bytes as a version 4 GUID.
func guid(b [16]byte) string {
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
