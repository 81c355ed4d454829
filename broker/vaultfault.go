package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"tokenbroker/entra"
)

// vaulted is an object of a vault, for messages.
type vaulted struct {
	vault *Vault
	noun  string // secret, certificate or key
	name  string
	role  string // in Azure, that lets an identity do what we do
}

func (o vaulted) String() string { return o.noun + " " + o.name + " of vault " + o.vault.host }

func (o vaulted) errorf(kind entra.Kind, format string, args ...any) *entra.Error {
	return entra.Errorf(kind, opVault, "%s: %s", o, fmt.Sprintf(format, args...))
}

// withdrawn is the error that ends the use of what is held.
func (o vaulted) withdrawn(fault string) *entra.Error {
	return &entra.Error{Kind: entra.Misconfigured, Op: opVault, Err: withdrawnError{o.String() + ": " + fault}}
}

// classify turns a failure of the SDK into ours. As of MSAL's, nothing of the
// original is kept: its text repeats the vault's answer.
func (o vaulted) classify(ctx context.Context, err error) *entra.Error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return &entra.Error{Kind: entra.Canceled, Op: opVault, Err: context.Canceled}
	}
	if own, ok := errors.AsType[*entra.Error](err); ok { // no token for the vault, or a proxy
		e := *own
		e.Err = fmt.Errorf("%s: %w", o, own.Err)
		return &e
	}
	if refused, ok := errors.AsType[*azcore.ResponseError](err); ok {
		return o.refused(refused.RawResponse)
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return o.errorf(entra.Unavailable, "the vault answered with more than that")
	}
	if isTimeout(err) || ctx.Err() != nil {
		return o.errorf(entra.Unavailable, "the vault did not answer in time: check the network and HTTPS_PROXY, or raise limits.entra_timeout")
	}
	if _, ok := errors.AsType[*url.Error](err); ok {
		return o.errorf(entra.Unavailable, "%s", strings.NewReplacer("{authority}", o.vault.host, "{address}", "the vault's address").Replace(unreachable(err)))
	}
	return o.errorf(entra.Unavailable, "the vault answered with something else: is a proxy in between?")
}

// refused reads an answer that is an error. The codes are those of "Azure Key
// Vault REST API Error Codes".
func (o vaulted) refused(resp *http.Response) *entra.Error {
	body, _ := runtime.Payload(resp)
	var said struct {
		Error struct {
			Inner struct {
				Code string `json:"code"`
			} `json:"innererror"`
		} `json:"error"`
	}
	_ = json.Unmarshal(body, &said) // what has another type is left out
	e := o.verdict(resp.StatusCode, said.Error.Inner.Code)
	e.RetryAfter = retryAfter(resp.Header.Get("Retry-After"))
	return e
}

func (o vaulted) verdict(status int, code string) *entra.Error {
	switch code {
	case "SecretDisabled", "KeyDisabled":
		return o.withdrawn("its newest version is disabled: enable it, or add one")
	case "KeyExpired", "KeyNotYetValid":
		return o.errorf(entra.Misconfigured, "it is out of its time: renew the certificate, or is the vault's date for it right?")
	case "ForbiddenByFirewall", "ForbiddenByConnection":
		return o.errorf(entra.Misconfigured, "the vault's firewall keeps the broker out: allow its network there, or use a private endpoint")
	}
	switch {
	case status == http.StatusUnauthorized:
		o.vault.tokens.memo.forget() // it may have been revoked
		return o.errorf(entra.Misconfigured, "the vault takes no token of the identity that reads it: are both of one tenant?")
	case status == http.StatusForbidden:
		return o.errorf(entra.Misconfigured, "the identity that reads it may not: give it the role %s on the vault, or the access policy", o.role)
	case status == http.StatusNotFound:
		return o.withdrawn("it is not there: check its name and the vault's, or recover it")
	case status == http.StatusTooManyRequests:
		return o.errorf(entra.Throttled, "the vault is asked too often: wait")
	case status >= 500, status == http.StatusRequestTimeout:
		return o.errorf(entra.Unavailable, "the vault fails (status %d)", status)
	case status >= 300 && status < 400:
		return o.errorf(entra.Unavailable, "the vault answered with a redirect (status %d), which is never followed: check its address", status)
	}
	return o.errorf(entra.Misconfigured, "the vault refuses the request (status %d): is it a vault, and of RSA keys?", status)
}
