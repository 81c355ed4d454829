package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/managedidentity"

	"tokenbroker/entra"
)

const opManaged = "broker.managed_identity"

// classify turns a failure of MSAL's managed identity into ours. Its text
// repeats answers, and its request has the header that opens the endpoint:
// nothing of either is kept.
func (m *ManagedIdentity) classify(ctx context.Context, req *entra.Request, asked *inquiry, err error) *entra.Error {
	_, network := errors.AsType[*url.Error](err)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return &entra.Error{Kind: entra.Canceled, Op: opManaged, Err: context.Canceled}
	case m.source == managedidentity.AzureArc && asked.status == http.StatusUnauthorized:
		return m.errorf(entra.Misconfigured, "Azure Arc's agent wants a proof that could not be read: is the broker's user in the group himds?")
	case asked.status != 0 && asked.status != http.StatusOK:
		return m.refused(req, asked)
	case m.source == managedidentity.DefaultToIMDS && (network || ctx.Err() != nil):
		return m.errorf(entra.Unavailable, "no managed identity endpoint answers at %s: is this an Azure VM or an AKS node, "+
			"and may the broker reach that address from its network? If not, name another kind of credential", m.endpoint())
	case network || ctx.Err() != nil:
		return m.errorf(entra.Unavailable, "the managed identity endpoint does not answer: check %s", m.endpoint())
	}
	return m.errorf(entra.Unavailable, "%s answered with something that is no token", m.endpoint())
}

func (m *ManagedIdentity) errorf(kind entra.Kind, format string, args ...any) *entra.Error {
	return entra.Errorf(kind, opManaged, "%s: %s", m.name, fmt.Sprintf(format, args...))
}

// refused weighs an answer that is no token.
func (m *ManagedIdentity) refused(req *entra.Request, asked *inquiry) *entra.Error {
	e := m.verdict(req, asked)
	e.Code, e.AADSTS, e.CorrelationID, e.RetryAfter = asked.said.code, asked.said.number, asked.said.correlationID, asked.retryAfter
	return e
}

// verdict: IMDS answers 404 and 410 while it is updated, which takes a bit more
// than a minute ("How to use managed identities to get an access token", Error
// handling).
func (m *ManagedIdentity) verdict(req *entra.Request, asked *inquiry) *entra.Error {
	switch status := asked.status; {
	case status == http.StatusTooManyRequests:
		return m.errorf(entra.Throttled, "%s is asked too often: wait", m.endpoint())
	case status >= 500, status == http.StatusRequestTimeout, status == http.StatusNotFound, status == http.StatusGone:
		return m.errorf(entra.Unavailable, "%s fails (status %d): wait", m.endpoint(), status)
	case status >= 300 && status < 400:
		return m.errorf(entra.Unavailable, "%s answered with a redirect (status %d), which is never followed", m.endpoint(), status)
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return m.errorf(entra.Misconfigured, "%s refuses the broker (status %d): does it run where its environment says?", m.endpoint(), status)
	}
	if kind, text := remedy(asked.said.number); text != "" { // Entra's, passed on
		x := exchange{tenant: cmp.Or(m.tenant, "(its own)"), client: "(the identity)", scope: req.Scope, credential: m.name}
		return m.errorf(kind, "%s (AADSTS%d)", x.errorf(kind, text).Message(), asked.said.number)
	}
	if m.id == managedidentity.SystemAssigned() {
		return m.errorf(entra.Misconfigured, "there is none, or several user-assigned ones beside it (status %d): "+
			"turn it on where the broker runs, or name one in credential.client_id", asked.status)
	}
	return m.errorf(entra.Misconfigured, "it is not assigned to where the broker runs, or misspelt (status %d): assign it to the virtual machine, the scale set or the app", asked.status)
}
