package route

import (
	"net/http"

	"tokenbroker/entra"
)

const opAssertion = "route.assertion"

// UserAssertion reads the header by which a caller names the user to act on
// behalf of: X-User-Assertion, the user's access token for the identity's app.
// No such header is the zero secret. An empty one is refused, as two are: who
// means a user must not get another's token, nor that of the application.
func UserAssertion(h http.Header) (entra.Secret, error) {
	const name = "X-User-Assertion"
	switch said := h[name]; {
	case len(said) == 0:
		return entra.Secret{}, nil
	case len(said) > 1:
		return entra.Secret{}, entra.Errorf(entra.Invalid, opAssertion, "header %s: said twice; say it once", name)
	case said[0] == "":
		return entra.Secret{}, entra.Errorf(entra.Invalid, opAssertion, "header %s: empty; put the user's access token there, or leave it off", name)
	default:
		return entra.NewSecret(said[0]), nil
	}
}

// actsFor refuses a user's assertion where the identity acts as itself. That
// there is none where it acts on behalf of users is not said here, where calls
// are resolved to be looked at too, but by the source of its tokens.
func (i *Identity) actsFor(assertion entra.Secret) error {
	if assertion.IsZero() || i.OnBehalfOf {
		return nil
	}
	return entra.Errorf(entra.Invalid, opAssertion, "user assertion: identity %q does not act on behalf of users; leave it off, or name an identity that does", i.Name)
}
