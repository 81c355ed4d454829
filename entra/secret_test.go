package entra

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

const canary = "c4n4ry-secret-value"

func TestSecretIsNeverPrinted(t *testing.T) {
	tok, err := NewToken(canary, "https://a.example/.default", time.Now(), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	type hidden struct{ inner struct{ s Secret } }
	h := hidden{}
	h.inner.s = NewSecret(canary)
	values := map[string]any{
		"secret": NewSecret(canary), "pointer": new(NewSecret(canary)), "unexported": h, "pointer to unexported": &h,
		"slice": []Secret{NewSecret(canary)}, "map": map[string]Secret{"k": NewSecret(canary)}, "any": any(NewSecret(canary)),
		"token": tok, "pointer to token": &tok, "request": Request{Assertion: NewSecret(canary)},
	}
	for name, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "%p", "%08.3f"} {
			if out := fmt.Sprintf(verb, v); leaks(out) {
				t.Errorf("%s by %s: %s", name, verb, out)
			}
		}
		if out, _ := json.Marshal(v); leaks(string(out)) {
			t.Errorf("%s by JSON: %s", name, out)
		}
		for kind, newHandler := range map[string]func(*bytes.Buffer) slog.Handler{
			"text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
			"json": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
		} {
			var b bytes.Buffer
			slog.New(newHandler(&b)).Info("m", "v", v, "group", slog.GroupValue(slog.Any("v", v)))
			if leaks(b.String()) {
				t.Errorf("%s by slog %s: %s", name, kind, b.String())
			}
		}
	}
}

// leaks also looks for the hex and the byte list that fmt makes of a string.
func leaks(out string) bool {
	hex := fmt.Sprintf("%x", canary)
	return strings.Contains(out, canary) || strings.Contains(strings.ToLower(out), hex) ||
		strings.Contains(out, strings.Trim(fmt.Sprintf("%d", []byte(canary)), "[]"))
}

func TestSecretSaysThatItIsRedacted(t *testing.T) {
	s := NewSecret(canary)
	if got := fmt.Sprintf("%v %s", s, s); got != "REDACTED REDACTED" {
		t.Errorf("printed as %q", got)
	}
	if got, _ := json.Marshal(s); string(got) != `"REDACTED"` {
		t.Errorf("marshalled as %s", got)
	}
	if s.Reveal() != canary || s.IsZero() {
		t.Error("the secret is lost")
	}
}

func TestZeroSecret(t *testing.T) {
	var zero Secret
	if NewSecret("") != zero || !zero.IsZero() || zero.Reveal() != "" || zero.Fingerprint() != "" || zero.String() != "" {
		t.Error("the zero Secret is not empty")
	}
	if zero.Equal(zero) || zero.Equal(NewSecret("x")) || NewSecret("x").Equal(zero) {
		t.Error("the zero Secret equals something")
	}
}

func TestSecretEqualAndFingerprint(t *testing.T) {
	a, same, other := NewSecret("abc"), NewSecret("abc"), NewSecret("abd")
	if !a.Equal(same) || a.Equal(other) {
		t.Error("Equal is wrong")
	}
	if got, want := a.Fingerprint(), "ba7816bf8f01"; got != want {
		t.Errorf("Fingerprint() = %q, want %q", got, want)
	}
}

func TestSecretUnmarshals(t *testing.T) {
	var v struct{ S Secret }
	if err := json.Unmarshal([]byte(`{"S":"abc"}`), &v); err != nil || v.S.Reveal() != "abc" {
		t.Errorf("got %q, %v", v.S.Reveal(), err)
	}
}
