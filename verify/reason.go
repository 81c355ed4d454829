package verify

import (
	"errors"

	"tokenbroker/entra"
)

// Reason says in a word why a token was refused. The words are part of answers
// to callers and do not change.
type Reason string

// The reasons.
const (
	Malformed   Reason = "malformed"        // no token in the form of RFC 7519
	Opaque      Reason = "opaque"           // no JWT at all
	Encrypted   Reason = "encrypted"        // a JWE: for its audience's eyes only
	Algorithm   Reason = "algorithm"        // neither RS256 nor PS256
	GraphOnly   Reason = "graph_token"      // Microsoft Graph's own, which nobody else can verify
	NotAccess   Reason = "not_access_token" // an ID token, say
	Bound       Reason = "bound"            // to a key whose possession it takes to use it
	Tenant      Reason = "tenant"           // none of ours
	Issuer      Reason = "issuer"           // not its tenant
	Audience    Reason = "audience"         // none of ours
	Expired     Reason = "expired"
	NotYetValid Reason = "not_yet_valid"
	Signature   Reason = "signature" // not by a key of its tenant
)

// opVerify marks the errors that are verdicts.
const opVerify = "verify.token"

// ReasonOf returns why err refuses a token; empty where err is no verdict on
// one.
func ReasonOf(err error) Reason {
	if e, ok := errors.AsType[*entra.Error](err); ok && e.Op == opVerify {
		return Reason(e.Code)
	}
	return ""
}

// refuse makes the error of a verdict.
func refuse(why Reason, format string, args ...any) error {
	kind := entra.Unadmitted
	switch why {
	case Malformed, Opaque, Encrypted:
		kind = entra.Invalid
	}
	err := entra.Errorf(kind, opVerify, format, args...)
	err.Code = string(why)
	return err
}
