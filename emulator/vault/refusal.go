package vaultemu

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
)

// refusal is an answer that is no. Codes and statuses are those of "Azure Key
// Vault REST API Error Codes", learn.microsoft.com/azure/key-vault/general/rest-error-codes,
// and of answers that people published; clients may depend on both.
type refusal struct {
	status int
	code   string
	inner  string // the code of the inner error; empty: there is none
	text   string
}

func unauthorized(text string) *refusal {
	return &refusal{status: http.StatusUnauthorized, code: "Unauthorized", text: text}
}

func forbidden(inner, text string) *refusal {
	return &refusal{status: http.StatusForbidden, code: "Forbidden", inner: inner, text: text}
}

func badParameter(format string, args ...any) *refusal {
	return &refusal{status: http.StatusBadRequest, code: "BadParameter", text: fmt.Sprintf(format, args...)}
}

func badVersion(api string) *refusal {
	if api == "" {
		return badParameter("api-version must be specified")
	}
	return badParameter("The specified version (%s) is not recognized.", api)
}

// notFound says that there is no such thing, or is none any more.
func notFound(c Collection, name, version string) *refusal {
	if version != "" {
		name += "/" + version
	}
	return &refusal{
		status: http.StatusNotFound, code: c.one() + "NotFound",
		text: fmt.Sprintf("A %s with (name/id) %s was not found in this key vault. If you recently deleted this %[1]s you may be able to recover it using the correct recovery command.", c.noun(), name),
	}
}

// trouble is what goes wrong on the vault's own side, or before its door.
func trouble(status int, inner string) *refusal {
	no := &refusal{status: status, code: "InternalServerError", inner: inner, text: "The service is unavailable for a moment."}
	switch status {
	case http.StatusUnauthorized:
		return unauthorized("Error validating token: it was revoked.")
	case http.StatusForbidden:
		no.code, no.text = "Forbidden", "The request is not authorized by the vault's "+inner+"."
	case http.StatusTooManyRequests:
		no.code, no.text = "Throttled", "Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached"
	case http.StatusServiceUnavailable:
		no.code = "ServiceUnavailable"
	}
	return no
}

// challenge says where to get which token (RFC 6750 §3), in the parameters and
// the order that Key Vault has had since before the RFC's were usual.
func (s *Server) challenge() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faults.Challenge != "" {
		return s.faults.Challenge
	}
	return fmt.Sprintf(`Bearer authorization="https://%s/%s", resource="%s"`, s.config.Login, s.config.Tenant, s.config.Resource)
}

// refuse answers with the refusal in the vault's shape, and counts it.
func (s *Server) refuse(w http.ResponseWriter, no *refusal) {
	type inner struct {
		Code string `json:"code"`
	}
	var body struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
			Inner   *inner `json:"innererror,omitempty"`
		} `json:"error"`
	}
	body.Error.Code, body.Error.Message = no.code, no.text
	name := no.code
	if no.inner != "" {
		body.Error.Inner, name = &inner{no.inner}, no.inner
	}
	s.count(func(stats *Stats) { stats.Refused[name]++ })
	if no.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", s.challenge())
	}
	writeJSON(w, no.status, body)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // an error here is the client's leaving
}

// newGUID returns a random GUID (RFC 9562 §5.4).
func newGUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// newVersion returns the name of a version: 32 hexadecimal digits.
func newVersion() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand
	return hex.EncodeToString(b[:])
}
