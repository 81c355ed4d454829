package broker

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"

	msal "github.com/AzureAD/microsoft-authentication-library-for-go/apps/errors"

	"tokenbroker/entra"
)

const (
	maxRefusal    = 64 << 10  // bytes of a refusal's body that are looked at
	maxRetryAfter = time.Hour // the longest wait that a refusal can ask for
	maxCode       = 40        // bytes; RFC 6749's longest error has 25
	maxAADSTS     = 1e9
	maxClaims     = 4 << 10 // bytes of a claims challenge; real ones have some hundred
)

// classify turns a failure of MSAL into ours. Nothing of the original is kept
// but what [vet] lets through: its text repeats Entra's answer, be it a token
// that could not be decoded, and its request holds the credential.
func (x *exchange) classify(ctx context.Context, err error) *entra.Error {
	if ctx.Err() == context.Canceled {
		return &entra.Error{Kind: entra.Canceled, Op: opExchange, Err: context.Canceled}
	}
	if own, ok := errors.AsType[*entra.Error](err); ok {
		return own // of our transport
	}
	if refused, ok := errors.AsType[msal.CallErr](err); ok {
		return x.refused(refused.Resp)
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return x.errorf(entra.Unavailable, "{authority} answered with more than a token: is a proxy in between?")
	}
	// When the time is up the connection closes, and what the authority makes of
	// that can win the race against the error: half an answer, or an empty one.
	if isTimeout(err) || ctx.Err() != nil {
		return x.errorf(entra.Unavailable, "{authority} did not answer in time: check the network and HTTPS_PROXY, or raise limits.entra_timeout")
	}
	if _, ok := errors.AsType[*url.Error](err); ok {
		return x.errorf(entra.Unavailable, unreachable(err))
	}
	return x.errorf(entra.Unavailable, "{authority} answered with something that is no token: is a proxy in between?")
}

func isTimeout(err error) bool {
	late, ok := errors.AsType[net.Error](err)
	return ok && late.Timeout() || errors.Is(err, context.DeadlineExceeded)
}

// unreachable says what keeps us from a host, and what to do; {address} is the
// setting that names the host.
func unreachable(err error) string {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "the certificate of {authority} " + certificateFault(err)
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || errors.Is(err, http.ErrSchemeMismatch) {
		return "{authority} does not speak TLS: check {address} and HTTPS_PROXY"
	}
	cause := ""
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		cause = " (" + errno.Error() + ")"
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "proxyconnect" {
		return "the proxy on the way to {authority} cannot be reached" + cause + ": check HTTPS_PROXY and NO_PROXY"
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return "the name {authority} cannot be resolved: check {address}, DNS and HTTPS_PROXY"
	}
	return "{authority} cannot be reached" + cause + ": check the network, its firewall and HTTPS_PROXY"
}

func certificateFault(err error) string {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "is of an unknown authority: if a proxy in between opens TLS, name its root certificate in ca_file"
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "is for another host: check {address}"
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return "has expired, or is not valid yet: is the clock of this machine right?"
	}
	return "cannot be verified: check {address} and ca_file"
}

// refused reads an answer that is no token.
func (x *exchange) refused(resp *http.Response) *entra.Error {
	said := readRefusal(resp.Body)
	kind, text := x.verdict(resp.StatusCode, said)
	if said.number != 0 {
		text += fmt.Sprintf(" (AADSTS%d)", said.number)
	}
	e := x.errorf(kind, text)
	e.Code, e.AADSTS, e.CorrelationID = said.code, said.number, said.correlationID
	if e.CorrelationID == "" {
		e.CorrelationID = x.id
	}
	e.Claims = said.claims
	e.RetryAfter = retryAfter(resp.Header.Get("Retry-After"))
	return e
}

// verdict weighs the status, then Entra's number, then the error of RFC 6749.
// Microsoft asks clients not to depend on numbers ("Microsoft Entra
// authentication and authorization error codes"): one that is not known costs
// the remedy, not the kind.
func (x *exchange) verdict(status int, said refusal) (entra.Kind, string) {
	switch {
	case status == http.StatusTooManyRequests:
		return entra.Throttled, "{authority} is asked too often for app {client} in tenant {tenant}: wait"
	case status >= 500, status == http.StatusRequestTimeout:
		return entra.Unavailable, fmt.Sprintf("{authority} fails (status %d)", status)
	case status >= 300 && status < 400:
		return entra.Unavailable, fmt.Sprintf("{authority} answered with a redirect (status %d), which is never followed: check the authority", status)
	case said.code == "":
		return entra.Unavailable, fmt.Sprintf("{authority} answered with status %d and no OAuth error: is it an Entra authority, or is a proxy in between?", status)
	}
	if kind, text := remedy(said.number); text != "" {
		return kind, text
	}
	const what = "{authority} refuses app {client} in tenant {tenant} for {scope}: "
	switch {
	case said.code == "temporarily_unavailable", said.code == "server_error":
		return entra.Unavailable, "{authority} fails (" + said.code + ")"
	case said.challenged, said.code == "interaction_required", said.code == "login_required", said.code == "invalid_grant":
		return entra.Challenged, what + said.code
	case said.number != 0:
		return entra.Misconfigured, what + said.code + fmt.Sprintf(": see https://{authority}/error?code=%d", said.number)
	}
	return entra.Misconfigured, what + said.code
}

// refusal is what we take from the body of RFC 6749 §5.2.
type refusal struct {
	code          string // the error; empty: the body has none
	number        int    // the AADSTS number; zero: none
	correlationID string
	challenged    bool   // it comes with a claims challenge
	claims        string // of that; empty: none that can be handed on
}

// readRefusal reads the body of an answer that is no token.
func readRefusal(body io.Reader) refusal {
	content, _ := io.ReadAll(io.LimitReader(body, maxRefusal))
	return vet(content)
}

// vet takes from a body what cannot carry anything else: an error of lower
// case letters and underscores, a number, a GUID; and the claims of a challenge.
func vet(body []byte) refusal {
	var said struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
		Codes       []int  `json:"error_codes"`
		Correlation string `json:"correlation_id"`
		Claims      string `json:"claims"`
	}
	// What has another type than it should is left out, and that is all.
	_ = json.Unmarshal(body, &said)
	r := refusal{challenged: said.Claims != "", claims: vetClaims(said.Claims)}
	if isCode(said.Error) {
		r.code = said.Error
	}
	if entra.IsGUID(said.Correlation) {
		r.correlationID = said.Correlation
	}
	if len(said.Codes) > 0 {
		r.number = said.Codes[0]
	}
	if r.number == 0 {
		_, _ = fmt.Sscanf(said.Description, "AADSTS%d", &r.number)
	}
	if r.number < 0 || r.number > maxAADSTS {
		r.number = 0
	}
	return r
}

// vetClaims lets the claims of a challenge through: a JSON object of bearable
// size (OpenID Connect Core §5.5), which a user's sign-in is asked for as it is.
func vetClaims(s string) string {
	var object map[string]json.RawMessage
	var vetted bytes.Buffer
	if len(s) > maxClaims || json.Unmarshal([]byte(s), &object) != nil || len(object) == 0 || json.Compact(&vetted, []byte(s)) != nil {
		return ""
	}
	return vetted.String()
}

func isCode(s string) bool {
	for i := range len(s) {
		if c := s[i]; c != '_' && (c < 'a' || c > 'z') {
			return false
		}
	}
	return s != "" && len(s) <= maxCode
}

// retryAfter reads RFC 9110 §10.2.3: seconds, or a date. What is neither, or
// past, is zero.
func retryAfter(value string) time.Duration {
	var wait time.Duration
	if seconds, err := strconv.Atoi(value); err == nil {
		wait = time.Duration(min(seconds, int(maxRetryAfter/time.Second))) * time.Second
	} else if date, err := http.ParseTime(value); err == nil {
		wait = time.Until(date)
	}
	return min(max(wait, 0), maxRetryAfter)
}
