package defenderemu

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"tokenbroker/defender"
)

// answer is what a handler says. A body of raw JSON is sent as it is.
type answer struct {
	status int // zero: 200
	body   any // nil: none
}

// refusal is an error that the API answers with.
type refusal struct {
	status        int
	code, message string
	retryAfter    time.Duration // zero: nobody says when to come again
	retryAs       RetryForm     // how it is said
	challenge     string        // WWW-Authenticate; empty: none
}

func (r *refusal) Error() string { return r.code + ": " + r.message }

// refuse makes a refusal; the words for code are those of MDE's "Common REST
// API error codes".
func refuse(status int, code, format string, args ...any) *refusal {
	return &refusal{status: status, code: code, message: fmt.Sprintf(format, args...)}
}

func badRequest(code, format string, args ...any) *refusal {
	return refuse(http.StatusBadRequest, code, format, args...)
}

func notFound(format string, args ...any) *refusal {
	return refuse(http.StatusNotFound, "ResourceNotFound", format, args...)
}

func missing(parameter string) *refusal {
	return badRequest("MissingRequiredParameter", "Required parameter %s is missing.", parameter)
}

func unauthorized() *refusal {
	return refuse(http.StatusUnauthorized, "Unauthorized", "Authorization header is missing, invalid or has expired.")
}

// marshal encodes JSON as the API does: an & in a link stays an &.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// encoded is an answer on the way out.
type encoded struct {
	status int
	header http.Header
	body   []byte
}

// correlation holds the ids by which a request can be found again.
type correlation struct {
	server string // ours
	client string // the caller's; only Graph has such a thing
}

func correlate(r *http.Request) correlation {
	id := newGUID()
	return correlation{id, cmp.Or(r.Header.Get("client-request-id"), id)}
}

// encode turns a handler's result into what is sent.
func encode(api defender.API, id correlation, a answer, err error) encoded {
	e := encoded{status: a.status, header: http.Header{}}
	body := a.body
	if api == defender.Graph {
		e.header.Set("request-id", id.server)
		e.header.Set("client-request-id", id.client)
	}
	if err != nil {
		r, ok := errors.AsType[*refusal](err)
		if !ok {
			r = refuse(http.StatusInternalServerError, "InternalServerError", "")
		}
		if r.retryAfter > 0 {
			r.sayWhen(e.header)
		}
		if api == defender.Graph && r.status == http.StatusUnauthorized {
			r.challenge = cmp.Or(r.challenge, graphChallenge)
		}
		if r.challenge != "" {
			e.header.Set("WWW-Authenticate", r.challenge)
		}
		e.status, body = r.status, r.shape(api, id)
	}
	if e.status == 0 {
		e.status = http.StatusOK
	}
	if body == nil {
		return e
	}
	e.header.Set("Content-Type", "application/json; odata.metadata=minimal; charset=utf-8")
	if raw, ok := body.(json.RawMessage); ok {
		e.body = raw
		return e
	}
	if e.body, err = marshal(body); err != nil {
		return encode(api, id, answer{}, err)
	}
	return e
}

// graphChallenge is what Graph sends with a 401 of its own, where there is no
// claims challenge to send.
const graphChallenge = `Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", client_id="00000003-0000-0000-c000-000000000000"`

// sayWhen says when to come again. Callers go by their own clock, and so does it.
func (r *refusal) sayWhen(h http.Header) {
	seconds := strconv.Itoa(int((r.retryAfter + time.Second - 1) / time.Second))
	at := time.Now().Add(r.retryAfter).UTC()
	switch r.retryAs {
	case RetryBody:
		r.message += " Requests can be made again at " + at.Format(time.RFC3339) + "."
	case RetryDate:
		h.Set("Retry-After", at.Format(http.TimeFormat))
	case RetryFraction:
		h.Set("Retry-After", seconds+".128")
	default:
		h.Set("Retry-After", seconds)
	}
}

// shape is the refusal's body. Graph keeps the ids in a place of their own.
func (r *refusal) shape(api defender.API, id correlation) any {
	if api == defender.Graph {
		code := r.code
		if r.status == http.StatusUnauthorized {
			code = "InvalidAuthenticationToken" // Graph's word for it
		}
		return map[string]any{"error": map[string]any{
			"code": code, "message": r.message, "innerError": object{
				{"date", time.Now().UTC().Format("2006-01-02T15:04:05")}, {"request-id", id.server}, {"client-request-id", id.client},
			},
		}}
	}
	return map[string]any{"error": map[string]string{"code": r.code, "message": r.message, "target": id.server}}
}

func (e encoded) write(w http.ResponseWriter) {
	for name, values := range e.header {
		w.Header()[name] = values
	}
	w.WriteHeader(e.status)
	_, _ = w.Write(e.body)
}
