package broker

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/public"

	"tokenbroker/entra"
)

// pollInterval is that of RFC 8628 §3.5, in seconds, where the authority names
// none.
const pollInterval = 5

// byDeviceCode is RFC 8628.
func (u *User) byDeviceCode(ctx context.Context, l *login) (public.AuthResult, error) {
	var options []public.AcquireByDeviceCodeOption
	if l.claims != "" {
		options = append(options, public.WithClaims(l.claims))
	}
	code, err := l.library.AcquireTokenByDeviceCode(l.in(ctx), l.scope.Names(), options...)
	if err != nil {
		return public.AuthResult{}, l.explain(ctx, err)
	}
	prompt, err := l.devicePrompt(&code.Result)
	if err != nil {
		return public.AuthResult{}, err
	}
	l.show(prompt)
	polling := errand{interval: time.Duration(cmp.Or(max(code.Result.Interval, 0), pollInterval)) * time.Second}
	result, err := code.AuthenticationResult(polling.in(l.in(ctx)))
	if err != nil {
		return result, l.ended(ctx, code.Result.ExpiresOn, err)
	}
	return result, nil
}

// devicePrompt puts what the authority says into words of ours: it goes to a
// terminal, where other words could do anything.
func (l *login) devicePrompt(code *public.DeviceCodeResult) (Prompt, error) {
	page, err := url.Parse(code.VerificationURL)
	if err != nil || page.Scheme != "https" || page.Host == "" || code.UserCode == "" || strings.ContainsFunc(code.UserCode, notShown) {
		return Prompt{}, l.errorf(entra.Unavailable, "{authority} answered with something that is no device code: is a proxy in between?")
	}
	return Prompt{
		URL: page.String(), UserCode: code.UserCode, ExpiresOn: code.ExpiresOn,
		Message: fmt.Sprintf("open %s in a browser on any machine, enter the code %s and sign in as %s", page, code.UserCode, l.user),
	}, nil
}

func notShown(r rune) bool { return r > unicode.MaxASCII || !unicode.IsPrint(r) }
