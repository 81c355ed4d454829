package defenderemu

import (
	"bytes"
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
	retryAfter    time.Duration // zero: no Retry-After
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

// encode turns a handler's result into what is sent; id is the correlation id
// that the shape of an error asks for.
func encode(api defender.API, id string, a answer, err error) encoded {
	e := encoded{status: a.status, header: http.Header{}}
	body := a.body
	if err != nil {
		r, ok := errors.AsType[*refusal](err)
		if !ok {
			r = refuse(http.StatusInternalServerError, "InternalServerError", "")
		}
		e.status, body = r.status, r.shape(api, id)
		if r.retryAfter > 0 {
			e.header.Set("Retry-After", strconv.Itoa(int((r.retryAfter+time.Second-1)/time.Second)))
		}
		if r.challenge != "" {
			e.header.Set("WWW-Authenticate", r.challenge)
		}
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

// shape is the refusal's body. Graph keeps the id in a place of its own.
func (r *refusal) shape(api defender.API, id string) any {
	if api == defender.Graph {
		code := r.code
		if r.status == http.StatusUnauthorized {
			code = "InvalidAuthenticationToken" // Graph's word for it
		}
		return map[string]any{"error": map[string]any{
			"code": code, "message": r.message, "innerError": map[string]string{"request-id": id, "client-request-id": id},
		}}
	}
	return map[string]any{"error": map[string]string{"code": r.code, "message": r.message, "target": id}}
}

func (e encoded) write(w http.ResponseWriter) {
	for name, values := range e.header {
		w.Header()[name] = values
	}
	w.WriteHeader(e.status)
	_, _ = w.Write(e.body)
}
