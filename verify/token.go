package verify

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"

	"tokenbroker/entra"
)

// maxToken bounds a token, in bytes. One with two hundred groups comes near it;
// a user in more groups gets a link in their place.
const maxToken = 16 << 10

// token is an access token in parts (RFC 7515 §7.1), well formed and not yet
// believed.
type token struct {
	entra.JWT
	alg, kid  string
	signed    string // the parts that the signature is over
	signature []byte
}

// parse takes a token to pieces, or says what it is instead.
//
// Of the header only what is needed is read. Where it says how the signature is
// to be verified (jku, jwk, x5u, x5c), it is the attacker who would say so.
func parse(raw string) (*token, error) {
	switch parts := strings.Count(raw, ".") + 1; {
	case raw == "":
		return nil, refuse(Malformed, "token: there is none")
	case len(raw) > maxToken:
		return nil, refuse(Malformed, "token: longer than %d bytes", maxToken)
	case parts == 5:
		return nil, refuse(Encrypted, "token: encrypted (five parts): only the API it is for can read it")
	case parts != 3:
		return nil, refuse(Opaque, "token: opaque (%d parts where a JWT has three): only its issuer can tell", parts)
	}
	jwt, err := entra.ParseJWT(raw)
	if err != nil {
		return nil, refuse(Malformed, "%s", entra.AsError(err).Message())
	}
	t := &token{JWT: jwt}
	header, ok := members(jwt.Header)
	payload, good := members(jwt.Payload)
	if !ok || !good {
		return nil, refuse(Malformed, "token: its header or its claims are no JSON object with a name for each member")
	}
	if err := t.readHeader(header); err != nil {
		return nil, err
	}
	if _, ok := payload["cnf"]; ok { // RFC 7800 §3.1
		return nil, refuse(Bound, "token: bound to a key (cnf): it is no bearer token")
	}
	if jwt.Claims.Client() == "" {
		return nil, refuse(NotAccess, "token: names no client (appid, azp): it is no access token; an ID token proves nothing to an API")
	}
	return t, t.split(raw)
}

// readHeader looks at the members of the header that matter.
func (t *token) readHeader(header map[string]json.RawMessage) error {
	t.alg, t.kid = text(header["alg"]), text(header["kid"])
	if t.alg != "RS256" && t.alg != "PS256" {
		return refuse(Algorithm, "token: signed by %s, want RS256 or PS256", entra.Quote(t.alg))
	}
	if _, ok := header["nonce"]; ok {
		return refuse(GraphOnly, "token: one of Microsoft Graph's own (nonce in its header), which cannot be verified by third parties")
	}
	if _, ok := header["crit"]; ok { // RFC 7515 §4.1.11
		return refuse(Malformed, "token: its header has extensions (crit) that are not known here")
	}
	if typ, ok := header["typ"]; ok {
		switch strings.ToLower(text(typ)) {
		case "jwt", "at+jwt": // the latter: RFC 9068 §2.1
		default:
			return refuse(NotAccess, "token: of another type (typ) than an access token")
		}
	}
	if t.kid == anyKey {
		return refuse(Signature, "token: does not name its key (kid)")
	}
	return nil
}

// split finds the signature. A decoder that forgives, as Go's does with line
// breaks and spare bits, would give one token many spellings.
func (t *token) split(raw string) (err error) {
	dot := strings.LastIndexByte(raw, '.')
	t.signed = raw[:dot]
	t.signature, err = base64.RawURLEncoding.Strict().DecodeString(raw[dot+1:])
	if err != nil || strings.ContainsAny(raw, "\r\n=") {
		return refuse(Malformed, "token: its parts are not base64url as JWTs have it, without padding or line breaks")
	}
	return nil
}

// signedBy reports whether one of the keys made the signature (RFC 7518 §3.3
// and §3.5).
func (t *token) signedBy(keys []key) bool {
	sum := sha256.Sum256([]byte(t.signed))
	for _, key := range keys {
		var err error
		switch {
		case key.alg != "" && key.alg != t.alg:
			continue
		case t.alg == "PS256":
			err = rsa.VerifyPSS(key.public, crypto.SHA256, sum[:], t.signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		default:
			err = rsa.VerifyPKCS1v15(key.public, crypto.SHA256, sum[:], t.signature)
		}
		if err == nil {
			return true
		}
	}
	return false
}

// members takes a valid JSON object apart. Names must be unique (RFC 7519 §4),
// here even when case is ignored, as encoding/json does: two readers of one
// token must not see two audiences.
func members(object json.RawMessage) (map[string]json.RawMessage, bool) {
	d := json.NewDecoder(bytes.NewReader(object))
	if start, _ := d.Token(); start != json.Delim('{') {
		return nil, false
	}
	found, folded := map[string]json.RawMessage{}, map[string]bool{}
	for d.More() {
		token, _ := d.Token()
		name, _ := token.(string)
		fold := strings.ToLower(strings.ToUpper(name)) // by way of upper case: ſ becomes s
		var value json.RawMessage
		if err := d.Decode(&value); err != nil || folded[fold] {
			return nil, false
		}
		found[name], folded[fold] = value, true
	}
	return found, true
}

// text returns a JSON string; any other value is none.
func text(raw json.RawMessage) (s string) {
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}
