package defender

import (
	"slices"
	"strings"

	"tokenbroker/entra"
)

// Missing returns the permissions that would open the endpoint, each alone,
// where a token with these claims has none of them; nil if the token opens it.
// For a user's token and an endpoint that no user's token opens these are the
// application permissions.
func Missing(e *Endpoint, claims *entra.Claims) []string {
	wanted := e.App
	if claims.Delegated() {
		wanted = e.Delegated
	}
	for _, held := range claims.Permissions() {
		if slices.ContainsFunc(wanted, func(w string) bool { return SamePermission(w, held) }) {
			return nil
		}
	}
	if len(wanted) == 0 {
		return e.App
	}
	return wanted
}

// SamePermission takes Incidents.Read.All for Incident.Read.All: Microsoft's
// samples, and tokens in the field, have the plural. Letter case, in which the
// documentation is not of one mind, makes no difference.
func SamePermission(a, b string) bool {
	thingA, verbA, _ := strings.Cut(strings.ToLower(a), ".")
	thingB, verbB, _ := strings.Cut(strings.ToLower(b), ".")
	return verbA == verbB && strings.TrimSuffix(thingA, "s") == strings.TrimSuffix(thingB, "s")
}
