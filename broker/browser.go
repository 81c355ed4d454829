package broker

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/public"

	"tokenbroker/entra"
)

// byBrowser is RFC 8252: RFC 6749 §4.1 with RFC 7636, and an answer that comes
// to a listener on this machine or is pasted.
func (u *User) byBrowser(ctx context.Context, l *login) (public.AuthResult, error) {
	awaited := newAnswers()
	to, stop, err := u.redirect.listen(ctx, awaited)
	if err != nil {
		return public.AuthResult{}, err
	}
	defer stop()
	verifier := rand.Text() + rand.Text() // RFC 7636 §4.1: 43 characters at least
	until, _ := ctx.Deadline()
	l.show(Prompt{
		URL: l.authorizeURL(to, awaited.state, verifier), Message: l.browserMessage(&u.redirect),
		ExpiresOn: until, Answer: awaited.paste,
	})
	select {
	case <-ctx.Done():
		return public.AuthResult{}, l.ended(ctx, until, ctx.Err())
	case got := <-awaited.first:
		if got.code.IsZero() {
			return public.AuthResult{}, l.sentBack(&got.refusal)
		}
		options := []public.AcquireByAuthCodeOption{public.WithChallenge(verifier)}
		if l.claims != "" {
			options = append(options, public.WithClaims(l.claims))
		}
		result, err := l.library.AcquireTokenByAuthCode(l.in(ctx), got.code.Reveal(), to, l.scope.Names(), options...)
		if err != nil {
			return result, l.ended(ctx, until, err)
		}
		return result, nil
	}
}

// authorizeURL is the page that the user opens.
func (l *login) authorizeURL(to string, state entra.Secret, verifier string) string {
	challenge := sha256.Sum256([]byte(verifier))
	query := url.Values{
		"client_id":             {l.client},
		"response_type":         {"code"},
		"response_mode":         {"query"}, // the only one that can be pasted
		"redirect_uri":          {to},
		"scope":                 {strings.Join(l.scope.Names(), " ") + " openid offline_access profile"},
		"state":                 {state.Reveal()},
		"code_challenge":        {base64.RawURLEncoding.EncodeToString(challenge[:])},
		"code_challenge_method": {"S256"},
		"prompt":                {cmp.Or(l.opts.Prompt, selectAccount)},
	}
	if l.claims != "" {
		query.Set("claims", l.claims)
	}
	return l.authority.Tenant(l.tenant) + "/oauth2/v2.0/authorize?" + query.Encode()
}

// browserMessage says what to do. That a redirect URI is not registered Entra
// tells the user and never us.
func (l *login) browserMessage(to *redirect) string {
	back := "paste the address that the browser ends at"
	if to.loopback() {
		back = "come back; if that is a browser on another machine, paste the address that it ends at"
	}
	return fmt.Sprintf("open the address in a browser, sign in as %s, and %s: it begins with %s. "+
		"Should the page say AADSTS50011, add %[3]s to the app registration: "+
		"in the Entra portal under App registrations > Authentication > Add a platform > Mobile and desktop applications", l.user, back, to)
}

// sentBack is why Entra sent the browser back without a code.
func (l *login) sentBack(said *refusal) *entra.Error {
	kind, text := l.verdict(0, *said)
	if said.number != 0 {
		text += fmt.Sprintf(" (AADSTS%d)", said.number)
	}
	e := l.errorf(kind, text)
	e.Code, e.AADSTS = said.code, said.number
	return l.tell(e)
}
