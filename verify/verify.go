// Package verify tells whether a token that somebody shows us is right: signed
// by Entra, of a tenant and for an audience of ours, and within its time.
//
// A refusal is an [*entra.Error] with a [Reason]: of kind [entra.Invalid] where
// the text is no token that anyone could verify, else [entra.Unadmitted]. Any
// other failure is no verdict: [entra.Unavailable] while there are no keys to
// verify with, [entra.Canceled] when the caller left. No error holds a part of
// the token but the name of a tenant, an issuer or an audience.
package verify

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"tokenbroker/entra"
)

// skew is how far the clocks of Entra and of this machine may be apart. A token
// that is right may thus have expired a moment ago.
const skew = time.Minute

// Config says whose tokens are right, and how their keys are fetched.
type Config struct {
	Authority entra.Authority
	// Tenants are those whose tokens count, as [entra.ParseTenant] gives them.
	// Only what the authority publishes about them is ever fetched.
	Tenants []entra.Tenant
	// Audiences are ours: client ids, and resources such as https://host or
	// api://name. Those that differ by a trailing slash or in the letters of the
	// host are the same, and so are a client id and api://<client id>.
	Audiences []string
	// HTTP reaches the authority; it must be set. It follows no redirect here, and
	// keeps no cookie, whatever is set in it.
	HTTP   *http.Client
	Logger *slog.Logger // nil: nothing is logged
}

// Verifier verifies tokens. It is safe for concurrent use.
type Verifier struct {
	authority entra.Authority
	audiences map[string]string // as configured, by their canonical spelling
	tenants   map[string]*issuer
	domains   []*issuer // the tenants whose GUID only the authority knows
}

// Verified is a token that is right. Whom it is for still matters: one for a
// route's resource was given to be sent there, and asserts nothing to the
// application that acts on behalf of its user.
type Verified struct {
	entra.JWT
	Tenant entra.Tenant // whose it is, as configured: the claim has the GUID
	For    string       // the audience of [Config] that it is for
}

// New makes a verifier. It fetches nothing yet.
func New(cfg Config) *Verifier {
	client := *cfg.HTTP
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client.Jar = nil
	source := &authority{url: cfg.Authority, client: &client}
	logger := cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))

	v := &Verifier{authority: cfg.Authority, audiences: map[string]string{}, tenants: map[string]*issuer{}}
	for _, audience := range cfg.Audiences {
		v.audiences[canonical(audience)] = audience
	}
	for _, tenant := range cfg.Tenants {
		i := &issuer{
			name:   string(tenant),
			fetch:  func(ctx context.Context) (*publication, error) { return source.publication(ctx, tenant) },
			logger: logger,
		}
		if entra.IsGUID(i.name) {
			v.tenants[i.name] = i
		} else {
			v.domains = append(v.domains, i)
		}
	}
	return v
}

// Verify returns what the token says, if it is right.
//
// What can be told without keys is looked at first: what fails there is refused
// whoever signed it, makes us ask nobody, and is refused too while the authority
// is away. Nothing is accepted before the signature.
func (v *Verifier) Verify(ctx context.Context, shown entra.Secret) (Verified, error) {
	t, err := parse(shown.Reveal()) //nolint:forbidigo // to be taken apart; what comes of it is claims
	if err != nil {
		return Verified{}, err
	}
	if err := v.checkIssuer(&t.Claims); err != nil {
		return Verified{}, err
	}
	audience, err := v.audienceOf(&t.Claims)
	if err != nil {
		return Verified{}, err
	}
	if err := checkTimes(&t.Claims, time.Now()); err != nil {
		return Verified{}, err
	}
	tenant, err := v.tenantOf(ctx, t.Claims.Tenant)
	if err != nil {
		return Verified{}, err
	}
	published, err := tenant.get(ctx, t.kid)
	if err != nil {
		return Verified{}, err
	}
	if !t.signedBy(published.keys[t.kid]) {
		return Verified{}, refuse(Signature, "token: not signed with a key of tenant %s", t.Claims.Tenant)
	}
	return Verified{JWT: t.JWT, Tenant: entra.Tenant(tenant.name), For: audience}, nil
}

// checkIssuer holds the issuer to the tenant's two names, of which either
// version of the endpoint gives either: the resource's registration decides.
// See "Access tokens in the Microsoft identity platform", "Validate the issuer",
// learn.microsoft.com/entra/identity-platform/access-tokens#validate-the-issuer.
func (v *Verifier) checkIssuer(c *entra.Claims) error {
	if !entra.IsGUID(c.Tenant) {
		return refuse(Tenant, "token: of tenant %s, want the GUID of one", entra.Quote(c.Tenant))
	}
	want := []string{stsOf(v.authority) + c.Tenant + "/", issuerOf(v.authority, entra.Tenant(c.Tenant))}
	if !slices.Contains(want, c.Issuer) {
		return refuse(Issuer, "token: issued by %s, want %s or %s", entra.Quote(c.Issuer), want[0], want[1])
	}
	return nil
}

// issuerOf is a tenant's name in tokens of version 2.
func issuerOf(a entra.Authority, t entra.Tenant) string { return a.Tenant(t) + "/v2.0" }

// stsOf is what stands before the tenant in the issuer of a v1 token: one for
// all clouds but China's.
func stsOf(a entra.Authority) string {
	if a == entra.China.Authority() {
		return "https://sts.chinacloudapi.cn/"
	}
	return "https://sts.windows.net/"
}

// audienceOf returns the audience of ours that the token is for.
func (v *Verifier) audienceOf(c *entra.Claims) (string, error) {
	for _, audience := range c.Audience {
		if ours, ok := v.audiences[canonical(audience)]; ok {
			return ours, nil
		}
	}
	if len(c.Audience) == 0 {
		return "", refuse(Audience, "token: does not say whom it is for")
	}
	return "", refuse(Audience, "token: for %s, which is no audience of this broker's; where that is the Application ID URI of an app that acts on behalf of users, put it into the audiences of its credential", entra.Quote(c.Audience[0]))
}

// canonical is one spelling for all of a resource's.
func canonical(audience string) string {
	if scope, err := entra.ParseResource(audience); err == nil {
		audience = scope.Audience()
	}
	if id, ok := strings.CutPrefix(audience, "api://"); ok && entra.IsGUID(id) {
		return id
	}
	return audience
}

// checkTimes holds the token to its times (RFC 7519 §4.1.4 and §4.1.5).
func checkTimes(c *entra.Claims, now time.Time) error {
	const never entra.Epoch = 253402300800 // the year 10000: beyond it, time.Time misleads
	if c.Expires <= 0 || c.Expires >= never || c.NotBefore < 0 || c.NotBefore >= never {
		return refuse(Malformed, "token: its times (exp, nbf) are missing, or no times")
	}
	if over := now.Sub(c.Expires.Time()); over >= skew {
		return refuse(Expired, "token: expired %s ago: get a new one, or look at the clock of this machine", over.Round(time.Second))
	}
	if early := c.NotBefore.Time().Sub(now); c.NotBefore != 0 && early > skew {
		return refuse(NotYetValid, "token: not valid for another %s: look at the clock of this machine", early.Round(time.Second))
	}
	return nil
}

// tenantOf finds the tenant by its GUID. A domain may stand for it, and then
// the authority has to be asked, once.
func (v *Verifier) tenantOf(ctx context.Context, id string) (*issuer, error) {
	if tenant, ok := v.tenants[id]; ok {
		return tenant, nil
	}
	for _, domain := range v.domains {
		domain.seek(ctx, anyKey) // all at once: they take no longer than one
	}
	var unknown error
	for _, domain := range v.domains {
		published, err := domain.get(ctx, anyKey)
		if err != nil {
			unknown = err
		} else if string(published.tenant) == id {
			return domain, nil
		}
	}
	if unknown != nil {
		return nil, unknown
	}
	return nil, refuse(Tenant, "token: of tenant %s, which is not configured", id)
}
