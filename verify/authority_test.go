package verify_test

import (
	"compress/gzip"
	"encoding/base64"
	"io"
	"math/big"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/entra"
	"tokenbroker/verify"
)

// A key that is not for the signatures of this tenant's tokens signs nothing,
// whatever else the set holds.
func TestKeySets(t *testing.T) {
	good := jwk("good", goodKey())
	for _, tc := range []struct {
		name string
		keys []any
		good bool
	}{
		{"the good one", []any{good}, true},
		{"without a use", []any{with(good, "use", nil)}, true},
		{"to verify with", []any{with(good, "use", nil, "key_ops", []string{"verify"})}, true},
		{"for RS256", []any{with(good, "alg", "RS256")}, true},
		{"of a template's tenant", []any{with(good, "issuer", "https://"+host+"/{tenantid}/v2.0")}, true},
		{"of this tenant", []any{with(good, "issuer", "https://"+host+"/"+ours+"/v2.0")}, true},
		{"with zeros before", []any{with(good, "n", encode(append([]byte{0, 0}, goodKey().N.Bytes()...)))}, true},
		{"after its like", []any{good, good}, true},
		{"after another by its name", []any{jwk("good", strangerKey()), good}, true},
		{"before another by its name", []any{good, jwk("good", strangerKey())}, true},
		{"after one for another algorithm", []any{with(jwk("good", strangerKey()), "alg", "PS256"), good}, true},
		{"among what cannot be read", []any{
			nil, 1, "key",
			[]any{},
			object{},
			object{"kty": 1},
			object{"kty": "OKP", "kid": "good", "crv": "Ed448", "x": "AA"},
			object{"kty": "EC", "kid": "good", "crv": "P-256", "x": "AA", "y": "AA"},
			object{"kty": "oct", "kid": "good", "k": "AA"},
			with(good, "n", "!"), with(good, "e", "!"), with(good, "kid", nil), good,
		}, true},

		{"to encrypt with", []any{with(good, "use", "enc")}, false},
		{"to sign with", []any{with(good, "key_ops", []string{"sign"})}, false},
		{"for nothing", []any{with(good, "key_ops", []string{})}, false},
		{"for PS256", []any{with(good, "alg", "PS256")}, false},
		{"for RS512", []any{with(good, "alg", "RS512")}, false},
		{"of another tenant", []any{with(good, "issuer", "https://"+host+"/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0")}, false},
		{"another type", []any{with(good, "kty", "rsa")}, false},
		{"a secret", []any{with(good, "kty", "oct", "k", good["n"])}, false},
		{"another key by its name", []any{jwk("good", strangerKey())}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			// Beside it stands a key that is not asked for, so that the set is never empty.
			set := marshal(object{"keys": append([]any{jwk("other", strangerKey())}, tc.keys...)})
			w.set(func(a *authority) {
				a.answer = func(rw http.ResponseWriter, r *http.Request) {
					if strings.HasSuffix(r.URL.Path, "/keys") {
						_, _ = io.WriteString(rw, set)
						return
					}
					a.publish(rw, r)
				}
			})
			shown := token(v1())
			_, err := w.verifier().Verify(t.Context(), entra.NewSecret(shown))
			if !tc.good {
				wantRefused(t, err, shown, verify.Signature)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// What is no RSA key of a sound size is none: alone, it is as if the authority
// had none at all.
func TestNumbersThatAreNoKey(t *testing.T) {
	bit := func(i int, b uint) string {
		return encode(new(big.Int).SetBit(new(big.Int).Set(goodKey().N), i, b).Bytes())
	}
	for _, tc := range []struct{ name, member, number string }{
		{"even", "n", bit(0, 0)},
		{"huge", "n", bit(9000, 1)},
		{"short", "n", encode(smallKey().N.Bytes())},
		{"no modulus", "n", ""},
		{"modulus in the other alphabet", "n", base64.StdEncoding.EncodeToString(append([]byte{0xff}, goodKey().N.Bytes()...))},
		{"no exponent", "e", ""},
		{"exponent one", "e", "AQ"},
		{"exponent even", "e", "AQAA"},
		{"exponent huge", "e", encode([]byte{1, 0, 0, 0, 1})},
		{"exponent in the other alphabet", "e", "+/+/"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.keys[ours] = []object{with(jwk("good", goodKey()), tc.member, tc.number)}
			_, err := w.verifier().Verify(t.Context(), entra.NewSecret(token(v1())))
			wantUnavailable(t, err, "without an RSA key")
		})
	}
}

// Without a name a key signs nothing, not even for a token that names none.
func TestKeysWithoutANameSignNothing(t *testing.T) {
	w := newWorld(t)
	w.keys[ours] = []object{with(jwk("", goodKey()), "kid", nil), jwk("", goodKey())}
	shown := minted{marshal(with(header(), "kid", nil)), marshal(v1()), rs256(goodKey())}.String()
	v := w.verifier()
	_, _ = v.Verify(t.Context(), entra.NewSecret(token(v1()))) // fetches
	_, err := v.Verify(t.Context(), entra.NewSecret(shown))
	wantRefused(t, err, shown, verify.Signature)
}

// A signature that is right counts for nothing when its key is too short.
func TestShortKeysSignNothing(t *testing.T) {
	w := newWorld(t)
	w.set(func(a *authority) { a.keys[ours] = append(a.keys[ours], jwk("small", smallKey())) })
	shown := signed("small", smallKey(), v1())
	_, err := w.verifier().Verify(t.Context(), entra.NewSecret(shown))
	wantRefused(t, err, shown, verify.Signature)
}

// An authority that lies, or is somebody else's, gives no keys, and steers us
// nowhere.
func TestBadAuthorities(t *testing.T) {
	says := func(members ...any) func(*world) {
		return func(w *world) { w.document = with(object{}, members...) }
	}
	answers := func(suffix string, answer http.HandlerFunc) func(*world) {
		return func(w *world) {
			w.answer = func(rw http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, suffix) {
					answer(rw, r)
					return
				}
				w.publish(rw, r)
			}
		}
	}
	text := func(status int, body string) http.HandlerFunc {
		return func(rw http.ResponseWriter, _ *http.Request) {
			rw.WriteHeader(status)
			_, _ = io.WriteString(rw, body)
		}
	}
	redirect := func(to string) http.HandlerFunc {
		return func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, to, http.StatusFound) }
	}
	long := `{"keys":[],"x":"` + strings.Repeat("x", 1<<20) + `"}`
	const doc = "/openid-configuration"
	for _, tc := range []struct {
		name  string
		lie   func(*world)
		want  string
		asked []string
	}{
		{"another tenant's issuer", says("issuer", "https://"+host+"/"+customer+"/v2.0"), "calls itself", []string{discovery}},
		{"another host's issuer", says("issuer", "https://stranger.example/"+ours+"/v2.0"), "calls itself", []string{discovery}},
		{"version 1's issuer", says("issuer", "https://sts.windows.net/"+ours+"/"), "calls itself", []string{discovery}},
		{"a template as issuer", says("issuer", "https://"+host+"/{tenantid}/v2.0"), "calls itself", []string{discovery}},
		{"a domain as issuer", says("issuer", "https://"+host+"/contoso.example/v2.0"), "calls itself", []string{discovery}},
		{"a GUID as issuer", says("issuer", ours), "calls itself", []string{discovery}},
		{"half an issuer", says("issuer", "https://"+host+"/"+ours), "calls itself", []string{discovery}},
		{"no issuer", says("issuer", ""), "calls itself", []string{discovery}},
		{"keys at another host", says("jwks_uri", "https://stranger.example/"+ours+"/discovery/v2.0/keys"), "want a place of", []string{discovery}},
		{"keys in clear text", says("jwks_uri", "http://"+host+"/"+ours+"/discovery/v2.0/keys"), "want a place of", []string{discovery}},
		{"keys at another port", says("jwks_uri", "https://"+host+":8443/keys"), "want a place of", []string{discovery}},
		{"keys in a file", says("jwks_uri", "file:///etc/passwd"), "want a place of", []string{discovery}},
		{"keys behind a user", says("jwks_uri", "https://"+host+"@stranger.example/keys"), "want a place of", []string{discovery}},
		{"keys with a user", says("jwks_uri", "https://user@"+host+"/keys"), "want a place of", []string{discovery}},
		{"keys nowhere", says("jwks_uri", ""), "want a place of", []string{discovery}},
		{"keys at no address", says("jwks_uri", "https://%zz"), "want a place of", []string{discovery}},
		{"discovery elsewhere", answers(doc, redirect("https://stranger.example/"+ours+doc)), "status 302", []string{discovery}},
		{"discovery in clear text", answers(doc, redirect("http://"+host+"/")), "status 302", []string{discovery}},
		{"keys elsewhere", answers("/keys", redirect("https://stranger.example/"+ours+"/discovery/v2.0/keys")), "status 302", []string{discovery, keys}},
		{"no such tenant", answers(doc, text(400, `{"error":"invalid_tenant"}`)), "status 400", []string{discovery}},
		{"discovery fails", answers(doc, text(503, "x")), "status 503", []string{discovery}},
		{"keys fail", answers("/keys", text(500, "x")), "status 500", []string{discovery, keys}},
		{"discovery a page", answers(doc, text(200, "<html>Sign in to the network</html>")), "no JSON", []string{discovery}},
		{"discovery an array", answers(doc, text(200, "[]")), "no JSON", []string{discovery}},
		{"keys an array", answers("/keys", text(200, "[]")), "no JSON", []string{discovery, keys}},
		{"keys too long", answers("/keys", text(200, long)), "too long", []string{discovery, keys}},
		{"keys long when unpacked", answers("/keys", func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(rw)
			_, _ = io.WriteString(z, long)
			_ = z.Close()
		}), "too long", []string{discovery, keys}},
		{"keys cut off", answers("/keys", func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(rw, `{"keys":[`)
		}), "cut off", []string{discovery, keys}},
		{"no keys", func(w *world) { w.keys[ours] = nil }, "without an RSA key", []string{discovery, keys}},
		{"no key that serves", func(w *world) { w.keys[ours] = []object{jwk("good", smallKey())} }, "without an RSA key", []string{discovery, keys}},
		{"down", func(w *world) { w.network.SetDown(host, true) }, "does not answer", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			tc.lie(w)
			shown := token(v1())
			_, err := w.verifier().Verify(t.Context(), entra.NewSecret(shown))
			wantUnavailable(t, err, tc.want)
			wantNoToken(t, err, shown)
			if diff := cmp.Diff(w.asked(), tc.asked); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The authority's older names are its own.
func TestKeysUnderAnAlias(t *testing.T) {
	w := newWorld(t)
	w.document = object{"jwks_uri": "https://login.windows.net/" + ours + "/discovery/v2.0/keys"}
	w.config.HTTP = w.offline()
	if _, err := w.verifier().Verify(t.Context(), entra.NewSecret(token(v1()))); err != nil {
		t.Error(err)
	}
}

// An authority whose address cannot stand in a request is like one that is
// away.
func TestImpossibleAuthority(t *testing.T) {
	w := newWorld(t)
	w.config.Authority = "https://%zz"
	_, err := w.verifier().Verify(t.Context(), entra.NewSecret(token(with(v1(), "iss", "https://sts.windows.net/"+ours+"/"))))
	wantUnavailable(t, err, "invalid URL escape")
}

// The client that is handed in may follow redirects and keep cookies; here it
// does not, and it stays as it is for others.
func TestClientIsNotChanged(t *testing.T) {
	w := newWorld(t)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	w.config.HTTP.Jar = jar
	w.answer = func(rw http.ResponseWriter, r *http.Request) {
		if cookies := r.Cookies(); len(cookies) > 0 {
			t.Errorf("it came with cookies: %v", cookies)
		}
		http.SetCookie(rw, &http.Cookie{Name: "fpc", Value: "x", Path: "/"})
		w.publish(rw, r)
	}
	if _, err := w.verifier().Verify(t.Context(), entra.NewSecret(token(v1()))); err != nil {
		t.Fatal(err)
	}
	if w.config.HTTP.Jar != jar || w.config.HTTP.CheckRedirect != nil {
		t.Error("the client was changed")
	}
}

// A tenant that is configured by a domain is found by its GUID, which the
// authority tells.
func TestTenantsByDomain(t *testing.T) {
	w := newWorld(t)
	w.config.Tenants = []entra.Tenant{"fabrikam.example", "contoso.example", "gone.example"}
	w.answer = func(rw http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "gone.example") {
			http.Error(rw, "AADSTS90002", http.StatusBadRequest)
			return
		}
		w.publish(rw, r)
	}
	v := w.verifier()
	for range 3 {
		got, err := v.Verify(t.Context(), entra.NewSecret(token(v1())))
		if err != nil || got.Tenant != "contoso.example" {
			t.Fatalf("got %s, %v, want contoso.example's", got.Tenant, err)
		}
	}
	// Whether gone.example is the stranger's tenant cannot be told.
	_, err := v.Verify(t.Context(), entra.NewSecret(token(with(v1(), "tid", stranger, "iss", "https://sts.windows.net/"+stranger+"/"))))
	wantUnavailable(t, err, "gone.example")
	for _, asked := range w.asked() {
		if strings.Contains(asked, stranger) {
			t.Errorf("a stranger's token made us ask %s", asked)
		}
	}

	w.config.Tenants = w.config.Tenants[:2]
	v = w.verifier()
	for i := range 3 {
		shown := token(with(v1(), "tid", stranger, "iss", "https://sts.windows.net/"+stranger+"/"))
		_, err := v.Verify(t.Context(), entra.NewSecret(shown))
		wantRefused(t, err, shown, verify.Tenant)
		if got := w.asked(); i > 0 && len(got) > 0 || len(got) > 4 {
			t.Errorf("verification %d asked %q", i, got)
		}
	}
}
