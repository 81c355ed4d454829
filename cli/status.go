package cli

import (
	"time"

	"tokenbroker/cache"
	"tokenbroker/entra"
)

// tokenStatus is a token as /readyz shows it, without the token.
type tokenStatus struct {
	Identity      string       `json:"identity"`
	Tenant        entra.Tenant `json:"tenant"`
	Scope         entra.Scope  `json:"scope"`
	State         cache.State  `json:"state"`
	ExpiresOn     *time.Time   `json:"expires_on,omitempty"`
	NextTry       *time.Time   `json:"next_try,omitempty"`
	Kind          string       `json:"kind,omitempty"` // of the last failure
	Detail        string       `json:"detail,omitempty"`
	AADSTS        int          `json:"aadsts,omitempty"`
	CorrelationID string       `json:"correlation_id,omitempty"`
}

// status is how each token fares, by the name of its identity.
func (a *app) status() []tokenStatus {
	names := map[entra.IdentityID]string{}
	for _, identity := range a.table.Identities() {
		names[identity.ID] = identity.Name
	}
	views := []tokenStatus{}
	for _, s := range a.cache.own.Status() {
		view := tokenStatus{
			Identity: names[s.Identity], Tenant: s.Tenant, Scope: s.Scope, State: s.State,
			ExpiresOn: unlessZero(s.ExpiresOn), NextTry: unlessZero(s.NextTry),
		}
		if e := s.Err; e != nil {
			view.Kind, view.Detail, view.AADSTS, view.CorrelationID = e.Kind.String(), e.Message(), e.AADSTS, e.CorrelationID
		}
		views = append(views, view)
	}
	return views
}

func unlessZero(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return new(t.UTC().Truncate(time.Second))
}
