package verify_test

import (
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/entra"
	"tokenbroker/verify"
)

func TestVerifyAccepts(t *testing.T) {
	w := newWorld(t)
	v := w.verifier()
	by := func(members ...any) string {
		return minted{marshal(with(header(), members...)), marshal(v1()), rs256(goodKey())}.String()
	}
	says := func(members ...any) string { return token(with(v1(), members...)) }
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	for _, tc := range []struct {
		name  string
		token string
		want  string // whom it is for
	}{
		{"version 1", token(v1()), xdr},
		{"version 2", token(v2()), client},
		{"version 1 for our client", says("aud", client), client},
		{"version 2 for a resource", token(with(v2(), "aud", xdr)), xdr},
		{"a customer's", signed("customer", customerKey(), with(v1(), "tid", customer, "iss", "https://sts.windows.net/"+customer+"/")), xdr},
		{"PS256", minted{marshal(with(header(), "alg", "PS256")), marshal(v1()), ps256(goodKey(), rsa.PSSSaltLengthEqualsHash)}.String(), xdr},
		{"a resource with a slash", says("aud", xdr+"/"), xdr},
		{"a resource in capitals", says("aud", "https://API.security.Microsoft.com"), xdr},
		{"a resource with its port", says("aud", xdr+":443"), xdr},
		{"a client id in capitals", says("aud", strings.ToUpper(client)), client},
		{"a client id's URI", says("aud", "api://"+client), client},
		{"a client id's URI in capitals", says("aud", "api://"+strings.ToUpper(client)), client},
		{"a URI of ours", says("aud", hunter), hunter},
		{"several audiences", says("aud", []string{"https://graph.microsoft.com", hunter}), hunter},
		{"the type of RFC 9068", by("typ", "at+jwt"), xdr},
		{"the type in other letters", by("typ", "jwt"), xdr},
		{"no type", by("typ", nil), xdr},
		{"a stranger's place for keys, which nobody asks", by("jku", "https://stranger.example/keys", "x5u", "https://stranger.example/"), xdr},
		{"no start", says("nbf", nil), xdr},
		{"expired within the skew", says("exp", in(-50*time.Second)), xdr},
		{"to start within the skew", says("nbf", in(50*time.Second)), xdr},
		{"no roles", says("roles", nil), xdr},
		{"a claim in another script", says("gruppe", "Jäger", "größe", 1), xdr},
		{"as long as may be", says("groups", strings.Repeat("x", 11<<10)), xdr},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := v.Verify(t.Context(), entra.NewSecret(tc.token))
			if err != nil || got.For != tc.want {
				t.Errorf("got %s, %v, want a token for %s", got.For, err, tc.want)
			}
		})
	}
}

func TestVerifiedHasEveryClaim(t *testing.T) {
	w := newWorld(t)
	w.config.Tenants = []entra.Tenant{"fabrikam.example", "contoso.example"}
	claims := with(v2(), "extn.team", "red")
	got, err := w.verifier().Verify(t.Context(), entra.NewSecret(token(claims)))
	if err != nil {
		t.Fatal(err)
	}
	have := []any{got.Tenant, got.For, got.Claims.Tenant, got.Claims.Client(), got.Claims.Permissions(), string(got.Payload)}
	want := []any{entra.Tenant("contoso.example"), client, ours, stranger, []string{"access_as_user"}, marshal(claims)}
	if diff := cmp.Diff(have, want); diff != "" {
		t.Error(diff)
	}
	if text := fmt.Sprintf("%+v %s", got, mustJSON(t, got)); strings.Contains(text, strings.Split(token(claims), ".")[2]) {
		t.Error("it holds the token's signature")
	}
}

// mustJSON is what v looks like in an answer.
func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Each national cloud has issuers of its own; GCC has those of the public one.
func TestVerifyKnowsTheIssuersOfEveryCloud(t *testing.T) {
	for _, tc := range []struct {
		cloud  entra.Cloud
		v1, v2 string
	}{
		{entra.Public, "https://sts.windows.net/", "https://login.microsoftonline.com/"},
		{entra.GCC, "https://sts.windows.net/", "https://login.microsoftonline.com/"},
		{entra.GCCHigh, "https://sts.windows.net/", "https://login.microsoftonline.us/"},
		{entra.DoD, "https://sts.windows.net/", "https://login.microsoftonline.us/"},
		{entra.China, "https://sts.chinacloudapi.cn/", "https://login.partner.microsoftonline.cn/"},
	} {
		t.Run(string(tc.cloud), func(t *testing.T) {
			w := newWorld(t)
			w.config.Authority = tc.cloud.Authority()
			w.config.HTTP = w.offline()
			v := w.verifier()
			for _, issuer := range []string{tc.v1 + ours + "/", tc.v2 + ours + "/v2.0"} {
				if _, err := v.Verify(t.Context(), entra.NewSecret(token(with(v1(), "iss", issuer)))); err != nil {
					t.Errorf("%s: %v", issuer, err)
				}
			}
			if got := w.asked(); len(got) != 2 || !strings.HasPrefix(got[0], "GET "+tc.cloud.Authority().Host()) {
				t.Errorf("asked %q, want the cloud's own authority", got)
			}
		})
	}
}

func TestRefusalSaysWhatToDo(t *testing.T) {
	v := newWorld(t).verifier()
	for _, tc := range []struct{ token, want string }{
		{token(with(v1(), "exp", time.Now().Add(-time.Hour).Unix())), "token: expired 1h0m"},
		{token(with(v1(), "nbf", time.Now().Add(time.Hour).Unix())), "token: not valid for another"},
		{token(with(v1(), "aud", "https://graph.microsoft.com")), `token: for "https://graph.microsoft.com", which is no audience of this broker's`},
		{token(with(v1(), "iss", "https://sts.windows.net/"+stranger+"/")), `token: issued by "https://sts.windows.net/` + stranger + `/", want https://sts.windows.net/` + ours + "/ or https://" + host + "/" + ours + "/v2.0"},
		{token(with(v1(), "aud", "\n\x1b[31m"+strings.Repeat("x", 500))), `token: for "\n\x1b[31mxxx`},
		{token(with(v1(), "tid", "contoso.example")), `token: of tenant "contoso.example", want the GUID of one`},
		{minted{marshal(with(header(), "kid", nil)), marshal(v1()), rs256(goodKey())}.String(), "token: does not name its key (kid)"},
		{minted{marshal(with(header(), "nonce", "x")), marshal(v1()), rs256(goodKey())}.String(), "token: one of Microsoft Graph's own (nonce in its header), which cannot be verified by third parties"},
	} {
		_, err := v.Verify(t.Context(), entra.NewSecret(tc.token))
		if got := entra.AsError(err).Message(); !strings.HasPrefix(got, tc.want) || len(got) > 400 {
			t.Errorf("got %q, want it to begin with %q", got, tc.want)
		}
	}
}

// What can be told without keys is told while the authority is away, and makes
// nobody ask it.
func TestHopelessTokensMakeUsAskNobody(t *testing.T) {
	w := newWorld(t)
	v := w.verifier()
	for _, group := range [][]attack{malformed(), algorithms(), headers(), audiences(), times(), others()} {
		for _, a := range group {
			if a.want == verify.Signature {
				continue
			}
			_, err := v.Verify(t.Context(), entra.NewSecret(a.token))
			wantRefused(t, err, a.token, a.want)
		}
	}
	_, err := v.Verify(t.Context(), entra.NewSecret(token(with(v1(), "tid", stranger, "iss", "https://sts.windows.net/"+stranger+"/"))))
	wantRefused(t, err, "", verify.Tenant)
	if got := w.asked(); len(got) > 0 {
		t.Errorf("asked %q, want nobody", got)
	}
}

func TestReasonOfOtherErrorsIsNone(t *testing.T) {
	for _, err := range []error{nil, errors.New("x"), &entra.Error{Kind: entra.Unavailable, Op: "verify.keys", Code: "x"}} {
		if got := verify.ReasonOf(err); got != "" {
			t.Errorf("%v: got %q, want none", err, got)
		}
	}
}

func FuzzVerify(f *testing.F) {
	w := newWorld(f)
	w.config.HTTP = w.offline()
	v := w.verifier()
	good := token(v1())
	f.Add(good)
	for _, group := range [][]attack{malformed(), headers(), issuers(), audiences(), times(), others()} {
		for _, a := range group {
			f.Add(a.token)
		}
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := v.Verify(t.Context(), entra.NewSecret(raw))
		if err == nil {
			if last := strings.LastIndexByte(raw, '.'); !strings.HasPrefix(good, raw[:last]) {
				t.Errorf("accepted %q as %+v", raw, got)
			}
			return
		}
		if verify.ReasonOf(err) == "" {
			t.Errorf("%q: got %v, want a verdict", raw, err)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	v := newWorld(b).verifier()
	shown := entra.NewSecret(token(v1()))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(b.Context(), shown); err != nil {
			b.Fatal(err)
		}
	}
}
