package vaultemu_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"

	entraemu "tokenbroker/emulator/entra"
	vaultemu "tokenbroker/emulator/vault"
)

func TestSDKReadsSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		expires := time.Now().Add(time.Hour).Truncate(time.Second)
		first := w.set(t, "app", secretOf, vaultemu.Attributes{Expires: expires})
		c := w.secrets(t)
		got, err := c.GetSecret(t.Context(), "app", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		if *got.Value != secretOf || got.ID.Name() != "app" || got.ID.Version() != first || !*got.Attributes.Enabled || !got.Attributes.Expires.Equal(expires) {
			t.Errorf("got %q of %s, %+v", *got.Value, *got.ID, got.Attributes)
		}
		second := w.set(t, "app", "rotated", vaultemu.Attributes{})
		for asked, want := range map[string]string{"": "rotated", first: secretOf, second: "rotated"} {
			got, err := c.GetSecret(t.Context(), "app", asked, nil)
			if err != nil || *got.Value != want {
				t.Errorf("version %q: got %v, want %q", asked, err, want)
			}
		}
		// One token and one challenge served them all.
		if stats := w.Stats(); stats.Requests[vaultemu.GetSecret] != 5 || stats.Served[vaultemu.GetSecret] != 4 || stats.Refused["Unauthorized"] != 1 {
			t.Errorf("got %+v", stats)
		}
		if got := w.entra.Stats().Issued; got != 1 {
			t.Errorf("%d tokens, want 1", got)
		}
	})
}

func TestSDKSigns(t *testing.T) {
	w := newWorld(t)
	id := w.install(t, "login", vaultemu.Certificate{})
	c := w.keys(t)
	small, middle, large := sha256.Sum256([]byte("x")), sha512.Sum384([]byte("x")), sha512.Sum512([]byte("x"))
	for _, tc := range []struct {
		algorithm azkeys.SignatureAlgorithm
		version   string
		digest    []byte
		hash      crypto.Hash
		pss       bool
	}{
		{azkeys.SignatureAlgorithmRS256, id, small[:], crypto.SHA256, false},
		{azkeys.SignatureAlgorithmRS384, id, middle[:], crypto.SHA384, false},
		{azkeys.SignatureAlgorithmRS512, id, large[:], crypto.SHA512, false},
		{azkeys.SignatureAlgorithmPS256, id, small[:], crypto.SHA256, true},
		{azkeys.SignatureAlgorithmPS384, id, middle[:], crypto.SHA384, true},
		{azkeys.SignatureAlgorithmPS512, "", large[:], crypto.SHA512, true},
	} {
		got, err := c.Sign(t.Context(), "login", tc.version, azkeys.SignParameters{Algorithm: &tc.algorithm, Value: tc.digest}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if tc.pss {
			err = rsa.VerifyPSS(&leafKey().PublicKey, tc.hash, tc.digest, got.Result, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		} else {
			err = rsa.VerifyPKCS1v15(&leafKey().PublicKey, tc.hash, tc.digest, got.Result)
		}
		if err != nil || got.KID.Name() != "login" || got.KID.Version() != id {
			t.Errorf("%s: %v, by key %s", tc.algorithm, err, *got.KID)
		}
	}
	key, err := c.GetKey(t.Context(), "login", id, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(key.Key.N, leafKey().N.Bytes()) || !bytes.Equal(key.Key.E, []byte{1, 0, 1}) || !*key.Managed {
		t.Errorf("got key %+v", key)
	}
	if stats := w.Stats(); stats.Served[vaultemu.Sign] != 6 || stats.Requests[vaultemu.Sign] != 7 || stats.Served[vaultemu.GetKey] != 1 {
		t.Errorf("got %+v", stats)
	}
}

func TestSDKReadsOurErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set(t, "app", secretOf, vaultemu.Attributes{Disabled: true})
		_, err := w.secrets(t).GetSecret(t.Context(), "app", "", nil)
		failed, ok := errors.AsType[*azcore.ResponseError](err)
		if !ok || failed.StatusCode != http.StatusForbidden || failed.ErrorCode != "Forbidden" || !strings.Contains(err.Error(), "SecretDisabled") {
			t.Errorf("disabled: got %v", err)
		}
		_, err = w.secrets(t).GetSecret(t.Context(), "none", "", nil)
		if failed, ok := errors.AsType[*azcore.ResponseError](err); !ok || failed.ErrorCode != "SecretNotFound" {
			t.Errorf("unknown: got %v", err)
		}
	})
}

// The SDK sends no token to a vault that asks for one of another resource, and
// asks whatever tenant it is told for it.
func TestSDKMindsTheChallenge(t *testing.T) {
	for _, tc := range []struct {
		name      string
		challenge string
		asked     bool // whether a token was asked for
	}{
		{"another resource", `Bearer authorization="https://login.microsoftonline.com/` + tenant + `", resource="https://graph.microsoft.com"`, false},
		{"another tenant", `Bearer authorization="https://login.microsoftonline.com/33333333-3333-3333-3333-333333333333", resource="https://vault.azure.net"`, true},
		{"no resource", `Bearer authorization="https://login.microsoftonline.com/` + tenant + `"`, false},
		{"another scheme", `Basic realm="x"`, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.set(t, "app", secretOf, vaultemu.Attributes{})
			w.SetFaults(vaultemu.Faults{Challenge: tc.challenge})
			_, err := w.secrets(t).GetSecret(t.Context(), "app", "", nil)
			if err == nil || strings.Contains(err.Error(), secretOf) {
				t.Errorf("got %v, want no secret", err)
			}
			if asked := w.entra.Stats().Tokens > 0; asked != tc.asked || w.Stats().Served[vaultemu.GetSecret] != 0 {
				t.Errorf("a token was asked for: %t, want %t; served %+v", asked, tc.asked, w.Stats().Served)
			}
		})
	}
}

// How long the SDK goes on by itself is what whoever calls it has to bound.
func TestSDKTriesAgain(t *testing.T) {
	const ms = time.Millisecond
	for _, tc := range []struct {
		name     string
		faults   vaultemu.Faults
		requests int
		min, max time.Duration
	}{
		{"forbidden", vaultemu.Faults{Status: 403, Inner: "ForbiddenByFirewall"}, 1, 0, 0},
		{"not there", vaultemu.Faults{Status: 404}, 1, 0, 0},
		{"broken", vaultemu.Faults{Status: 500}, 4, 7040 * ms, 11440 * ms},
		{"throttled", vaultemu.Faults{Status: 429, RetryAfterS: 5}, 4, 15 * time.Second, 15 * time.Second},
		{"throttled for long", vaultemu.Faults{Status: 429, RetryAfterS: 61}, 1, 0, 0},
		{"away", vaultemu.Faults{Status: 503}, 4, 7040 * ms, 11440 * ms},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.set(t, "app", secretOf, vaultemu.Attributes{})
				c := w.secrets(t)
				if _, err := c.GetSecret(t.Context(), "app", "", nil); err != nil {
					t.Fatal(err)
				}
				w.SetFaults(tc.faults)
				start := time.Now()
				_, err := c.GetSecret(t.Context(), "app", "", nil)
				if failed, ok := errors.AsType[*azcore.ResponseError](err); !ok || failed.StatusCode != tc.faults.Status {
					t.Errorf("got %v, want %d", err, tc.faults.Status)
				}
				if got := w.Stats().Faulted; got != tc.requests {
					t.Errorf("%d requests, want %d", got, tc.requests)
				}
				if took := time.Since(start); took < tc.min || took > tc.max {
					t.Errorf("took %v, want %v to %v", took, tc.min, tc.max)
				}
			})
		})
	}
}

// A vault that hangs holds the SDK for as long as its caller lets it, one that
// is not there for about ten seconds.
func TestSDKAndAVaultThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set(t, "app", secretOf, vaultemu.Attributes{})
		c := w.secrets(t)
		w.SetFaults(vaultemu.Faults{Hang: true})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if _, err := c.GetSecret(ctx, "app", "", nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("hangs: got %v, want the deadline", err)
		}
		w.SetFaults(vaultemu.Faults{})
		w.net.SetDown(vaultHost, true)
		start := time.Now()
		_, err := c.GetSecret(t.Context(), "app", "", nil)
		if _, ok := errors.AsType[net.Error](err); !ok || time.Since(start) < 7*time.Second || time.Since(start) > 12*time.Second {
			t.Errorf("down: got %v after %v", err, time.Since(start))
		}
	})
}

// A 401 to a token that was good makes the SDK get another one, once.
func TestSDKAfterARevokedToken(t *testing.T) {
	w := newWorld(t)
	w.set(t, "app", secretOf, vaultemu.Attributes{})
	w.SetFaults(vaultemu.Faults{Status: 401, Times: 1})
	got, err := w.secrets(t).GetSecret(t.Context(), "app", "", nil)
	if err == nil {
		t.Fatalf("got %q: the SDK has become better, and so must our notes of it", *got.Value)
	}
	// The first call met the challenge already: the SDK takes one a request.
	w.SetFaults(vaultemu.Faults{})
	c := w.secrets(t)
	if _, err := c.GetSecret(t.Context(), "app", "", nil); err != nil {
		t.Fatal(err)
	}
	before := w.entra.Stats().Issued
	w.SetFaults(vaultemu.Faults{Status: 401, Times: 1})
	if _, err := c.GetSecret(t.Context(), "app", "", nil); err != nil {
		t.Error(err)
	}
	if issued := w.entra.Stats().Issued - before; issued != 1 {
		t.Errorf("%d tokens, want another one", issued)
	}
}

// Many callers of one new client each meet the challenge, and every challenge
// makes the SDK forget the token that it has: several are got.
func TestSDKIsCold(t *testing.T) {
	w := newWorld(t)
	w.set(t, "app", secretOf, vaultemu.Attributes{})
	c := w.secrets(t)
	const callers = 32
	var group sync.WaitGroup
	for range callers {
		group.Go(func() {
			if _, err := c.GetSecret(t.Context(), "app", "", nil); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if got := w.Stats().Served[vaultemu.GetSecret]; got != callers {
		t.Errorf("%d served, want %d", got, callers)
	}
	challenges, tokens := w.Stats().Refused["Unauthorized"], w.entra.Stats().Issued
	if challenges < 1 || challenges > callers || tokens < 1 || tokens > challenges {
		t.Errorf("%d challenges, %d tokens", challenges, tokens)
	}
}

// Whoever comes while another caller of the client gets the token waits for as
// long as that one does, whatever its own deadline says.
func TestSDKWaitsForAnothersToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set(t, "app", secretOf, vaultemu.Attributes{})
		w.entra.SetFaults(entraemu.Faults{Hang: true})
		c := w.secrets(t)
		start := time.Now()
		var group sync.WaitGroup
		get := func(patience, want time.Duration) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			group.Go(func() {
				defer cancel()
				_, err := c.GetSecret(ctx, "app", "", nil)
				if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took != want {
					t.Errorf("patience of %v: %v after %v, want the deadline after %v", patience, err, took, want)
				}
			})
			synctest.Wait()
		}
		get(time.Minute, time.Minute)
		get(time.Second, time.Minute)
		group.Wait()
	})
}

// Nothing that a vault sends instead of a secret may be taken for one. What the
// SDK makes of it: an empty answer is a secret without a value and no error,
// and an error with a status repeats the body.
func TestSDKAndGarbage(t *testing.T) {
	for _, tc := range []struct {
		faults  vaultemu.Faults
		failed  bool
		repeats bool
	}{
		{vaultemu.Faults{Body: "garbage"}, true, false},
		{vaultemu.Faults{Body: "truncated"}, true, false},
		{vaultemu.Faults{Body: "html"}, true, false},
		{vaultemu.Faults{Body: "empty"}, false, false},
		{vaultemu.Faults{Body: "truncated", Status: 403}, true, true},
	} {
		w := newWorld(t)
		w.set(t, "app", secretOf, vaultemu.Attributes{})
		w.SetFaults(tc.faults)
		got, err := w.secrets(t).GetSecret(t.Context(), "app", "", nil)
		if got.Value != nil || (err != nil) != tc.failed {
			t.Errorf("%+v: got a value %t, %v", tc.faults, got.Value != nil, err)
		}
		if repeats := err != nil && strings.Contains(err.Error(), vaultemu.GarbageSecret); repeats != tc.repeats {
			t.Errorf("%+v: the error repeats the body: %t, want %t", tc.faults, repeats, tc.repeats)
		}
		if w.Stats().Faulted != 1 {
			t.Errorf("%+v: %d requests, want 1", tc.faults, w.Stats().Faulted)
		}
	}
}

// Redirects are the HTTP client's to refuse: with one that follows them a vault
// chooses where its callers go.
func TestRedirectIsTheHTTPClients(t *testing.T) {
	w := newWorld(t)
	w.set(t, "app", secretOf, vaultemu.Attributes{})
	var stolen http.Header
	w.serve(t, "evil.example", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { stolen = r.Header }))
	for _, follow := range []bool{true, false} {
		stolen = nil
		if !follow {
			w.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		}
		w.SetFaults(vaultemu.Faults{Redirect: "https://evil.example/secrets/app"})
		_, err := w.secrets(t).GetSecret(t.Context(), "app", "", nil)
		if gone := stolen != nil; gone != follow {
			t.Errorf("follow %t: arrived %t, %v", follow, gone, err)
		}
		if stolen.Get("Authorization") != "" {
			t.Error("the token arrived elsewhere")
		}
	}
}

// The way of a certificate whose key never leaves the vault: what it signs,
// Entra takes.
func TestVaultSignsForEntra(t *testing.T) {
	w := newWorld(t)
	w.install(t, "login", vaultemu.Certificate{})
	encode := base64.RawURLEncoding.EncodeToString
	thumbprint := sha256.Sum256(w.cert.Raw)
	now := time.Now().Unix()
	signed := encode(fmt.Appendf(nil, `{"alg":"PS256","typ":"JWT","x5t#S256":"%s"}`, encode(thumbprint[:]))) + "." +
		encode(fmt.Appendf(nil, `{"aud":"https://%s/%s/oauth2/v2.0/token","iss":"%s","sub":"%[3]s","nbf":%d,"exp":%d,"jti":"1"}`, loginHost, tenant, client, now, now+600))
	digest := sha256.Sum256([]byte(signed))
	algorithm := azkeys.SignatureAlgorithmPS256
	got, err := w.keys(t).Sign(t.Context(), "login", "", azkeys.SignParameters{Algorithm: &algorithm, Value: digest[:]}, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := w.http.PostForm("https://"+loginHost+"/"+tenant+"/oauth2/v2.0/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {client}, "scope": {"https://api.security.microsoft.com/.default"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {signed + "." + encode(got.Result)},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(resp.Body)
		t.Errorf("got %s %s, want a token", resp.Status, body)
	}
}
