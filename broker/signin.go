package broker

import (
	"context"
	"encoding/json"
	"time"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/cache"

	"tokenbroker/entra"
)

// SignIns keeps sign-ins by name, as package store does.
type SignIns interface {
	Load(ctx context.Context, name string) (entra.Secret, error) // zero: there is none
	Save(ctx context.Context, name string, signIn entra.Secret) error
	Delete(ctx context.Context, name string) error
	// Update saves what edit makes of a sign-in while nobody else changes it, be
	// it another process.
	Update(ctx context.Context, name string, edit func(held entra.Secret) entra.Secret) error
}

// Account is a user who has signed in.
type Account struct {
	ID       string    `json:"id"`       // the home account id, for good: a name may be given to somebody else
	Username string    `json:"username"` // what they sign in as
	Tenant   string    `json:"tenant"`   // where they signed in
	SignedIn time.Time `json:"signed_in"`
}

// signIn is one signing in of a user: what a store keeps.
type signIn struct {
	Account
	cache  msalCache
	claims string // of a challenge that it could not meet, for the next one; empty: none
}

// kept is a signIn as it is stored.
type keptSignIn struct {
	Account Account         `json:"account"`
	MSAL    json.RawMessage `json:"msal"`
	Claims  string          `json:"claims,omitempty"`
}

// pack makes of a sign-in what is stored.
func (s *signIn) pack() (entra.Secret, error) {
	content, err := json.Marshal(keptSignIn{s.Account, json.RawMessage(s.cache.content.Reveal()), s.claims})
	return entra.NewSecret(string(content)), err
}

// unpack reads what was stored. It reports false where that is nothing of ours.
func unpack(stored entra.Secret) (*signIn, bool) {
	var kept keptSignIn
	if err := json.Unmarshal([]byte(stored.Reveal()), &kept); err != nil || kept.Account.ID == "" {
		return nil, false
	}
	return &signIn{kept.Account, msalCache{entra.NewSecret(string(kept.MSAL))}, kept.Claims}, true
}

// msalCache carries what MSAL remembers of one user from one of its clients to
// the next: the only way to their refresh token.
type msalCache struct{ content entra.Secret }

// Replace gives MSAL what it remembered.
func (c *msalCache) Replace(_ context.Context, into cache.Unmarshaler, _ cache.ReplaceHints) error {
	if c.content.IsZero() {
		return nil
	}
	return into.Unmarshal([]byte(c.content.Reveal()))
}

// Export takes what MSAL remembers, but for the tokens that are remembered by
// us or not needed: it would answer from them what is meant to be asked anew.
func (c *msalCache) Export(_ context.Context, from cache.Marshaler, _ cache.ExportHints) error {
	content, err := from.Marshal()
	if err != nil {
		return err
	}
	var parts map[string]json.RawMessage
	if err := json.Unmarshal(content, &parts); err != nil {
		return err
	}
	delete(parts, "AccessToken")
	delete(parts, "IdToken")
	content, err = json.Marshal(parts)
	c.content = entra.NewSecret(string(content))
	return err
}

// renewable reports whether there is a refresh token.
func (c *msalCache) renewable() bool {
	var parts struct {
		RefreshToken map[string]json.RawMessage
	}
	return json.Unmarshal([]byte(c.content.Reveal()), &parts) == nil && len(parts.RefreshToken) > 0
}
