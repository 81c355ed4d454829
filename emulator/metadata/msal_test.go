package metadataemu_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	msalerrors "github.com/AzureAD/microsoft-authentication-library-for-go/apps/errors"
	mi "github.com/AzureAD/microsoft-authentication-library-for-go/apps/managedidentity"

	entraemu "tokenbroker/emulator/entra"
	metadataemu "tokenbroker/emulator/metadata"
)

// fresh passes MSAL's memory by, which is the process's: tests would find each
// other's tokens there.
var fresh = mi.WithClaims("{}")

func newClient(t *testing.T, w *world, id mi.ID) mi.Client {
	t.Helper()
	c, err := mi.New(id, mi.WithHTTPClient(w.http))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// ids are the ways for MSAL to name an identity, with whom they mean.
func ids() map[mi.ID]metadataemu.Identity {
	return map[mi.ID]metadataemu.Identity{
		mi.SystemAssigned():                          system,
		mi.UserAssignedClientID(hunter.ClientID):     hunter,
		mi.UserAssignedObjectID(keeper.ObjectID):     keeper,
		mi.UserAssignedResourceID(keeper.ResourceID): keeper,
	}
}

func TestMSALAtIMDS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { acquires(t, 24*time.Hour) })
}

func TestMSALAtAppService(t *testing.T) {
	t.Setenv("IDENTITY_ENDPOINT", appURL)
	t.Setenv("IDENTITY_HEADER", headerText)
	synctest.Test(t, func(t *testing.T) { acquires(t, 24*time.Hour) })
}

// The version of 2017 is what Azure ML speaks.
func TestMSALAtTheOldEndpoint(t *testing.T) {
	t.Setenv("MSI_ENDPOINT", appURL)
	t.Setenv("MSI_SECRET", headerText)
	t.Setenv("DEFAULT_IDENTITY_CLIENT_ID", "")
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, system, hunter)
		for id, want := range map[mi.ID]string{mi.SystemAssigned(): system.ClientID, mi.UserAssignedClientID(hunter.ClientID): hunter.ClientID} {
			acquire(t, w, newClient(t, w, id), want, 24*time.Hour)
		}
		if got := w.Stats().Requests["app_service_2017"]; got != 2 {
			t.Errorf("%d requests in the old version, want 2", got)
		}
	})
}

func acquires(t *testing.T, lifetime time.Duration) {
	t.Helper()
	w := newWorld(t, system, hunter, keeper)
	for id, want := range ids() {
		acquire(t, w, newClient(t, w, id), want.ClientID, lifetime)
	}
}

func acquire(t *testing.T, w *world, c mi.Client, want string, lifetime time.Duration) {
	t.Helper()
	got, err := c.AcquireToken(t.Context(), vault, fresh)
	if err != nil {
		t.Fatal(err)
	}
	claims, err := w.entra.Verify(got.AccessToken)
	if err != nil {
		t.Fatal(err)
	}
	if claims.AppID != want || claims.Audience[0] != vault {
		t.Errorf("got a token of %s for %s, want of %s for %s", claims.AppID, claims.Audience, want, vault)
	}
	if left := time.Until(got.ExpiresOn).Round(time.Second); left != lifetime {
		t.Errorf("expires in %v, want %v", left, lifetime)
	}
}

// What the broker has to live with: three requests a second apart, whatever
// Retry-After says, and a refusal is final.
func TestMSALTriesThreeTimes(t *testing.T) {
	for _, tc := range []struct {
		name     string
		status   int
		requests int
		took     time.Duration
	}{
		{"refused", 400, 1, 0},
		{"unauthorized", 401, 1, 0},
		{"not there", 404, 3, 2 * time.Second},
		{"updating", 410, 3, 2 * time.Second},
		{"throttled", 429, 3, 2 * time.Second},
		{"broken", 500, 3, 2 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, system)
			w.SetFaults(metadataemu.Faults{Status: tc.status, RetryAfterS: 7})
			start := time.Now()
			_, err := newClient(t, w, mi.SystemAssigned()).AcquireToken(t.Context(), mde, fresh)
			failed, ok := errors.AsType[msalerrors.CallErr](err)
			if !ok || failed.Resp.StatusCode != tc.status {
				t.Errorf("%s: got %v, want %d", tc.name, err, tc.status)
			}
			if requests, took := w.Stats().Requests["imds"], time.Since(start); requests != tc.requests || took != tc.took {
				t.Errorf("%s: %d requests in %v, want %d in %v", tc.name, requests, took, tc.requests, tc.took)
			}
		})
	}
}

// Without a deadline of the caller's an IMDS that hangs costs three minutes and
// two seconds; so does an address that swallows everything.
func TestMSALWaitsForMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, system)
		w.SetFaults(metadataemu.Faults{Hang: true})
		start := time.Now()
		if _, err := newClient(t, w, mi.SystemAssigned()).AcquireToken(t.Context(), mde, fresh); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if got := time.Since(start); got != 3*time.Minute+2*time.Second {
			t.Errorf("took %v", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start = time.Now()
		if _, err := newClient(t, w, mi.SystemAssigned()).AcquireToken(ctx, mde, fresh); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the deadline", err)
		}
		if got := time.Since(start); got != 5*time.Second {
			t.Errorf("took %v, want the deadline's 5s", got)
		}
	})
}

// What MSAL makes of an answer that is none: an error, which repeats the body
// where there is an error status.
func TestMSALAndGarbage(t *testing.T) {
	for _, tc := range []struct {
		faults  metadataemu.Faults
		repeats bool
	}{
		{metadataemu.Faults{Body: "garbage"}, false},
		{metadataemu.Faults{Body: "truncated"}, false},
		{metadataemu.Faults{Body: "no_expiry"}, false},
		{metadataemu.Faults{Body: "html"}, false},
		{metadataemu.Faults{Body: "empty"}, false},
		{metadataemu.Faults{Body: "truncated", Status: 400}, true},
	} {
		w := newWorld(t, system)
		w.SetFaults(tc.faults)
		got, err := newClient(t, w, mi.SystemAssigned()).AcquireToken(t.Context(), mde, fresh)
		if err == nil || got.AccessToken != "" {
			t.Fatalf("%+v: got a token, %v", tc.faults, err)
		}
		if repeats := strings.Contains(err.Error(), entraemu.GarbageToken); repeats != tc.repeats {
			t.Errorf("%+v: the error repeats the body: %t, want %t", tc.faults, repeats, tc.repeats)
		}
	}
}
