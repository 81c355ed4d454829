package server

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"tokenbroker/entra"
)

// problemStatus is the native mounts' table from kinds to statuses.
var problemStatus = map[entra.Kind]int{
	entra.Internal:      http.StatusInternalServerError,
	entra.Invalid:       http.StatusBadRequest,
	entra.Unadmitted:    http.StatusUnauthorized,
	entra.Denied:        http.StatusForbidden,
	entra.NotFound:      http.StatusNotFound,
	entra.Misconfigured: http.StatusInternalServerError,
	entra.Challenged:    http.StatusForbidden,
	entra.Throttled:     http.StatusServiceUnavailable,
	entra.Unavailable:   http.StatusServiceUnavailable,
	entra.Upstream:      http.StatusBadGateway,
	entra.Timeout:       http.StatusGatewayTimeout,
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
}

// WriteProblem writes a failure as application/problem+json (RFC 9457), the
// shape of the broker's own paths. A caller that left is written nothing.
func WriteProblem(w http.ResponseWriter, r *http.Request, err *entra.Error) {
	if err.Kind == entra.Canceled {
		entra.TrailOf(r.Context()).Failure = err
		return
	}
	status, ok := problemStatus[err.Kind]
	if !ok {
		status = http.StatusInternalServerError
	}
	writeProblem(w, r, status, err)
}

func writeProblem(w http.ResponseWriter, r *http.Request, status int, err *entra.Error) {
	trail := entra.TrailOf(r.Context())
	trail.Failure = err
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	if status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="tokenbroker"`) // RFC 9110 §11.6.1
	}
	if err.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64(math.Ceil(err.RetryAfter.Seconds())), 10))
	}
	w.WriteHeader(status)
	body, _ := json.Marshal(problem{
		Title:         http.StatusText(status),
		Status:        status,
		Detail:        err.Message(),
		Instance:      trail.RequestID,
		Kind:          err.Kind.String(),
		Code:          err.Code,
		AADSTS:        err.AADSTS,
		CorrelationID: err.CorrelationID,
	})
	_, _ = w.Write(append(body, '\n'))
}

func notFound(w http.ResponseWriter, r *http.Request) {
	WriteProblem(w, r, entra.Errorf(entra.NotFound, "server.path", "path %s: nothing is served here; see /routes, or call an API at /proxy/<route>/", entra.Quote(r.URL.Path)))
}

// writeEchoError answers what echo itself refuses: a method.
func writeEchoError(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	w, r := c.Response(), c.Request()
	if refused, ok := errors.AsType[*echo.HTTPError](err); ok && refused.Code == http.StatusMethodNotAllowed {
		// echo has set Allow, as RFC 9110 §15.5.6 wants.
		writeProblem(w, r, refused.Code, entra.Errorf(entra.Invalid, "server.method", "method %s: not served at this path; it takes %s", entra.Quote(r.Method), w.Header().Get("Allow")))
		return
	}
	WriteProblem(w, r, entra.AsError(err))
}
