package protocol

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"tokenbroker/entra"
)

// oauthError is RFC 6749 §5.2 with the members that Entra has beside it. See
// "Microsoft Entra authentication and authorization error codes",
// learn.microsoft.com/entra/identity-platform/reference-error-codes.
type oauthError struct {
	Error         string `json:"error"`
	Description   string `json:"error_description"`
	Codes         []int  `json:"error_codes,omitempty"` // the AADSTS number
	Timestamp     string `json:"timestamp"`
	TraceID       string `json:"trace_id,omitempty"`       // our request's id
	CorrelationID string `json:"correlation_id,omitempty"` // Entra's
	Claims        string `json:"claims,omitempty"`         // what to ask the user's sign-in for
}

// WriteOAuthError writes a failure as the token endpoint has it, and notes it in
// the request's trail. A caller that left is written nothing.
func WriteOAuthError(w http.ResponseWriter, r *http.Request, err *entra.Error) {
	if err = refuse(w, r, err); err == nil {
		return
	}
	status, code := oauthStatus(err)
	body := oauthError{
		Error:         code,
		Description:   describe(err.Message()),
		Timestamp:     time.Now().UTC().Format("2006-01-02 15:04:05Z"),
		TraceID:       entra.TrailOf(r.Context()).RequestID,
		CorrelationID: err.CorrelationID,
		Claims:        err.Claims,
	}
	if err.AADSTS != 0 {
		body.Codes = []int{err.AADSTS}
	}
	w.Header().Set("Pragma", "no-cache")
	if status == http.StatusUnauthorized && saysBasic(r.Header) {
		w.Header().Set("WWW-Authenticate", `Basic realm="tokenbroker"`) // RFC 6749 §5.2
	}
	writeRefusal(w, "application/json", status, body)
}

// oauthStatus is the table from kinds to statuses and errors. A user who has to
// sign in is 400, as with Entra and in RFC 6749: MSAL hands the claims on.
func oauthStatus(err *entra.Error) (status int, code string) {
	status = localStatus(err.Kind)
	switch err.Kind {
	case entra.Invalid:
		if slices.Contains([]string{unsupportedGrant, wrongClient, wrongScope, wrongResource, "invalid_grant"}, err.Code) {
			return status, err.Code
		}
		return status, invalidRequest
	case entra.NotFound, entra.Misconfigured:
		return status, wrongClient
	case entra.Unadmitted:
		return status, "invalid_client"
	case entra.Denied:
		return status, "access_denied"
	case entra.Challenged:
		return http.StatusBadRequest, "interaction_required"
	case entra.Throttled, entra.Unavailable, entra.Timeout, entra.Upstream:
		return status, "temporarily_unavailable"
	default:
		return status, "server_error"
	}
}

// describe makes an error_description of a text: RFC 6749 §5.2 has neither
// quotes nor backslashes nor anything beyond ASCII in it, and SDKs that print
// the whole answer would print them escaped.
func describe(text string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '"':
			return '\''
		case c == '\\':
			return '/'
		case c < ' ' || c > '~':
			return '.'
		}
		return c
	}, text)
}

// oauthRefusal refuses a request with an error of the token endpoint.
func oauthRefusal(code, format string, args ...any) *entra.Error {
	return coded(code, entra.Errorf(entra.Invalid, opOAuth, format, args...))
}
