package entra

import (
	"context"
	"testing"
)

func TestKeyTellsTokensApart(t *testing.T) {
	base := Request{Identity: "i", Tenant: "t", Scope: "s"}
	for name, other := range map[string]Request{
		"identity":  {Identity: "j", Tenant: "t", Scope: "s"},
		"tenant":    {Identity: "i", Tenant: "u", Scope: "s"},
		"scope":     {Identity: "i", Tenant: "t", Scope: "r"},
		"assertion": {Identity: "i", Tenant: "t", Scope: "s", Assertion: NewSecret("a")},
	} {
		if base.Key() == other.Key() {
			t.Errorf("another %s has the same key", name)
		}
	}
	a, b := base, base
	a.Assertion, b.Assertion = NewSecret("user a"), NewSecret("user b")
	if a.Key() == b.Key() {
		t.Error("two users have the same key")
	}
}

func TestKeyIgnoresWhatDoesNotTellTokensApart(t *testing.T) {
	base := Request{Identity: "i", Tenant: "t", Scope: "s"}
	other := base
	other.Route, other.Use, other.Claims, other.Rejected = "r", Proxy, "{}", "abc"
	if base.Key() != other.Key() {
		t.Error("the keys differ")
	}
}

func TestIdentityIDsDiffer(t *testing.T) {
	if NewIdentityID("https://a", "t", "c", "secret") == NewIdentityID("https://a", "t", "c", "workload-identity") {
		t.Error("two flows have one id")
	}
}

func TestSourceFunc(t *testing.T) {
	want := Errorf(Denied, "", "no")
	src := SourceFunc(func(context.Context, Request) (Token, error) { return Token{}, want })
	if _, err := src.Token(t.Context(), Request{}); err != want { //nolint:errorlint // identity is the point
		t.Errorf("got %v", err)
	}
}

func TestTrailTravelsInTheContext(t *testing.T) {
	trail := &Trail{RequestID: "r"}
	if got := TrailOf(WithTrail(t.Context(), trail)); got != trail {
		t.Errorf("got %+v", got)
	}
	TrailOf(t.Context()).Route = "nobody reads this"
}
