package entra

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
)

// Kind says what has to happen after a failure. Each mount has one table from
// kinds to its own statuses.
type Kind uint8

// The kinds of failure.
const (
	Internal      Kind = iota // unclassified: the caller reads "internal error", the log has the cause
	Invalid                   // a malformed request, scope or setting
	Unadmitted                // an unknown caller
	Denied                    // policy says no
	NotFound                  // no such route or identity
	Misconfigured             // Entra refuses our credential
	Challenged                // a person must act: a claims challenge, or a sign-in
	Throttled                 // too many requests: see RetryAfter
	Unavailable               // Entra unreachable or failing: see RetryAfter
	Upstream                  // an upstream unreachable
	Timeout                   // an upstream late
	Canceled                  // the caller left
	Exhausted                 // the calls that an API takes in a time are used up: see RetryAfter
)

var kindNames = [...]string{
	Internal: "internal", Invalid: "invalid", Unadmitted: "unadmitted", Denied: "denied",
	NotFound: "not_found", Misconfigured: "misconfigured", Challenged: "challenged",
	Throttled: "throttled", Unavailable: "unavailable", Upstream: "upstream",
	Timeout: "timeout", Canceled: "canceled", Exhausted: "exhausted",
}

// String is the kind's name on the wire, in logs and in metrics.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "kind(" + strconv.Itoa(int(k)) + ")"
}

// Kinds lists every kind.
func Kinds() []Kind {
	kinds := make([]Kind, len(kindNames))
	for i := range kinds {
		kinds[i] = Kind(i)
	}
	return kinds
}

// Error is every failure that crosses a package boundary. Its text is our own,
// names the thing and the remedy, and never holds a secret or a body of Entra's.
type Error struct {
	Kind          Kind
	Op            string        // where: "cache.fill"
	Code          string        // RFC 6749 §5.2 error, or our own word such as login_required; may be empty
	AADSTS        int           // Entra's number; zero: none
	CorrelationID string        // Entra's, for its support; may be empty
	Claims        string        // of a claims challenge: JSON that a user's next sign-in has to meet; may be empty
	RetryAfter    time.Duration // zero: not said
	Err           error         // the text for people; may be nil
}

// Errorf makes an Error whose text is the format's. %w wraps.
func Errorf(kind Kind, op, format string, args ...any) *Error {
	return &Error{Kind: kind, Op: op, Err: fmt.Errorf(format, args...)}
}

// Error returns where, what, and Entra's number: for logs and terminals.
func (e *Error) Error() string {
	text := e.Kind.String()
	if e.Err != nil {
		text = e.Err.Error()
	}
	if e.Op != "" {
		text = e.Op + ": " + text
	}
	return text
}

// Unwrap returns the wrapped error.
func (e *Error) Unwrap() error { return e.Err }

// Message is the text for a caller: without the place, and without the cause
// of an internal error.
func (e *Error) Message() string {
	if e.Kind == Internal || e.Err == nil {
		return e.Kind.String() + " error"
	}
	return e.Err.Error()
}

// WaitSeconds is for the header Retry-After (RFC 9110 §10.2.3): after how many
// seconds it may work. Zero where that is not known, or waiting does not help:
// of a refused credential the pause is for us alone.
func (e *Error) WaitSeconds() int {
	switch e.Kind {
	case Throttled, Unavailable, Exhausted:
		return int(math.Ceil(e.RetryAfter.Seconds()))
	default:
		return 0
	}
}

// AsError returns the *Error that err is or wraps. Any other error becomes one:
// a canceled context [Canceled], a deadline [Timeout], the rest [Internal].
// Nil stays nil.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	kind := Internal
	switch {
	case errors.Is(err, context.Canceled):
		kind = Canceled
	case errors.Is(err, context.DeadlineExceeded):
		kind = Timeout
	}
	return &Error{Kind: kind, Err: err}
}

// KindOf returns the kind of err, as [AsError] sees it.
func KindOf(err error) Kind {
	if e := AsError(err); e != nil {
		return e.Kind
	}
	return Internal
}

// Quote writes what a stranger sent into a message: quoted, and cut to a
// length that a log line bears.
func Quote(s string) string {
	const most = 120
	if len(s) > most {
		return strconv.QuoteToASCII(s[:most]) + "…"
	}
	return strconv.QuoteToASCII(s)
}
