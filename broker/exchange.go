package broker

import (
	"cmp"
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/confidential"
	"github.com/google/uuid"

	"tokenbroker/entra"
)

const opExchange = "broker.exchange"

// App is an app registration at an authority.
type App struct {
	Authority entra.Authority
	Tenant    entra.Tenant // whose token it is where a request names no tenant
	ClientID  string       // the application (client) id, a GUID
	HTTP      *http.Client // from [NewClient], for the same authority
}

func (a *App) validate() error {
	if _, err := entra.ParseAuthority(string(a.Authority)); err != nil {
		return err
	}
	if _, err := entra.ParseTenant(string(a.Tenant)); err != nil {
		return err
	}
	if !entra.IsGUID(a.ClientID) {
		return entra.Errorf(entra.Invalid, "broker.app", "client_id %s: want the application (client) id, a GUID", entra.Quote(a.ClientID))
	}
	if a.HTTP == nil {
		return entra.Errorf(entra.Internal, "broker.app", "an app without an HTTP client")
	}
	return nil
}

// prove asks with the app's credential, in the time of the app's client. Where
// Entra refuses a credential of which there is a newer version by now, it asks
// once more with that.
func (a *App) prove(ctx context.Context, credential Credential, ask func(context.Context, *proof) (entra.Token, error)) (entra.Token, error) {
	if a.HTTP.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, a.HTTP.Timeout)
		defer cancel()
	}
	held, err := credential.proof(ctx)
	if err != nil {
		return entra.Token{}, err
	}
	tok, err := ask(ctx, &held)
	if held.renew == nil || !refusesKey(err) {
		return tok, err
	}
	newer, failed := held.renew(ctx)
	if failed != nil || newer.version == held.version {
		return tok, err
	}
	return ask(ctx, &newer)
}

// exchange is what is asked for with the app's credential.
func (a *App) exchange(ctx context.Context, req *entra.Request, p *proof) exchange {
	return exchange{
		id: requestID(ctx), authority: a.Authority, tenant: cmp.Or(req.Tenant, a.Tenant),
		client: a.ClientID, scope: req.Scope, credential: p.name, unknown: p.unknown,
	}
}

// msal makes MSAL's client for one exchange.
//
// Each exchange has one of its own, since ours is the only memory: a client
// keeps every token it ever saw, without a bound, and answers from it what is
// meant to be asked anew. It costs 2 µs, and no request: see [pinned.discovery].
func (a *App) msal(x *exchange, p *proof) (confidential.Client, error) {
	client, err := confidential.New(x.authority.Tenant(x.tenant), x.client, p.credential, append(p.options,
		confidential.WithHTTPClient(a.HTTP),
		confidential.WithInstanceDiscovery(false),
		confidential.WithAzureRegion("DisableMsalForceRegion"))...) // beats MSAL_FORCE_REGION
	if err != nil {
		return confidential.Client{}, x.errorf(entra.Internal, "MSAL makes no client of app {client} at {authority}")
	}
	return client, nil
}

// exchange is one question to an authority. It passes MSAL in the context, so
// that the transport knows where the credential may go.
type exchange struct {
	id         string // the client-request-id, a GUID
	authority  entra.Authority
	tenant     entra.Tenant
	client     string
	scope      entra.Scope
	credential string // what it is, and where it comes from
	unknown    string // what to do where Entra does not know its key
}

type exchangeKey struct{}

func (x exchange) in(ctx context.Context) context.Context {
	return context.WithValue(ctx, exchangeKey{}, x)
}

func exchangeOf(ctx context.Context) (exchange, bool) {
	x, ok := ctx.Value(exchangeKey{}).(exchange)
	return x, ok
}

// token is what MSAL brought, until the end of its life or of what it was made
// from; a zero end is none.
func (x *exchange) token(result *confidential.AuthResult, end time.Time) (entra.Token, error) {
	if !time.Now().Before(result.ExpiresOn) {
		return entra.Token{}, x.errorf(entra.Unavailable, "{authority} answered with a token that has expired already: is the clock of this machine right?")
	}
	expires, refresh := result.ExpiresOn, result.Metadata.RefreshOn
	if !end.IsZero() && end.Before(expires) {
		expires, refresh = end, end // another one would end then too
	}
	return entra.NewToken(result.AccessToken, x.scope, expires, refresh)
}

// validate refuses what would be sent to the wrong place, answered for the
// wrong subject, or refused by Entra in less clear words.
func (x *exchange) validate(req *entra.Request) error {
	if _, err := entra.ParseTenant(string(x.tenant)); err != nil {
		return err
	}
	return asItself(req)
}

// asItself refuses what an identity that is no user cannot be asked for.
func asItself(req *entra.Request) error {
	if !req.Assertion.IsZero() {
		return entra.Errorf(entra.Invalid, opExchange, "this identity acts as itself, not on behalf of a user: leave the user's assertion out")
	}
	if names := req.Scope.Names(); len(names) != 1 || !strings.HasSuffix(names[0], "/.default") {
		return entra.Errorf(entra.Invalid, opExchange, "scope %s: an application gets its permissions all together: ask for %s/.default",
			entra.Quote(string(req.Scope)), cmp.Or(req.Scope.Audience(), "https://host"))
	}
	return nil
}

// errorf makes an Error of the exchange, with its facts in the text's braces.
func (x *exchange) errorf(kind entra.Kind, text string) *entra.Error {
	return entra.Errorf(kind, opExchange, "%s", strings.NewReplacer(
		"{authority}", x.authority.Host(), "{address}", "the authority", "{tenant}", string(x.tenant), "{client}", x.client,
		"{scope}", string(x.scope), "{consent}", entra.TenantConsentURL(x.authority, x.tenant, x.client), "{credential}", x.credential, "{unknown}", x.unknown,
	).Replace(text))
}

// requestID returns the request's id where it is a GUID, which is what Entra
// wants, so that its sign-in log can be searched for it; else a new one.
func requestID(ctx context.Context) string {
	if id := entra.TrailOf(ctx).RequestID; entra.IsGUID(id) {
		return id
	}
	return uuid.NewString()
}
