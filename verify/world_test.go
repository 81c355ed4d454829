package verify_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tokenbroker/emulator"
	"tokenbroker/entra"
	"tokenbroker/verify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	host     = "login.microsoftonline.com"
	ours     = "22222222-2222-2222-2222-222222222222"
	customer = "33333333-3333-3333-3333-333333333333" // configured too, with keys of its own
	stranger = "99999999-9999-9999-9999-999999999999"
	client   = "11111111-1111-1111-1111-11111111111a"
	xdr      = "https://api.security.microsoft.com"
	hunter   = "api://contoso/hunter"
)

// Keys take long to make, and no test changes one.
var (
	goodKey     = sync.OnceValue(func() *rsa.PrivateKey { return newKey(2048) })
	customerKey = sync.OnceValue(func() *rsa.PrivateKey { return newKey(2048) })
	strangerKey = sync.OnceValue(func() *rsa.PrivateKey { return newKey(2048) })
	smallKey    = sync.OnceValue(func() *rsa.PrivateKey { return newKey(1024) })
)

func newKey(bits int) *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return key
}

// object is a JSON object.
type object = map[string]any

// with is the object with members set; nil takes one away.
func with(o object, members ...any) object {
	o = maps.Clone(o)
	for i := 0; i < len(members); i += 2 {
		o[members[i].(string)] = members[i+1]
		if members[i+1] == nil {
			delete(o, members[i].(string))
		}
	}
	return o
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func marshal(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// jwk is the key as the authority publishes it.
func jwk(kid string, key *rsa.PrivateKey) object {
	return object{"kty": "RSA", "use": "sig", "kid": kid, "n": encode(key.N.Bytes()), "e": encode(big.NewInt(int64(key.E)).Bytes())}
}

// minted is a token before it is signed.
type minted struct {
	header, claims string // JSON
	sign           func(signed string) []byte
}

// v1 is a good token of version 1.
func v1() object {
	return object{
		"aud": xdr, "iss": "https://sts.windows.net/" + ours + "/", "tid": ours, "appid": client, "idtyp": "app",
		"oid": "44444444-4444-4444-4444-444444444444", "roles": []string{"Incident.Read.All"}, "ver": "1.0",
		"nbf": time.Now().Add(-5 * time.Minute).Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}
}

// v2 is a good token of version 2, of a user.
func v2() object {
	return with(v1(), "aud", client, "iss", "https://"+host+"/"+ours+"/v2.0", "ver", "2.0",
		"appid", nil, "azp", stranger, "roles", nil, "scp", "access_as_user")
}

func header() object { return object{"typ": "JWT", "alg": "RS256", "kid": "good", "x5t": "good"} }

func rs256(key *rsa.PrivateKey) func(string) []byte {
	return func(signed string) []byte {
		sum := sha256.Sum256([]byte(signed))
		sig, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
		if err != nil {
			panic(err)
		}
		return sig
	}
}

func ps256(key *rsa.PrivateKey, salt int) func(string) []byte {
	return func(signed string) []byte {
		sum := sha256.Sum256([]byte(signed))
		sig, err := rsa.SignPSS(rand.Reader, key, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: salt})
		if err != nil {
			panic(err)
		}
		return sig
	}
}

func (m minted) String() string {
	signed := encode([]byte(m.header)) + "." + encode([]byte(m.claims))
	return signed + "." + encode(m.sign(signed))
}

// token signs claims with the good key.
func token(claims object) string {
	return minted{marshal(header()), marshal(claims), rs256(goodKey())}.String()
}

// signed is a token under another key id.
func signed(kid string, key *rsa.PrivateKey, claims object) string {
	return minted{marshal(with(header(), "kid", kid)), marshal(claims), rs256(key)}.String()
}

// authority publishes keys, and counts.
type authority struct {
	mu       sync.Mutex
	keys     map[string][]object // by tenant
	document object              // members of the discovery document that differ
	answer   http.HandlerFunc    // what is answered in place of everything; nil: nothing
	requests []string            // host and path
}

func (a *authority) set(edit func(*authority)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	edit(a)
}

// asked returns the requests since the last call.
func (a *authority) asked() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	requests := a.requests
	a.requests = nil
	return requests
}

func (a *authority) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.requests = append(a.requests, r.Method+" "+r.Host+r.URL.RequestURI())
	answer := a.answer
	a.mu.Unlock()
	if answer != nil {
		answer(w, r)
		return
	}
	a.publish(w, r)
}

func (a *authority) publish(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	name, rest, _ := strings.Cut(r.URL.Path[1:], "/")
	id := map[string]string{"contoso.example": ours, "fabrikam.example": customer}[name]
	if id == "" {
		id = name
	}
	base := "https://" + r.Host + "/" + id
	switch rest {
	case "v2.0/.well-known/openid-configuration":
		doc := object{"issuer": base + "/v2.0", "jwks_uri": base + "/discovery/v2.0/keys"}
		maps.Copy(doc, a.document)
		_, _ = w.Write([]byte(marshal(doc)))
	case "discovery/v2.0/keys":
		_, _ = w.Write([]byte(marshal(object{"keys": a.keys[id]})))
	default:
		http.NotFound(w, r)
	}
}

const (
	discovery = "GET " + host + "/" + ours + "/v2.0/.well-known/openid-configuration"
	keys      = "GET " + host + "/" + ours + "/discovery/v2.0/keys"
)

// world is an authority at its host, and a stranger's host that must never be
// asked.
type world struct {
	*authority
	stranger *authority
	network  *emulator.Network
	config   verify.Config
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	ca, err := emulator.NewCA()
	if err != nil {
		tb.Fatal(err)
	}
	w := &world{
		authority: &authority{keys: map[string][]object{
			ours:     {jwk("good", goodKey())},
			customer: {jwk("customer", customerKey())},
			stranger: {jwk("stranger", strangerKey())},
		}},
		stranger: &authority{keys: map[string][]object{ours: {jwk("stranger", strangerKey())}}},
		network:  emulator.NewNetwork(),
	}
	w.serve(tb, ca, host, w.authority)
	w.serve(tb, ca, "stranger.example", w.stranger)
	transport := &http.Transport{
		DialContext:     w.network.DialContext,
		TLSClientConfig: &tls.Config{RootCAs: ca.Pool(), MinVersion: tls.VersionTLS12},
	}
	tb.Cleanup(transport.CloseIdleConnections)
	w.config = verify.Config{
		Authority: entra.Public.Authority(),
		Tenants:   []entra.Tenant{ours, customer},
		Audiences: []string{client, xdr, hunter},
		HTTP:      &http.Client{Transport: transport},
		Logger:    slog.New(slog.DiscardHandler),
	}
	tb.Cleanup(func() {
		if asked := w.stranger.asked(); len(asked) > 0 {
			tb.Errorf("the stranger was asked: %q", asked)
		}
	})
	return w
}

func (w *world) serve(tb testing.TB, ca *emulator.CA, host string, h http.Handler) {
	tb.Helper()
	l, err := w.network.Listen(host)
	if err != nil {
		tb.Fatal(err)
	}
	server := &http.Server{Handler: h, TLSConfig: ca.ServerTLS(host), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	done := make(chan error, 1)
	go func() { done <- server.ServeTLS(l, "", "") }()
	tb.Cleanup(func() {
		_ = server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			tb.Errorf("serve: %v", err)
		}
	})
}

func (w *world) verifier() *verify.Verifier { return verify.New(w.config) }

// offline is a client that finds the authority at every address.
func (w *world) offline() *http.Client {
	return &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		r.Host = r.URL.Host
		answer := httptest.NewRecorder()
		w.ServeHTTP(answer, r)
		return answer.Result(), nil
	})}
}

// roundTrip is a transport without a network.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// wantRefused holds a refusal to its reason and kind, and to not repeating the
// token.
func wantRefused(tb testing.TB, err error, token string, want verify.Reason) {
	tb.Helper()
	kind := entra.Unadmitted
	if want == verify.Malformed || want == verify.Opaque || want == verify.Encrypted {
		kind = entra.Invalid
	}
	if got := verify.ReasonOf(err); got != want || entra.KindOf(err) != kind {
		tb.Fatalf("got %s, %s (%v), want %s, %s", got, entra.KindOf(err), err, want, kind)
	}
	wantNoToken(tb, err, token)
}

func wantNoToken(tb testing.TB, err error, token string) {
	tb.Helper()
	for part := range strings.SplitSeq(token, ".") {
		for i := 0; i+12 <= len(part); i += 12 {
			if strings.Contains(err.Error(), part[i:i+12]) {
				tb.Errorf("error %q holds %q of the token", err, part[i:i+12])
			}
		}
	}
}

func wantUnavailable(tb testing.TB, err error, text string) {
	tb.Helper()
	e := entra.AsError(err)
	if e == nil || e.Kind != entra.Unavailable || verify.ReasonOf(err) != "" || !strings.Contains(e.Error(), text) {
		tb.Fatalf("got %v, want an error of kind unavailable with %q", err, text)
	}
	if e.RetryAfter <= 0 || e.RetryAfter > time.Minute {
		tb.Errorf("retry after %s, want up to a minute", e.RetryAfter)
	}
}
