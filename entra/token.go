package entra

import (
	"encoding/json"
	"strconv"
	"time"
)

// Token is an access token as a [Source] gives it. It is immutable; copies
// share what lies behind Access.
type Token struct {
	Access    Secret
	Scope     Scope
	ExpiresOn time.Time // not used at or after this instant
	RefreshOn time.Time // from here on a new one should be fetched; zero: never said
}

// NewToken makes a token and prebuilds what the hot path sends: the header and
// the first members of a token answer. A token that is not RFC 6750 §2.1
// material (empty, or with a byte that cannot stand in a header) is refused.
func NewToken(access string, scope Scope, expiresOn, refreshOn time.Time) (Token, error) {
	if !isB64Token(access) {
		return Token{}, Errorf(Unavailable, "entra.token", "the authority answered with something that is no bearer token")
	}
	quotedScope, _ := json.Marshal(string(scope))
	return Token{
		Access: seal(&sealed{
			value:       access,
			fingerprint: fingerprint(access),
			header:      []string{"Bearer " + access},
			member:      `"access_token":"` + access + `","token_type":"Bearer","scope":` + string(quotedScope),
		}),
		Scope:     scope,
		ExpiresOn: expiresOn,
		RefreshOn: refreshOn,
	}, nil
}

// isB64Token holds s to RFC 6750 §2.1: b64token.
func isB64Token(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case isDigit(c), isLower(c | 0x20), c == '-', c == '.', c == '_', c == '~', c == '+', c == '/', c == '=':
		default:
			return false
		}
	}
	return s != ""
}

// ValidFor reports whether the token is good for at least margin from now.
func (t *Token) ValidFor(now time.Time, margin time.Duration) bool {
	return !t.Access.IsZero() && now.Add(margin).Before(t.ExpiresOn)
}

// Stale reports whether the time to refresh has come.
func (t *Token) Stale(now time.Time) bool {
	return !t.RefreshOn.IsZero() && !now.Before(t.RefreshOn)
}

// Header returns the value of an Authorization header, ready to be put into an
// [net/http.Header]. The slice is shared: nobody may write to it.
func (t *Token) Header() []string {
	if t.Access.box == nil {
		return nil
	}
	return (*t.Access.box).header
}

// AppendAccess appends the token itself, for an answer that is nothing but the
// token.
func (t *Token) AppendAccess(b []byte) []byte { return append(b, t.Access.Reveal()...) }

// AppendMembers appends the members of a token answer (RFC 6749 §5.1) with
// expires_on, epoch seconds, beside expires_in, as Entra's v1 endpoint has it.
// The braces are the caller's, so that a protocol can add members of its own.
func (t *Token) AppendMembers(b []byte, now time.Time) []byte {
	if t.Access.box == nil {
		return b
	}
	b = append(b, (*t.Access.box).member...)
	b = append(b, `,"expires_in":`...)
	b = strconv.AppendInt(b, int64(max(t.ExpiresOn.Sub(now), 0)/time.Second), 10)
	b = append(b, `,"expires_on":`...)
	return strconv.AppendInt(b, t.ExpiresOn.Unix(), 10)
}

// JWT decodes the token without checking its signature; see [ParseJWT].
func (t *Token) JWT() (JWT, error) { return ParseJWT(t.Access.Reveal()) }
