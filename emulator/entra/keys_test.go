package entraemu_test

import (
	"crypto/rsa"
	"encoding/json"
	"testing"

	"tokenbroker/entra"
)

// kid names the key of a token.
func kid(t *testing.T, token string) string {
	t.Helper()
	parsed, err := entra.ParseJWT(token)
	var header struct{ Kid string }
	if err != nil || json.Unmarshal(parsed.Header, &header) != nil {
		t.Fatalf("got %v", err)
	}
	return header.Kid
}

func TestKeyRollover(t *testing.T) {
	w := newWorld(t)
	before, _ := w.token(t, w.bySecret())
	assertion := w.forBroker(t, alice, tenant)
	for _, next := range []*rsa.PrivateKey{otherKey(), nil} {
		if err := w.RotateKey(next); err != nil {
			t.Fatal(err)
		}
	}
	after, _ := w.token(t, w.bySecret())
	var set struct{ Keys []struct{ Kid string } }
	if err := json.Unmarshal([]byte(w.get(t, "/common/discovery/v2.0/keys").body), &set); err != nil || len(set.Keys) != 3 {
		t.Fatalf("got %+v, %v", set, err)
	}
	if set.Keys[0].Kid != kid(t, after.Access) || set.Keys[2].Kid != kid(t, before.Access) || kid(t, after.Access) == kid(t, before.Access) {
		t.Errorf("got %+v", set)
	}
	if _, err := w.Verify(before.Access); err != nil {
		t.Errorf("a token of before: %v", err)
	}
	w.userToken(t, tokenPath, w.onBehalf(assertion))
	if err := w.RotateKey(&rsa.PrivateKey{}); entra.KindOf(err) != entra.Invalid {
		t.Errorf("an empty key: got %v", err)
	}
}
