package entraemu

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"tokenbroker/entra"
)

// MFACode is the code that the emulator takes from everybody as the second
// factor.
const MFACode = "246810"

const (
	// tries is how many wrong passwords in a row lock an account, and lockout
	// for how long. See "Protect user accounts from attacks with Microsoft Entra
	// smart lockout", learn.microsoft.com/entra/identity/authentication/howto-password-smart-lockout.
	tries   = 10
	lockout = time.Minute
)

// User is an account of one tenant, and maybe a guest in others.
type User struct {
	UPN      string // what they sign in as: a name, @, and a domain
	Name     string
	ObjectID string                  // a GUID; in the home tenant
	Home     entra.Tenant            // a GUID
	Guest    map[entra.Tenant]string // object ids in the tenants that invited them
	Password entra.Secret
	Consents []UserConsent // what they consented to by themselves

	Admin           bool   // of the home tenant: may consent for everybody there
	MFA             bool   // a password is not enough, [MFACode] has to be given too
	Disabled        bool   // the account is switched off
	PasswordExpired bool   // it has to be changed, which the emulator offers nobody
	Federation      string // the metadata address of the domain's own sign-in service; empty: Entra signs them in
}

// UserConsent is what a user let an app do in their name in a tenant.
type UserConsent struct {
	Tenant   entra.Tenant // a GUID
	ClientID string
	Scopes   Scopes
}

// Scopes are delegated permissions by the name of the [Resource].
type Scopes map[string][]string

// account is a user with what has happened to them. It is replaced, never
// written into.
type account struct {
	User
	failures    int       // wrong passwords since the last right one
	lockedUntil time.Time // zero: never was
	validFrom   time.Time // sessions of before are revoked
}

// in returns the user's object id in a tenant.
func (u *User) in(tenant *Tenant) (object string, ok bool) {
	if u.Home == tenant.ID {
		return u.ObjectID, true
	}
	object, ok = u.Guest[tenant.ID]
	return object, ok
}

// governs reports whether the user may consent for everybody in a tenant.
func (u *User) governs(tenant *Tenant) bool { return u.Admin && u.Home == tenant.ID }

// consented returns the permissions that the user gave an app by themselves.
func (u *User) consented(client string, tenant *Tenant, resource string) []string {
	var names []string
	for _, consent := range u.Consents {
		if consent.ClientID == client && consent.Tenant == tenant.ID {
			names = append(names, consent.Scopes[resource]...)
		}
	}
	return names
}

// fault names everything that makes no sense of a user.
func (u *User) fault(c *Config) error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if name, domain, _ := strings.Cut(u.UPN, "@"); name == "" || domain == "" {
		fault("upn %s: want name@domain", entra.Quote(u.UPN))
	}
	if u.Password.IsZero() {
		fault("password: want one")
	}
	objects := map[entra.Tenant]string{u.Home: u.ObjectID}
	maps.Copy(objects, u.Guest)
	for _, tenant := range slices.Sorted(maps.Keys(objects)) {
		if !c.hasTenant(tenant) {
			fault("tenant %s is not in tenants", entra.Quote(string(tenant)))
		}
		if !entra.IsGUID(objects[tenant]) {
			fault("object id %s: want a GUID", entra.Quote(objects[tenant]))
		}
	}
	for _, consent := range u.Consents {
		if err := consent.fault(c); err != nil {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

func (c *UserConsent) fault(config *Config) error {
	var faults []error
	if !config.hasTenant(c.Tenant) {
		faults = append(faults, fmt.Errorf("consent: tenant %s is not in tenants", entra.Quote(string(c.Tenant))))
	}
	for _, resource := range slices.Sorted(maps.Keys(c.Scopes)) {
		if !config.hasResource(resource) {
			faults = append(faults, fmt.Errorf("consent: resource %s is not in resources", entra.Quote(resource)))
		}
	}
	return errors.Join(faults...)
}

// SetUser adds a user, or replaces the one of that name. A new password revokes
// their sessions, as a reset by an administrator does.
func (s *Server) SetUser(user User) error {
	if err := user.fault(&s.config); err != nil {
		return entra.Errorf(entra.Invalid, "emulator.entra", "user %s: %w", entra.Quote(user.UPN), err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	before, known := s.accounts[strings.ToLower(user.UPN)]
	after := account{User: user, validFrom: before.validFrom}
	if known && !before.Password.Equal(user.Password) {
		after.validFrom = time.Now()
	}
	s.accounts[strings.ToLower(user.UPN)] = after
	return nil
}

// User returns a user as they are now.
func (s *Server) User(upn string) (User, bool) {
	a, ok := s.account(upn)
	return a.User, ok
}

// RevokeSessions makes everything that a user signed in to before now ask them
// again: refresh tokens, sessions of browsers, and tokens on whose behalf others
// are asked for. An access token stays good until it expires.
func (s *Server) RevokeSessions(upn string) error {
	return s.changeAccount(upn, func(a *account) { a.validFrom = time.Now() })
}

// SetUserConsent puts a user's consent in place of the one that they gave the
// app in that tenant; without scopes it takes that back.
func (s *Server) SetUserConsent(upn string, consent UserConsent) error {
	if err := consent.fault(&s.config); err != nil {
		return entra.Errorf(entra.Invalid, "emulator.entra", "user %s: %w", entra.Quote(upn), err)
	}
	return s.changeAccount(upn, func(a *account) {
		same := func(c UserConsent) bool { return c.Tenant == consent.Tenant && c.ClientID == consent.ClientID }
		a.Consents = append(slices.DeleteFunc(slices.Clone(a.Consents), same), consent)
	})
}

// account returns a user's account as it is now.
func (s *Server) account(upn string) (account, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.accounts[strings.ToLower(upn)]
	return a, ok
}

// accountOf returns the account that has an object id in a tenant.
func (s *Server) accountOf(tenant *Tenant, object string) (account, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.accounts {
		if id, ok := a.in(tenant); ok && strings.EqualFold(id, object) {
			return a, true
		}
	}
	return account{}, false
}

// changeAccount replaces an account by a changed copy.
func (s *Server) changeAccount(upn string, edit func(*account)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.accounts[strings.ToLower(upn)]
	if !ok {
		return entra.Errorf(entra.NotFound, "emulator.entra", "user %s: no such user", entra.Quote(upn))
	}
	edit(&a)
	s.accounts[strings.ToLower(upn)] = a
	return nil
}

// logIn checks a password, and counts the wrong ones. Whether the user may do
// anything with it is for standing to say.
func (s *Server) logIn(upn, password string) (account, *refusal) {
	a, known := s.account(upn)
	if !known {
		return account{}, noAccount(upn)
	}
	now := time.Now()
	if now.Before(a.lockedUntil) {
		return account{}, lockedOut()
	}
	right := a.Password.Equal(entra.NewSecret(password))
	_ = s.changeAccount(upn, func(a *account) { // it is known
		if a.failures++; right {
			a.failures = 0
		}
		if a.failures >= tries {
			a.failures, a.lockedUntil = 0, now.Add(lockout)
		}
	})
	switch {
	case !right:
		return account{}, wrongPassword()
	case a.PasswordExpired:
		return account{}, expiredPassword()
	}
	return a, nil
}
