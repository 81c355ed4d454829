package proxy

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/entra"
)

func TestErrorsHaveTheShapeOfDefender(t *testing.T) {
	type answer struct {
		Status                int
		Kind, RetryAfter, Ask string
		Body                  string
	}
	body := func(code, message string) string {
		return `{"error":{"code":"` + code + `","message":"` + message + `","target":"req-1"}}` + "\n"
	}
	cause := errors.New("why")
	for _, tc := range []struct {
		err  *entra.Error
		want answer
	}{
		{&entra.Error{Kind: entra.Internal, Err: cause}, answer{500, "internal", "", "", body("BrokerInternal", "internal error")}},
		{&entra.Error{Kind: entra.Invalid, Err: cause}, answer{400, "invalid", "", "", body("BrokerInvalid", "why")}},
		{&entra.Error{Kind: entra.Unadmitted, Err: cause}, answer{401, "unadmitted", "", `Bearer realm="tokenbroker"`, body("BrokerUnadmitted", "why")}},
		{&entra.Error{Kind: entra.Denied, Err: cause}, answer{403, "denied", "", "", body("BrokerDenied", "why")}},
		{&entra.Error{Kind: entra.NotFound, Err: cause}, answer{404, "not_found", "", "", body("BrokerNotFound", "why")}},
		{&entra.Error{Kind: entra.Misconfigured, Err: cause, RetryAfter: time.Minute}, answer{500, "misconfigured", "", "", body("BrokerMisconfigured", "why")}},
		{&entra.Error{Kind: entra.Challenged, Err: cause}, answer{403, "challenged", "", "", body("BrokerChallenged", "why")}},
		{&entra.Error{Kind: entra.Throttled, Err: cause, RetryAfter: time.Minute}, answer{503, "throttled", "60", "", body("BrokerThrottled", "why")}},
		{&entra.Error{Kind: entra.Unavailable, Err: cause, RetryAfter: time.Millisecond}, answer{503, "unavailable", "1", "", body("BrokerUnavailable", "why")}},
		{&entra.Error{Kind: entra.Upstream, Err: cause}, answer{502, "upstream", "", "", body("BrokerUpstream", "why")}},
		{&entra.Error{Kind: entra.Timeout, Err: cause}, answer{504, "timeout", "", "", body("BrokerTimeout", "why")}},
		{&entra.Error{Kind: entra.Canceled, Err: cause}, answer{200, "", "", "", ""}}, // the recorder's 200: nothing was written
		{&entra.Error{Kind: 99, Err: cause}, answer{500, "kind(99)", "", "", body("BrokerInternal", "why")}},
		{tooLarge(&http.MaxBytesError{Limit: 7}), answer{413, "invalid", "", "", body("BrokerInvalid", "request body: more than 7 bytes, see limits.request_body: http: request body too large")}},
	} {
		t.Run(tc.err.Kind.String(), func(t *testing.T) {
			trail := &entra.Trail{RequestID: "req-1"}
			r := httptest.NewRequestWithContext(entra.WithTrail(t.Context(), trail), http.MethodGet, "/", nil)
			w := httptest.NewRecorder()
			WriteError(w, r, tc.err)
			h := w.Header()
			got := answer{w.Code, h.Get("X-Token-Broker-Error"), h.Get("Retry-After"), h.Get("WWW-Authenticate"), w.Body.String()}
			if diff := cmp.Diff(got, tc.want); diff != "" {
				t.Errorf("(-got +want):\n%s", diff)
			}
			if trail.Failure != tc.err {
				t.Errorf("noted %v in the trail, want %v", trail.Failure, tc.err)
			}
			if w.Body.Len() > 0 && (!strings.HasPrefix(h.Get("Content-Type"), "application/json") || h.Get("Cache-Control") != "no-store") {
				t.Errorf("header: %v", h)
			}
		})
	}
}

func TestEveryKindHasAnAnswer(t *testing.T) {
	for _, kind := range entra.Kinds() {
		if int(kind) >= len(answers) || kind != entra.Canceled && (answers[kind].status < 400 || answers[kind].code == "") {
			t.Errorf("%s has no row in the table", kind)
		}
	}
}
