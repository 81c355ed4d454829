package protocol

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"

	"tokenbroker/entra"
	"tokenbroker/guard"
)

// SidecarKeys is the [guard.KeysOf] of the paths that take a user's token:
// X-Broker-Key alone, since Authorization is the user's there.
func SidecarKeys(r *http.Request) ([]entra.Secret, error) {
	return guard.KeysIn(r.Header, "X-Broker-Key"), nil
}

// nobody is the [authentication] of the paths that act as the service's identity.
func nobody(r *http.Request) (entra.Secret, error) {
	if len(r.Header["Authorization"]) > 0 {
		return entra.Secret{}, entra.Errorf(entra.Invalid, opSidecar, "header Authorization: not read here, where the service's own identity acts; leave it off, or on behalf of a user call the path without Unauthenticated")
	}
	return entra.Secret{}, nil
}

// user is the [authentication] of the paths that act on behalf of a user.
func (s Sidecar) user(r *http.Request) (entra.Secret, error) {
	user, _, err := s.verified(r)
	return user, err
}

// verified returns the user's token and what it says, or why it is not right.
func (s Sidecar) verified(r *http.Request) (entra.Secret, entra.JWT, error) {
	const want = "user token: want one, and one only, as Authorization: Bearer"
	said := r.Header["Authorization"]
	if len(said) != 1 {
		return entra.Secret{}, entra.JWT{}, entra.Errorf(entra.Unadmitted, opSidecar, want)
	}
	scheme, token, _ := strings.Cut(said[0], " ")
	token = strings.Trim(token, " ") // RFC 9110 §11.4: one space or several
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return entra.Secret{}, entra.JWT{}, entra.Errorf(entra.Unadmitted, opSidecar, want)
	}
	user := entra.NewSecret(token)
	jwt, err := s.Verify(r.Context(), user)
	if e := entra.AsError(err); e != nil && (e.Kind == entra.Invalid || e.Kind == entra.Unadmitted) {
		err = unauthorized(e)
	}
	return user, jwt, err
}

const invalidToken = "invalid_token" // RFC 6750 §3.1

// unauthorized is the refusal of a user's token, for the reason that err has.
func unauthorized(err *entra.Error) *entra.Error {
	refusal := entra.Errorf(entra.Unadmitted, opSidecar, "user token: %s", strings.TrimPrefix(strings.TrimPrefix(err.Message(), "user assertion: "), "token: "))
	refusal.Code = invalidToken
	return refusal
}

// sidecarProblem is ASP.NET Core's problem details (RFC 9457), as its
// serializer orders them, with our members behind.
type sidecarProblem struct {
	Type          string `json:"type"`
	Title         string `json:"title"`
	Status        int    `json:"status"`
	Detail        string `json:"detail"`
	Instance      string `json:"instance,omitempty"` // the request id
	Kind          string `json:"kind"`
	Code          string `json:"code,omitempty"`
	AADSTS        int    `json:"aadsts,omitempty"`
	CorrelationID string `json:"correlation_id,omitempty"`
	Claims        string `json:"claims,omitempty"` // what to ask the user's sign-in for
}

// WriteSidecarError writes a failure as the sidecar's API has it. Where the user
// has to meet a claims challenge it says so with 401, as Microsoft's web APIs do:
// "Claims challenges, claims requests, and client capabilities",
// learn.microsoft.com/entra/identity-platform/claims-challenge.
func WriteSidecarError(w http.ResponseWriter, r *http.Request, err *entra.Error) {
	if err = refuse(w, r, err); err == nil {
		return
	}
	status := sidecarStatus(err)
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", sidecarChallenge(err))
	}
	title := http.StatusText(status)
	if status == http.StatusInternalServerError {
		title = "An error occurred while processing your request." // the framework's
	}
	writeRefusal(w, "application/problem+json", status, sidecarProblem{
		Type:          fmt.Sprintf("https://tools.ietf.org/html/rfc9110#section-15.%d.%d", status/100+1, status%100+1),
		Title:         title,
		Status:        status,
		Detail:        err.Message(),
		Instance:      entra.TrailOf(r.Context()).RequestID,
		Kind:          err.Kind.String(),
		Code:          err.Code,
		AADSTS:        err.AADSTS,
		CorrelationID: err.CorrelationID,
		Claims:        err.Claims,
	})
}

// sidecarStatus is this protocol's table: that of all, but for calls, of which it
// tells what became.
func sidecarStatus(err *entra.Error) int {
	switch {
	case err.Kind == entra.Upstream:
		return http.StatusBadGateway
	case err.Kind == entra.Timeout:
		return http.StatusGatewayTimeout
	case challengesUser(err):
		return http.StatusUnauthorized
	}
	return localStatus(err.Kind)
}

// challengesUser reports whether the user whose token was shown has to meet a
// challenge; where somebody signs in to the broker, it is not for the caller.
func challengesUser(err *entra.Error) bool {
	return err.Kind == entra.Challenged && err.Claims != "" && err.Code != "login_required"
}

func sidecarChallenge(err *entra.Error) string {
	switch {
	case challengesUser(err):
		return `Bearer error="insufficient_claims", claims="` + base64.StdEncoding.EncodeToString([]byte(err.Claims)) + `"`
	case err.Code == invalidToken:
		return `Bearer error="` + invalidToken + `"`
	}
	return "Bearer"
}
