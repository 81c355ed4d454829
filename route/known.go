package route

import (
	"slices"
	"strings"

	"tokenbroker/entra"
)

// Known is what Entra and Azure know an identity by. Protocols that are made
// for one application or one managed identity name it so. The zero value is
// nothing.
type Known struct {
	ClientID   string // of the application
	ObjectID   string // of a managed identity's service principal
	ResourceID string // of a user-assigned managed identity, in Azure Resource Manager
	User       string // whose password the identity has
}

// names reports whether the identity is known by all that want names. Ids are
// GUIDs, names of users and paths of Azure: letter case makes no difference.
func (k Known) names(want Known) bool {
	same := func(want, is string) bool { return want == "" || strings.EqualFold(want, is) }
	return same(want.ClientID, k.ClientID) && same(want.ObjectID, k.ObjectID) && same(want.ResourceID, k.ResourceID) && same(want.User, k.User)
}

// identityKnownBy returns the name of the identity that is meant: of those known
// so, which act on behalf of a user just where the request has an assertion, the
// one preferred, that of the routes that use the scope, or the default one, or
// the only one.
func (t *Table) identityKnownBy(want Known, ask Ask, preferred string) (string, error) {
	var candidates []string
	for _, i := range t.identities {
		if i.Known.names(want) && i.OnBehalfOf == !ask.Assertion.IsZero() {
			candidates = append(candidates, i.Name)
		}
	}
	if preferred == "" && ask.Scope != "" {
		preferred, _ = t.identityFor(ask.Scope) // it may be one of many; then it says nothing
	}
	byDefault := ""
	if t.byDefault != nil {
		byDefault = t.byDefault.Name
	}
	switch {
	case len(candidates) == 0:
		return "", entra.Errorf(entra.NotFound, opToken, "%s: no identity of the configuration is known by it; leave it off, or say one of: %s", want, t.knownIDs(!ask.Assertion.IsZero()))
	case len(candidates) == 1:
		return candidates[0], nil
	case slices.Contains(candidates, preferred):
		return preferred, nil
	case slices.Contains(candidates, byDefault):
		return byDefault, nil
	}
	return "", entra.Errorf(entra.Invalid, opToken, "%s: several identities are known by it (%s); ask /token, where identity= says which", want, strings.Join(candidates, ", "))
}

// String is what the identity is known by, as errors name it.
func (k Known) String() string {
	var said []string
	for _, id := range [...]struct{ name, value string }{
		{"client id", k.ClientID}, {"object id", k.ObjectID}, {"resource id", k.ResourceID}, {"user", k.User},
	} {
		if id.value != "" {
			said = append(said, id.name+" "+entra.Quote(id.value))
		}
	}
	return strings.Join(said, ", ")
}

// knownIDs lists the client ids of the identities that act on behalf of users, or
// of those that do not.
func (t *Table) knownIDs(onBehalfOf bool) string {
	var ids []string
	for _, i := range t.identities {
		if id := i.Known.ClientID; i.OnBehalfOf == onBehalfOf && id != "" && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return "none"
	}
	return strings.Join(ids, ", ")
}
