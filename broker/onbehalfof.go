package broker

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/confidential"

	"tokenbroker/entra"
)

const opOnBehalfOf = "broker.onbehalfof"

// shortPause is how long a token that MSAL throws away is not asked for again:
// nothing but somebody who mends it will change its life.
const shortPause = time.Minute

// Check verifies the access token of a user: its signature, its issuer, and its
// times. It returns what the token says and which of our audiences it is for,
// which of an application of ours is its client id, by whatever name the token
// has it; or an error of kind [entra.Invalid] or [entra.Unadmitted] where it is not
// right; any other kind is no verdict.
type Check func(ctx context.Context, assertion entra.Secret) (claims entra.Claims, audience string, err error)

// OnBehalfOf is the source of an app that acts on behalf of the user whose
// token it was sent. See "Microsoft identity platform and OAuth 2.0 On-Behalf-Of
// flow", learn.microsoft.com/entra/identity-platform/v2-oauth2-on-behalf-of-flow.
//
// MSAL gets no cache accessor here: with any, its on-behalf-of fails.
type OnBehalfOf struct {
	app        App
	credential Credential
	check      Check
}

// NewOnBehalfOf makes the source. The credential is read at every exchange, so
// that a rotation needs no restart.
func NewOnBehalfOf(app App, credential Credential, check Check) (*OnBehalfOf, error) {
	if err := app.validate(); err != nil {
		return nil, err
	}
	if check == nil {
		return nil, entra.Errorf(entra.Internal, "broker.app", "an app that takes users' tokens, and nothing that verifies them")
	}
	return &OnBehalfOf{app, credential, check}, nil
}

// Token gets a new token from the authority for the user of the request's
// assertion, which is verified before anything is asked. It does not outlive the
// assertion: who may no longer show that one may no longer use what it brought.
func (o *OnBehalfOf) Token(ctx context.Context, req entra.Request) (entra.Token, error) {
	if req.Assertion.IsZero() {
		return entra.Token{}, refuseUser("", "there is none, and this identity acts on behalf of users alone: put the user's access token for its app into the header X-User-Assertion")
	}
	claims, audience, err := o.check(ctx, req.Assertion)
	if err != nil {
		return entra.Token{}, verdict(err)
	}
	return o.app.prove(ctx, o.credential, func(ctx context.Context, p *proof) (entra.Token, error) {
		x := o.app.exchange(ctx, &req, p)
		if err := x.admits(&claims, audience); err != nil {
			return entra.Token{}, err
		}
		return o.acquire(ctx, &x, &req, p, claims.Expires.Time())
	})
}

// acquire trades the app's credential and the user's token for another token.
func (o *OnBehalfOf) acquire(ctx context.Context, x *exchange, req *entra.Request, p *proof, end time.Time) (entra.Token, error) {
	client, err := o.app.msal(x, p)
	if err != nil {
		return entra.Token{}, err
	}
	var options []confidential.AcquireOnBehalfOfOption
	if req.Claims != "" {
		options = append(options, confidential.WithClaims(req.Claims))
	}
	result, err := client.AcquireTokenOnBehalfOf(x.in(ctx), req.Assertion.Reveal(), x.scope.Names(), options...)
	if err == nil && !time.Now().Before(end) {
		return entra.Token{}, expired()
	}
	if err == nil {
		return x.token(&result, end)
	}
	if failure := x.discarded(err); failure != nil {
		return entra.Token{}, failure
	}
	return entra.Token{}, x.forUser(x.classify(ctx, err))
}

// admits refuses a verified token on whose behalf nothing can be asked for, and
// a request that Entra would refuse in less clear words.
func (x *exchange) admits(claims *entra.Claims, audience string) error {
	if _, err := entra.ParseTenant(string(x.tenant)); err != nil {
		return err
	}
	switch {
	case len(x.scope.Names()) == 0:
		return entra.Errorf(entra.Invalid, opOnBehalfOf, "scope: there is none; want https://host/.default, or delegated permissions of one resource")
	case audience != x.client:
		return refuseUser("audience", "for "+entra.Quote(audience)+", want one for app "+x.client+": a token for another API asserts nothing to this one")
	case claims.IDType == "app" || !claims.Delegated():
		return refuseUser("application", "an application's own (no scp): want the access token of a user")
	case entra.IsGUID(string(x.tenant)) && claims.Tenant != string(x.tenant):
		return refuseUser("tenant", "of tenant "+entra.Quote(claims.Tenant)+", and tenant "+string(x.tenant)+" is asked: name the user's with tenant=")
	case !time.Now().Before(claims.Expires.Time()):
		return expired()
	}
	return nil
}

// expired refuses an assertion past its end. Clocks may differ by the minute
// that verifying forgives, but nothing that lives past now can come of it.
func expired() error {
	return refuseUser("expired", "expired: get a new one of the user, or look at the clock of this machine")
}

// refuseUser makes the refusal of a user's token.
func refuseUser(code, why string) error {
	err := entra.Errorf(entra.Invalid, opOnBehalfOf, "user assertion: %s", why)
	err.Code = code
	return err
}

// verdict tells a user's token that is not right, which is the request's fault,
// from a check that could not be made.
func verdict(err error) error {
	switch e := entra.AsError(err); e.Kind {
	case entra.Invalid, entra.Unadmitted:
		return refuseUser(e.Code, strings.TrimPrefix(e.Message(), "token: "))
	default:
		return err
	}
}

// discarded says what is wrong with a token that Entra gave and MSAL throws
// away; nil: err is about something else. MSAL has no types for the two, and
// tests hold their texts.
func (x *exchange) discarded(err error) error {
	switch text := err.Error(); {
	case text == "access token is expired":
		failure := x.errorf(entra.Misconfigured, "{authority} gives app {client} tokens for {scope} of less than five minutes, which cannot be used on behalf of a user: is the clock of this machine right, or does a policy of tenant {tenant} shorten their life?")
		failure.RetryAfter = shortPause
		return failure
	case strings.HasPrefix(text, "token response failed because declined scopes are present"):
		return x.errorf(entra.Challenged, "{authority} gives app {client} less than {scope} in tenant {tenant}: have the user or an administrator consent to all of it, at {consent}")
	}
	return nil
}

// forUser puts a refusal into words for the user's side, where there are some.
func (x *exchange) forUser(e *entra.Error) *entra.Error {
	kind, text := behalfRemedy(e.AADSTS)
	if text == "" || e.Kind == entra.Throttled || e.Kind == entra.Unavailable {
		return e
	}
	told := *e
	told.Kind, told.Err = kind, x.errorf(kind, text+fmt.Sprintf(" (AADSTS%d)", e.AADSTS)).Err
	return &told
}

// behalfRemedy says of Entra's numbers what happened where a user is behind the
// request; the app's own are those of [remedy].
func behalfRemedy(number int) (entra.Kind, string) {
	const who = "tenant {tenant} does not let app {client} act for this user: "
	switch number {
	case 50013, 500131, 500133, 50027:
		return entra.Challenged, "Entra refuses the user assertion for app {client} in tenant {tenant}: have the user sign in again, to a token for this app and of that tenant"
	case 50173, 50132, 50133, 70043, 70008, 700082, 50089:
		return entra.Challenged, who + "the user's sign-in was revoked or is too long ago; have the user sign in again"
	case 50072, 50074, 50076, 50078, 50079, 50158:
		return entra.Challenged, who + "it wants more of the user for {scope}, such as a second factor; have the user sign in with the claims that come with this answer"
	case 53000, 53001, 53002, 53003, 53004, 530002, 530003, 530032, 530035:
		return entra.Challenged, who + "Conditional Access stands against it for {scope}; have the user sign in with the claims that come with this answer, or an administrator look at the policy"
	case 50055, 50144:
		return entra.Challenged, who + "the user's password has expired; they have to change it"
	case 50057:
		return entra.Challenged, who + "the user's account is disabled"
	case 50034, 51004, 90072, 50020:
		return entra.Challenged, who + "the user is not in that tenant"
	case 50105:
		return entra.Challenged, who + "the user is not assigned to the app; have an administrator of the tenant assign them, under Enterprise applications"
	case 65001, 65004, 650056, 650057, 90094, 90095:
		return entra.Challenged, who + "neither the user nor an administrator has consented to {scope} for it; add the delegated permission, and consent at {consent}"
	case 7000114, 240002:
		return entra.Challenged, "Entra takes the user assertion for no access token of a user: want one that the user got for app {client}"
	}
	return 0, ""
}
