package broker

import (
	"context"
	"log/slog"
	"time"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/public"

	"tokenbroker/entra"
)

// PasswordFile is a user's password in a file. Of a file that has become bad
// the last good content stays in use, and that is logged once.
type PasswordFile struct{ *files[entra.Secret] }

// OpenPasswordFile reads the file for the first time; then it must be good.
func OpenPasswordFile(path string, logger *slog.Logger) (*PasswordFile, error) {
	parse := func(contents [][]byte) (entra.Secret, error) { return parseCredential(path, contents[0]) }
	held, err := openFiles("password", logger, parse, path)
	if err != nil {
		return nil, err
	}
	return &PasswordFile{held}, nil
}

// Password is the source of a user whose password we have (RFC 6749 §4.3, which
// RFC 9700 §2.4 forbids, and which Microsoft's samples for Defender still show).
// It signs them in at each exchange and keeps nothing of that, so they need no
// sign-in and no store; which user it is belongs to the identity's id.
type Password struct {
	app      App
	username string
	file     *PasswordFile
}

// NewPassword makes the source. The app is a public client, its HTTP client is
// from [NewUserClient].
func NewPassword(app App, username string, file *PasswordFile) (*Password, error) {
	if err := app.validate(); err != nil {
		return nil, err
	}
	return &Password{app, username, file}, nil
}

// Token gets a new token. Who may not sign in by a password alone is told what
// to do instead.
func (p *Password) Token(ctx context.Context, req entra.Request) (entra.Token, error) {
	d := &delegated{
		exchange: p.app.exchange(ctx, &req, &proof{name: p.file.String()}),
		user:     "user " + entra.Quote(p.username), act: insteadOfPassword,
	}
	if err := d.check(&req); err != nil {
		return entra.Token{}, err
	}
	client, err := d.msal(&p.app, nil)
	if err != nil {
		return entra.Token{}, err
	}
	var options []public.AcquireByUsernamePasswordOption
	if req.Claims != "" {
		options = append(options, public.WithClaims(req.Claims))
	}
	password, _ := p.file.now() // a fault has been logged
	ctx = errand{username: p.username}.in(ctx)
	result, err := client.AcquireTokenByUsernamePassword(d.in(ctx), req.Scope.Names(), p.username, password.Reveal(), options...) //nolint:staticcheck // deprecated for good reasons, which the configuration warns of
	if err != nil {
		return entra.Token{}, d.explain(ctx, err)
	}
	return d.token(&result, time.Time{})
}
