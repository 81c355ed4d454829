package protocol

import (
	"cmp"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"tokenbroker/entra"
	"tokenbroker/guard"
)

// oauthClient is what a request says of its client (RFC 6749 §2.3.1): the
// application to act as, which is no secret, and the caller's key in the place
// of the application's secret.
//
// A client_assertion (RFC 7523 §2.2) proves the application to Entra, and to the
// broker nobody: it is not looked at. Who has nothing else is not admitted where
// callers need a key, and where they need none it makes no difference.
type oauthClient struct {
	id     string
	secret entra.Secret // zero: none
}

// OAuthKeys is the [guard.KeysOf] of the token endpoint: client_secret, of the
// form or of Basic, and X-Broker-Key. Authorization: Bearer counts where there is
// nothing else.
func OAuthKeys(r *http.Request) ([]entra.Secret, error) {
	var form parameters
	if isForm(r.Header) {
		var err error
		if form, err = readOAuthForm(nil, r); err != nil {
			return nil, err
		}
	}
	client, err := readClient(r, form)
	if err != nil {
		return nil, err
	}
	if client.secret.IsZero() {
		return guard.HeaderKeys(r)
	}
	keys := []entra.Secret{client.secret}
	if r.Header["X-Broker-Key"] != nil {
		more, _ := guard.HeaderKeys(r) // never fails
		keys = append(keys, more...)
	}
	return keys, nil
}

func isForm(h http.Header) bool {
	media, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	return media == "application/x-www-form-urlencoded"
}

// readClient reads the client, which may be said in both places if it is the
// same one.
func readClient(r *http.Request, form parameters) (oauthClient, error) {
	said := oauthClient{form.get("client_id"), entra.NewSecret(form.get("client_secret"))}
	basic, err := readBasic(r)
	if err != nil {
		return oauthClient{}, err
	}
	switch {
	case said.id != "" && basic.id != "" && !strings.EqualFold(said.id, basic.id):
		return oauthClient{}, oauthRefusal(invalidRequest, "client_id: one in the form and another in the header Authorization, two answers to one question; keep one of them")
	case !said.secret.IsZero() && !basic.secret.IsZero() && !said.secret.Equal(basic.secret):
		return oauthClient{}, oauthRefusal(invalidRequest, "client_secret: one in the form and another in the header Authorization, two answers to one question; keep one of them")
	case said.secret.IsZero():
		said.secret = basic.secret
	}
	said.id = cmp.Or(said.id, basic.id)
	return said, nil
}

// readBasic reads Authorization: Basic. The halves are encoded as in a form
// before they are joined (RFC 6749 §2.3.1).
func readBasic(r *http.Request) (oauthClient, error) {
	switch values := r.Header["Authorization"]; {
	case len(values) > 1:
		return oauthClient{}, oauthRefusal(invalidRequest, "header Authorization: said twice; say it once")
	case !saysBasic(r.Header):
		return oauthClient{}, nil
	}
	user, password, ok := r.BasicAuth()
	id, idErr := url.QueryUnescape(user)
	secret, secretErr := url.QueryUnescape(password)
	if !ok || idErr != nil || secretErr != nil {
		return oauthClient{}, oauthRefusal(invalidRequest, "header Authorization: want Basic with base64 of client_id:client_secret, each encoded as in a form (RFC 6749 §2.3.1)")
	}
	return oauthClient{id, entra.NewSecret(secret)}, nil
}

func saysBasic(h http.Header) bool {
	scheme, _, _ := strings.Cut(h.Get("Authorization"), " ")
	return strings.EqualFold(scheme, "Basic")
}
