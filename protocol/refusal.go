package protocol

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"tokenbroker/entra"
	"tokenbroker/guard"
	"tokenbroker/route"
)

// Codes of refusals that several protocols have.
const (
	invalidRequest = "invalid_request"  // RFC 6749 §5.2
	wrongResource  = "invalid_resource" // Entra's, where a resource is asked for
)

// coded is the failure with that code.
func coded(code string, err *entra.Error) *entra.Error {
	same := *err
	same.Code = code
	return &same
}

// refuse notes a failure in the request's trail and returns what may be said of
// it to the caller: caller keys are kept out. It is nil where the caller left,
// and nothing is to be written.
func refuse(w http.ResponseWriter, r *http.Request, err *entra.Error) *entra.Error {
	trail := entra.TrailOf(r.Context())
	if err.Kind == entra.Canceled {
		trail.Failure = err
		return nil
	}
	err = guard.RedactError(r.Context(), err)
	trail.Failure = err
	if seconds := err.WaitSeconds(); seconds > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
	}
	return err
}

// localStatus is the table from kinds to statuses of the protocols that other
// programs' libraries speak. They take 404 and most of 5xx as a reason to ask
// again, for up to minutes: so nothing that a repetition cannot cure has one.
func localStatus(kind entra.Kind) int {
	switch kind {
	case entra.Invalid, entra.NotFound:
		return http.StatusBadRequest
	case entra.Unadmitted:
		return http.StatusUnauthorized
	case entra.Denied, entra.Challenged, entra.Misconfigured:
		return http.StatusForbidden
	case entra.Throttled, entra.Unavailable, entra.Timeout, entra.Upstream, entra.Exhausted:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

// writeRefusal writes the body of a failure as JSON, which nobody may keep.
func writeRefusal(w http.ResponseWriter, mediaType string, status int, body any) {
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Cache-Control", "no-store") // RFC 6749 §5.1
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false) // it is read in terminals: "/proxy/<route>/"
	_ = encoder.Encode(body)     // fails only when the caller left
}

// isNeeded reports whether a call of a route can need a token of the scope,
// under whatever name of its resource application.
func isNeeded(table *route.Table, scope entra.Scope) bool {
	return slices.ContainsFunc(table.Identities(), func(i *route.Identity) bool { return len(table.UsersOf(scope, i.ID)) > 0 })
}

// neededBy lists what the routes need, in the words in which it was asked for.
func neededBy(table *route.Table, wrong string) string {
	var all []string
	for _, r := range table.Routes() {
		for _, scope := range r.Scopes() {
			name := string(scope)
			if wrong == wrongResource {
				name = scope.Audience()
			}
			if !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
	}
	if len(all) == 0 {
		return "none, since no route is open to this caller"
	}
	return strings.Join(all, ", ")
}
