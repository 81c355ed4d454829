package entra

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
)

const redacted = "REDACTED"

// Secret holds a client secret, a key, an assertion or a token. However it is
// printed, marshalled or logged, only the word REDACTED comes out;
// [Secret.Reveal] is the only way to the bytes. The zero value is no secret.
type Secret struct {
	// A pointer to a pointer, so that fmt prints an address where it cannot call
	// methods: on a Secret in an unexported field of somebody's struct. A plain
	// pointer to a struct is not enough, %s prints what it points to.
	box **sealed
}

// sealed is what lies behind a Secret. The fields but value are prebuilt for a
// token's hot path and empty for any other secret.
type sealed struct {
	value       string
	fingerprint string
	header      []string // the Authorization header's value
	member      string   // the start of a token answer, see Token.AppendMembers
}

// NewSecret seals value. The empty string gives the zero Secret.
func NewSecret(value string) Secret {
	if value == "" {
		return Secret{}
	}
	return seal(&sealed{value: value})
}

func seal(s *sealed) Secret { return Secret{&s} }

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s.box == nil }

// Reveal returns the secret itself. Call it where the bytes leave for the one
// place that needs them, nowhere else.
func (s Secret) Reveal() string {
	if s.box == nil {
		return ""
	}
	return (*s.box).value
}

// Fingerprint names the secret in logs and audit records: the first twelve hex
// digits of its SHA-256, or "" for the zero Secret.
func (s Secret) Fingerprint() string {
	if s.box == nil {
		return ""
	}
	if known := (*s.box).fingerprint; known != "" {
		return known
	}
	return fingerprint((*s.box).value)
}

func fingerprint(value string) string {
	sum := sha256.Sum256([]byte(value))
	return hex.EncodeToString(sum[:6])
}

// Equal reports whether both are the same secret, in a time that depends on
// neither. A zero Secret equals nothing, not even another zero one.
func (s Secret) Equal(other Secret) bool {
	if s.box == nil || other.box == nil {
		return false
	}
	// Hashing first makes the comparison independent of the lengths too.
	a, b := sha256.Sum256([]byte((*s.box).value)), sha256.Sum256([]byte((*other.box).value))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// String returns REDACTED, or "" for the zero Secret.
func (s Secret) String() string {
	if s.box == nil {
		return ""
	}
	return redacted
}

// Format writes what [Secret.String] returns, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue is what slog writes.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is what encoding/json and its kin write.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText seals what encoding/json and its kin read.
func (s *Secret) UnmarshalText(b []byte) error {
	*s = NewSecret(string(b))
	return nil
}
