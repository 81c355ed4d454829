package guard_test

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"tokenbroker/entra"
	"tokenbroker/guard"
)

func TestRedactTakesKeysOutOfTexts(t *testing.T) {
	const (
		odd  = `odd"key\with:all{that}'is%41`
		long = keyA + "/and-more-of-it"
	)
	g := guard.New(guard.Config{Keys: named("alpha", keyA, "beta", odd, "gamma", long)})
	whole := "(not written down: a caller key is in it)"
	for text, want := range map[string]string{
		"":                            "",
		"scope: none":                 "scope: none",
		keyA[:20] + " " + keyA[1:]:    keyA[:20] + " " + keyA[1:],
		keyB:                          keyB,
		"100% of \\":                  "100% of \\",
		keyA:                          "(caller key)",
		`Host "` + keyA + `": no`:     `Host "(caller key)": no`,
		"x" + keyA + "x" + keyA:       "x(caller key)x(caller key)",
		long + "|" + odd:              "(caller key)|(caller key)",
		"Origin %6B" + keyA[1:]:       whole,
		"Origin %256B" + keyA[1:]:     whole,
		"scope " + strconv.Quote(odd): whole,
		// Quoted, and cut in the midst of a key.
		"scope " + entra.Quote(strings.Repeat("x", 100)+keyA): `scope "` + strings.Repeat("x", 100) + `(caller key)"…`,
		"scope " + entra.Quote(strings.Repeat("x", 121)):      `scope "` + strings.Repeat("x", 120) + `"…`,
	} {
		if got := g.Redact(text); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
		if got, want := g.HoldsKey(text), text != want; got != want {
			t.Errorf("%s: HoldsKey is %v, want %v", text, got, want)
		}
	}
}

func TestNothingIsRedactedWithoutKeys(t *testing.T) {
	failure := entra.Errorf(entra.Invalid, "op", "%s", keyA)
	for name, cfg := range map[string]guard.Config{"none configured": {}, "an empty keyring": {Keys: keys()}} {
		g := guard.New(cfg)
		if g.HoldsKey(keyA) || g.Redact(keyA) != keyA || g.RedactError(failure) != failure || guard.RedactError(g.WithRedaction(t.Context()), failure) != failure {
			t.Errorf("%s: a text like any other is redacted", name)
		}
	}
	if guard.New(guard.Config{}).WithRedaction(t.Context()) != t.Context() {
		t.Error("a context is made for nothing")
	}
}

func TestRedactedErrorsStayWhatTheyAre(t *testing.T) {
	g := guard.New(guard.Config{Keys: keys(keyA)})
	cause := &http.MaxBytesError{Limit: 1}
	failure := entra.Errorf(entra.Invalid, "native.ask", "parameter %s: %w", entra.Quote(keyA), cause)
	failure.Code = "invalid_request"
	for way, got := range map[string]*entra.Error{
		"of a guard":   g.RedactError(failure),
		"of a context": guard.RedactError(g.WithRedaction(t.Context()), failure),
	} {
		if want := `native.ask: parameter "(caller key)": ` + cause.Error(); got.Error() != want {
			t.Errorf("%s: got %q, want %q", way, got, want)
		}
		if !errors.Is(got, cause) || got.Kind != entra.Invalid || got.Code != "invalid_request" {
			t.Errorf("%s: got %+v, want the rest of it as it was", way, got)
		}
	}
	if !strings.Contains(failure.Error(), keyA) {
		t.Error("the error itself was changed, which others may have")
	}
	for _, other := range []*entra.Error{{Kind: entra.Internal}, entra.Errorf(entra.Denied, "op", "no")} {
		if got := g.RedactError(other); got != other {
			t.Errorf("got %v, want %v itself", got, other)
		}
	}
}

// Whatever check refuses a request, and it need not be that of misplaced keys,
// what it says can be written down.
func TestRefusalsAreWrittenDownWithoutKeys(t *testing.T) {
	g := guard.New(guard.Config{Keys: named("alpha", keyA, "beta", strings.Repeat(keyB, 5))})
	for name, change := range map[string]func(*http.Request){
		"host":             func(r *http.Request) { r.Host = keyA },
		"host and port":    func(r *http.Request) { r.Host = keyA + ".example:80" },
		"long host":        func(r *http.Request) { r.Host = strings.Repeat("x", 60) + strings.Repeat(keyB, 5) },
		"origin":           func(r *http.Request) { r.Header.Set("Origin", "https://"+keyA) },
		"encoded origin":   func(r *http.Request) { r.Header.Set("Origin", "%6B"+keyA[1:]) },
		"site":             func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", keyA) },
		"path, then host":  func(r *http.Request) { r.URL.Path, r.Host = "/"+keyA, "evil.example" },
		"query, then host": func(r *http.Request) { r.URL.RawQuery, r.Host = keyA, "evil.example" },
	} {
		r := request(t, http.Header{})
		change(r)
		_, err := g.Admit(r, guard.HeaderKeys)
		if err == nil {
			t.Fatalf("%s: admitted", name)
		}
		text := g.RedactError(entra.AsError(err)).Error()
		if slices.ContainsFunc([]string{keyA, keyA[1:], keyB}, func(key string) bool { return strings.Contains(text, key) }) {
			t.Errorf("%s: a key is written down: %s", name, text)
		}
	}
}
