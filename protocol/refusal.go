package protocol

import (
	"encoding/json"
	"net/http"
	"strconv"

	"tokenbroker/entra"
	"tokenbroker/guard"
)

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
