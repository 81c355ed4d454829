package proxy

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/entra"
	"tokenbroker/route"
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
		{&entra.Error{Kind: entra.Challenged, Code: "login_required", Err: cause}, answer{403, "challenged", "", "", body("BrokerLoginRequired", "why")}},
		{&entra.Error{Kind: entra.Throttled, Err: cause, RetryAfter: time.Minute}, answer{503, "throttled", "60", "", body("BrokerThrottled", "why")}},
		{&entra.Error{Kind: entra.Unavailable, Err: cause, RetryAfter: time.Millisecond}, answer{503, "unavailable", "1", "", body("BrokerUnavailable", "why")}},
		{&entra.Error{Kind: entra.Upstream, Err: cause}, answer{502, "upstream", "", "", body("BrokerUpstream", "why")}},
		{&entra.Error{Kind: entra.Timeout, Err: cause}, answer{504, "timeout", "", "", body("BrokerTimeout", "why")}},
		{&entra.Error{Kind: entra.Canceled, Err: cause}, answer{200, "", "", "", ""}}, // the recorder's 200: nothing was written
		{&entra.Error{Kind: entra.Exhausted, Err: cause, RetryAfter: 90 * time.Second}, answer{429, "exhausted", "90", "", body("BrokerExhausted", "why")}},
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

// Messages quote paths, and a caller may have put its key into one.
func TestErrorsAreRedacted(t *testing.T) {
	p, err := New(Config{
		Resolve: func(_ context.Context, target route.Target) (route.Call, error) {
			return route.Call{}, entra.Errorf(entra.NotFound, "test", "path %s", target.Path)
		},
		Source: entra.SourceFunc(func(context.Context, entra.Request) (entra.Token, error) { return entra.Token{}, nil }),
		Permit: func(context.Context, *route.Call) error { return nil },
		Redact: func(_ context.Context, e *entra.Error) *entra.Error {
			return entra.Errorf(e.Kind, e.Op, "%s", strings.ReplaceAll(e.Err.Error(), "key", "…"))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/proxy/r/key", "/elsewhere/key", "/proxy/key@/x"} {
		trail := new(entra.Trail)
		w := httptest.NewRecorder()
		p.ServeHTTP(w, httptest.NewRequestWithContext(entra.WithTrail(t.Context(), trail), http.MethodGet, path, nil))
		if strings.Contains(w.Body.String(), "key") || strings.Contains(trail.Failure.Error(), "key") || !strings.Contains(w.Body.String(), "…") {
			t.Errorf("%s: %s, trail: %v", path, w.Body, trail.Failure)
		}
	}
}
