package broker

import (
	"context"

	"tokenbroker/entra"
)

// NewAccounts puts before a source, the cache, what says whose token a request
// is for: of an identity that is a [User] the account that is signed in. Users
// returns nil for any other identity.
func NewAccounts(next entra.Source, users func(entra.IdentityID) *User) entra.Source {
	return entra.SourceFunc(func(ctx context.Context, req entra.Request) (entra.Token, error) {
		if user := users(req.Identity); user != nil {
			account, err := user.Account(ctx)
			if err != nil {
				return entra.Token{}, err
			}
			req.Account = account.ID
		}
		return next.Token(ctx, req)
	})
}
