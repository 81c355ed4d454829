package cache_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/cache"
	"tokenbroker/entra"
)

func TestLogTellsWhatNoCallerHears(t *testing.T) {
	var log bytes.Buffer
	source := &fake{life: 2 * time.Minute}
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(t, source, cache.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		refusal := &entra.Error{Kind: entra.Misconfigured, AADSTS: 7000215, CorrelationID: "c1", Err: errors.New("the secret is wrong")}

		source.fails(refusal)
		b.wantError(ask(mde), entra.Misconfigured) // its caller hears it
		source.fails(nil)
		b.want(ask(xdr), "t2")
		source.fails(refusal)
		challenged := ask(xdr)
		challenged.Claims = "c"
		b.wantError(challenged, entra.Misconfigured) // likewise
		time.Sleep(80 * time.Second)
		b.want(ask(xdr), "t2")
		synctest.Wait()
		source.fails(nil)
		time.Sleep(5 * time.Second)
		b.want(ask(xdr), "t2")
		synctest.Wait()
		source.fails(refusal)
		b.Warm(t.Context(), ask("warmed"))
		synctest.Wait()

		var got []string
		for line := range strings.Lines(log.String()) {
			_, line, _ = strings.Cut(line, " ") // the time
			got = append(got, line)
		}
		want := []string{
			`level=WARN msg="token refresh failed" identity_id=app tenant=contoso.com scope=https://api.security.microsoft.com/.default expires_in_s=38 kind=misconfigured aadsts=7000215 correlation_id=c1 retry_in_s=3 err="the secret is wrong"` + "\n",
			`level=INFO msg="token fetched again" identity_id=app tenant=contoso.com scope=https://api.security.microsoft.com/.default` + "\n",
			`level=WARN msg="token not fetched ahead" identity_id=app tenant=contoso.com scope=warmed kind=misconfigured aadsts=7000215 correlation_id=c1 retry_in_s=3 err="the secret is wrong"` + "\n",
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("log (-got +want):\n%s", diff)
		}
	})
}

// The value of a panic can be anything, a token included.
func TestLogTellsOfAPanicWithoutItsValue(t *testing.T) {
	var log bytes.Buffer
	next := entra.SourceFunc(func(_ context.Context, req entra.Request) (entra.Token, error) {
		if req.Scope == xdr {
			panic("canary")
		}
		return []entra.Token{}[len(req.Scope)], nil
	})
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(t, next, cache.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		b.wantError(ask(xdr), entra.Internal)
		b.wantError(ask(mde), entra.Internal)
	})
	for _, want := range []string{"type=string", "type=runtime.boundsError", "index out of range", "TestLogTellsOfAPanicWithoutItsValue"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in the log", want)
		}
	}
	if strings.Contains(log.String(), "canary") {
		t.Error("the panic's value is in the log")
	}
}
