package proxy

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"testing"

	"tokenbroker/entra"
)

// gone is a caller who left.
type gone struct{ http.ResponseWriter }

func (gone) Write([]byte) (int, error) { return 0, net.ErrClosed }

func TestCallerWhoLeavesInTheMiddleOfTheAnswerIsNoted(t *testing.T) {
	var trail entra.Trail
	r := httptest.NewRequestWithContext(entra.WithTrail(t.Context(), &trail), http.MethodGet, "/", nil)
	w := &answerWriter{gone{}, r}
	if _, err := w.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
	if trail.Failure == nil || trail.Failure.Kind != entra.Canceled {
		t.Errorf("trail: %+v", trail)
	}
}

// http.Transport may still have one to pass when it has returned.
func TestNoInterimAnswerPassesTheFinalOne(t *testing.T) {
	w := httptest.NewRecorder()
	i := interim{w: w}
	i.end()
	if err := i.pass(http.StatusEarlyHints, textproto.MIMEHeader{"Link": {"x"}}); err != nil {
		t.Fatal(err)
	}
	if len(w.Header()) != 0 || w.Code != http.StatusOK {
		t.Errorf("passed: %d %v", w.Code, w.Header())
	}
}
