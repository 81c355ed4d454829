package entra

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
)

// maxJWT bounds a token to decode, in bytes, and maxDepth how deep its JSON is
// nested. A token with two hundred groups is about 16 KiB, and three deep.
const (
	maxJWT   = 256 << 10
	maxDepth = 32
)

// Claims are the claims of an access token that matter to its use, in the v1
// format that the Defender APIs get even from the v2 endpoint.
// See "Access token claims reference", learn.microsoft.com/entra/identity-platform/access-token-claims-reference.
type Claims struct {
	Audience  Audience `json:"aud,omitempty"`
	Issuer    string   `json:"iss,omitempty"`
	Tenant    string   `json:"tid,omitempty"`
	AppID     string   `json:"appid,omitempty"` // v1; azp in v2
	AZP       string   `json:"azp,omitempty"`
	Object    string   `json:"oid,omitempty"`
	Subject   string   `json:"sub,omitempty"`
	User      string   `json:"upn,omitempty"`
	Roles     []string `json:"roles,omitempty"` // of an application
	Scp       string   `json:"scp,omitempty"`   // of an application acting for a user
	IDType    string   `json:"idtyp,omitempty"`
	Version   string   `json:"ver,omitempty"`
	TokenID   string   `json:"uti,omitempty"`
	IssuedAt  Epoch    `json:"iat,omitempty"`
	NotBefore Epoch    `json:"nbf,omitempty"`
	Expires   Epoch    `json:"exp,omitempty"`
}

// Client returns the client id, wherever the token's version keeps it.
func (c *Claims) Client() string {
	if c.AppID != "" {
		return c.AppID
	}
	return c.AZP
}

// Permissions are the roles of an application's token or the scopes of a
// delegated one.
func (c *Claims) Permissions() []string {
	if c.Scp != "" {
		return strings.Fields(c.Scp)
	}
	return c.Roles
}

// Delegated reports whether the token stands for a user.
func (c *Claims) Delegated() bool { return c.Scp != "" }

// Audience is RFC 7519 §4.1.3: a string, or an array of them.
type Audience []string

// UnmarshalJSON accepts both forms.
func (a *Audience) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = Audience{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}

// MarshalJSON writes a single audience as a string.
func (a Audience) MarshalJSON() ([]byte, error) {
	if len(a) == 1 {
		return json.Marshal(a[0])
	}
	return json.Marshal([]string(a))
}

// Epoch is RFC 7519's NumericDate: seconds since 1970.
type Epoch float64

// Time converts it; zero is the zero time.
func (e Epoch) Time() time.Time {
	if e == 0 {
		return time.Time{}
	}
	return time.Unix(int64(e), 0).UTC()
}

// JWT is a decoded token whose signature nobody has checked.
type JWT struct {
	Header  json.RawMessage
	Payload json.RawMessage
	Claims  Claims
}

// ParseJWT decodes a signed token (RFC 7515 §3.1) without checking the
// signature. An encrypted or an opaque token is named as such.
func ParseJWT(s string) (JWT, error) {
	const op = "parse.jwt"
	if len(s) > maxJWT {
		return JWT{}, Errorf(Invalid, op, "token: longer than %d bytes", maxJWT)
	}
	parts := strings.Split(s, ".")
	switch {
	case len(parts) == 5:
		return JWT{}, Errorf(Invalid, op, "token: encrypted (five parts): only the API it is for can read it")
	case len(parts) != 3:
		return JWT{}, Errorf(Invalid, op, "token: opaque (%d parts where a JWT has three): only its issuer can read it", len(parts))
	}
	var j JWT
	for i, part := range []*json.RawMessage{&j.Header, &j.Payload} {
		b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[i], "="))
		if err != nil || !json.Valid(b) {
			return JWT{}, Errorf(Invalid, op, "token: part %d is not base64url of JSON", i+1)
		}
		if depthOf(b) > maxDepth {
			return JWT{}, Errorf(Invalid, op, "token: part %d is nested more than %d deep", i+1, maxDepth)
		}
		*part = b
	}
	if err := json.Unmarshal(j.Payload, &j.Claims); err != nil {
		return JWT{}, Errorf(Invalid, op, "token: its claims have unexpected types")
	}
	return j, nil
}

// depthOf returns how deep valid JSON is nested.
func depthOf(b []byte) (deepest int) {
	depth, quoted := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{', c == '[':
			depth++
			deepest = max(deepest, depth)
		case c == '}', c == ']':
			depth--
		}
	}
	return deepest
}
