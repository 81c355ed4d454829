package vaultemu

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"net/http"
	"strings"
	"time"
)

// signRequest is the body of a request to sign: an algorithm (RFC 7518 §3.1)
// and the digest of what is to be signed, in base64url.
type signRequest struct {
	Algorithm string `json:"alg"`
	Digest    string `json:"value"`
}

// hashes are those of the algorithms, by the digits in their names.
var hashes = map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}

// sign answers POST /keys/…/sign. Whoever may sign cannot thereby see the key,
// nor the other way round.
func (s *Server) sign(c *call) (any, *refusal) {
	v, no := s.find(Keys, c)
	if no != nil {
		return nil, no
	}
	switch now := time.Now(); {
	case v.attributes.Disabled:
		return nil, forbidden("KeyDisabled", "Operation sign is not allowed on a disabled key.")
	case now.Before(v.attributes.NotBefore):
		return nil, forbidden("KeyNotYetValid", "Operation sign is not allowed on a key that is not yet valid.")
	case !v.attributes.Expires.IsZero() && !now.Before(v.attributes.Expires):
		return nil, forbidden("KeyExpired", "Operation sign is not allowed on an expired key.")
	}
	signature, no := c.signature.by(v.key, c.id(Keys, v))
	if no != nil {
		return nil, no
	}
	return bundle{"kid": c.id(Keys, v), "value": signature}, nil
}

// by signs the digest with a key, which has the id.
func (r signRequest) by(key *rsa.PrivateKey, id string) (string, *refusal) {
	scheme, digits := r.Algorithm[:min(2, len(r.Algorithm))], strings.TrimLeft(r.Algorithm, "RSPE")
	hash, known := hashes[digits]
	switch {
	case r.Algorithm == "":
		return "", badParameter("The property 'alg' is required.")
	case scheme == "ES" && known:
		return "", badParameter("Key and signing algorithm are incompatible. Key %s is of type 'RSA', and algorithm '%s' can only be used with a key of type 'EC' or 'EC-HSM'.", id, r.Algorithm)
	case scheme != "RS" && scheme != "PS" || r.Algorithm != scheme+digits || !known:
		return "", badParameter("Property has invalid value: alg")
	}
	digest, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(r.Digest, "="))
	if err != nil {
		return "", badParameter("Property has invalid value: value")
	}
	if len(digest) != hash.Size() {
		return "", badParameter("Invalid length of 'value': %d bytes. %s requires %d bytes, encoded with base64url.", len(digest), r.Algorithm, hash.Size())
	}
	var signature []byte
	if scheme == "PS" { // RFC 7518 §3.5: the salt is as long as the hash
		signature, err = rsa.SignPSS(rand.Reader, key, hash, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	} else {
		signature, err = rsa.SignPKCS1v15(rand.Reader, key, hash, digest)
	}
	if err != nil {
		return "", trouble(http.StatusInternalServerError, "")
	}
	return base64.RawURLEncoding.EncodeToString(signature), nil
}
