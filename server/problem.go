package server

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"tokenbroker/entra"
	"tokenbroker/guard"
)

// opMethod is the place of the refusal of a method, which has a status of its own.
const opMethod = "server.method"

// problemStatus is the native mounts' table from kinds to statuses.
func problemStatus(err *entra.Error) int {
	switch err.Kind {
	case entra.Invalid:
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return http.StatusRequestEntityTooLarge
		}
		if err.Op == opMethod {
			return http.StatusMethodNotAllowed
		}
		return http.StatusBadRequest
	case entra.Unadmitted:
		return http.StatusUnauthorized
	case entra.Denied, entra.Challenged:
		return http.StatusForbidden
	case entra.NotFound:
		return http.StatusNotFound
	case entra.Exhausted:
		return http.StatusTooManyRequests // RFC 6585 §4
	case entra.Throttled, entra.Unavailable:
		return http.StatusServiceUnavailable
	case entra.Upstream:
		return http.StatusBadGateway
	case entra.Timeout:
		return http.StatusGatewayTimeout
	default: // Internal, Misconfigured
		return http.StatusInternalServerError
	}
}

// problem is RFC 9457's problem details, with our members after the standard ones.
type problem struct {
	Title         string `json:"title"`
	Status        int    `json:"status"`
	Detail        string `json:"detail"`
	Instance      string `json:"instance,omitempty"` // the request id
	Kind          string `json:"kind"`
	Code          string `json:"code,omitempty"`
	AADSTS        int    `json:"aadsts,omitempty"`
	CorrelationID string `json:"correlation_id,omitempty"`
	Claims        string `json:"claims,omitempty"` // what to ask the user's sign-in for, as MSAL's WithClaims takes it
}

// WriteProblem writes a failure as application/problem+json (RFC 9457), the
// shape of the broker's own paths, and notes it in the request's trail. A caller
// key in its text is kept out. A caller that left is written nothing.
func WriteProblem(w http.ResponseWriter, r *http.Request, err *entra.Error) {
	if err.Kind == entra.Canceled {
		entra.TrailOf(r.Context()).Failure = err
		return
	}
	writeProblem(w, r, problemStatus(err), err)
}

// Problem is what [WriteProblem] would write, for an answer that has begun. It
// notes the failure in the request's trail.
func Problem(r *http.Request, err *entra.Error) any { return newProblem(r, problemStatus(err), err) }

func newProblem(r *http.Request, status int, err *entra.Error) problem {
	err = guard.RedactError(r.Context(), err)
	trail := entra.TrailOf(r.Context())
	trail.Failure = err
	return problem{
		Title:         http.StatusText(status),
		Status:        status,
		Detail:        err.Message(),
		Instance:      trail.RequestID,
		Kind:          err.Kind.String(),
		Code:          err.Code,
		AADSTS:        err.AADSTS,
		CorrelationID: err.CorrelationID,
		Claims:        err.Claims,
	}
}

func writeProblem(w http.ResponseWriter, r *http.Request, status int, err *entra.Error) {
	details := newProblem(r, status, err)
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	if status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="tokenbroker"`) // RFC 9110 §11.6.1
	}
	if err.Claims != "" {
		// As Microsoft's web APIs hand a challenge on: "Claims challenges, claims
		// requests, and client capabilities", learn.microsoft.com/entra/identity-platform/claims-challenge.
		h.Set("WWW-Authenticate", `Bearer realm="tokenbroker", error="insufficient_claims", claims="`+base64.StdEncoding.EncodeToString([]byte(err.Claims))+`"`)
	}
	if seconds := err.WaitSeconds(); seconds > 0 {
		h.Set("Retry-After", strconv.Itoa(seconds))
	}
	w.WriteHeader(status)
	body := json.NewEncoder(w)
	body.SetEscapeHTML(false) // it is read in terminals: "/proxy/<route>/"
	_ = body.Encode(details)  // fails only when the caller left
}
