package proxy

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"tokenbroker/entra"
)

// answers is this mount's table: what each kind of failure becomes on the wire.
var answers = [...]struct {
	status int
	code   string
}{
	entra.Internal:      {http.StatusInternalServerError, "BrokerInternal"},
	entra.Invalid:       {http.StatusBadRequest, "BrokerInvalid"},
	entra.Unadmitted:    {http.StatusUnauthorized, "BrokerUnadmitted"},
	entra.Denied:        {http.StatusForbidden, "BrokerDenied"},
	entra.NotFound:      {http.StatusNotFound, "BrokerNotFound"},
	entra.Misconfigured: {http.StatusInternalServerError, "BrokerMisconfigured"},
	entra.Challenged:    {http.StatusForbidden, "BrokerChallenged"},
	entra.Throttled:     {http.StatusServiceUnavailable, "BrokerThrottled"}, // by Entra: the upstream's own 429 passes through
	entra.Unavailable:   {http.StatusServiceUnavailable, "BrokerUnavailable"},
	entra.Upstream:      {http.StatusBadGateway, "BrokerUpstream"},
	entra.Timeout:       {http.StatusGatewayTimeout, "BrokerTimeout"},
	entra.Canceled:      {}, // nobody is there to read it
	entra.Exhausted:     {http.StatusTooManyRequests, "BrokerExhausted"},
}

// errorBody is the shape of the Defender APIs' errors, so that their clients
// can read ours. See "Common REST API error codes",
// learn.microsoft.com/defender-endpoint/api/common-errors.
type errorBody struct {
	Error struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Target  string `json:"target,omitempty"` // the request id
	} `json:"error"`
}

// WriteError answers with e in the shape of the Defender APIs. The header
// X-Token-Broker-Error names the kind, so that nobody takes the answer for the
// upstream's. It notes e in the request's trail. For a caller who left
// ([entra.Canceled]) it writes nothing.
func WriteError(w http.ResponseWriter, r *http.Request, e *entra.Error) {
	trail := entra.TrailOf(r.Context())
	trail.Failure = e
	if e.Kind == entra.Canceled {
		return
	}
	status, code := answerTo(e)
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Token-Broker-Error", e.Kind.String())
	if status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="tokenbroker"`) // RFC 9110 §15.5.2 wants one
	}
	if e.Claims != "" {
		// As Microsoft's web APIs hand a challenge on: "Claims challenges, claims
		// requests, and client capabilities", learn.microsoft.com/entra/identity-platform/claims-challenge.
		h.Set("WWW-Authenticate", `Bearer realm="tokenbroker", error="insufficient_claims", claims="`+base64.StdEncoding.EncodeToString([]byte(e.Claims))+`"`)
	}
	if seconds := e.WaitSeconds(); seconds > 0 {
		h.Set("Retry-After", strconv.Itoa(seconds))
	}
	w.WriteHeader(status)

	var body errorBody
	body.Error.Code, body.Error.Message, body.Error.Target = code, e.Message(), trail.RequestID
	_ = json.NewEncoder(w).Encode(body) // fails only when the caller left
}

// answerTo looks e up in the table. One status is not a kind's: a body over
// the limit is Invalid, and wraps net/http's own error to say so.
func answerTo(e *entra.Error) (status int, code string) {
	kind := e.Kind
	if int(kind) >= len(answers) {
		kind = entra.Internal
	}
	status, code = answers[kind].status, answers[kind].code
	if _, ok := errors.AsType[*http.MaxBytesError](e); ok {
		status = http.StatusRequestEntityTooLarge
	}
	if e.Code == "login_required" { // a person ends it, and a script has to know
		code = "BrokerLoginRequired"
	}
	return status, code
}
