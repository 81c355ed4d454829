package entra

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestAsErrorClassifies(t *testing.T) {
	own := Errorf(Denied, "op", "no")
	for _, row := range []struct {
		err  error
		want Kind
	}{
		{own, Denied},
		{fmt.Errorf("more: %w", own), Denied},
		{errors.Join(errors.New("x"), own), Denied},
		{context.Canceled, Canceled},
		{fmt.Errorf("x: %w", context.DeadlineExceeded), Timeout},
		{errors.New("x"), Internal},
	} {
		if got := KindOf(row.err); got != row.want {
			t.Errorf("KindOf(%v) = %v, want %v", row.err, got, row.want)
		}
	}
	if AsError(nil) != nil || KindOf(nil) != Internal {
		t.Error("nil is not nil")
	}
}

func TestErrorTexts(t *testing.T) {
	e := Errorf(Invalid, "parse.x", "x %q: want y", "z")
	if got, want := e.Error(), `parse.x: x "z": want y`; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
	if got, want := e.Message(), `x "z": want y`; got != want {
		t.Errorf("Message() = %q, want %q", got, want)
	}
	internal := &Error{Op: "here", Err: errors.New("a cause for the log")}
	if got, want := internal.Message(), "internal error"; got != want {
		t.Errorf("Message() = %q, want %q", got, want)
	}
	if got, want := internal.Error(), "here: a cause for the log"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
	if got, want := (&Error{Kind: Throttled}).Error(), "throttled"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
}

func TestKindsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range Kinds() {
		if name := k.String(); name == "" || strings.HasPrefix(name, "kind(") || seen[name] {
			t.Errorf("kind %d is called %q", k, name)
		} else {
			seen[name] = true
		}
	}
	if got, want := Kind(200).String(), "kind(200)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestQuoteBoundsAndEscapes(t *testing.T) {
	if got, want := Quote("a\n\x1b[31m"), `"a\n\x1b[31m"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := Quote(strings.Repeat("x", 1000)); len(got) > 130 {
		t.Errorf("%d bytes", len(got))
	}
}
