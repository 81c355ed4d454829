package protocol

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"tokenbroker/entra"
)

const opIntrospect = "token.introspect"

// Introspection is POST /introspect (RFC 7662): whether a token that somebody
// has is right, and what it says.
type Introspection struct {
	// Held reports whether the broker got the token itself and would still use
	// it. That is all there is to say for one that nobody here can verify, as
	// Microsoft Graph's are.
	Held func(entra.Secret) bool
	// Verify returns what the token says if it is right. Errors of kind
	// [entra.Invalid] and [entra.Unadmitted] are verdicts, whose code is the
	// reason; any other says that there is none.
	Verify     func(context.Context, entra.Secret) (entra.JWT, error)
	WriteError func(w http.ResponseWriter, r *http.Request, err *entra.Error)
}

// verdict is the answer about a token that is not right. RFC 7662 §2.2 would
// rather have it say no more than that; here the callers are the ones who have
// to find out what is wrong.
type verdict struct {
	Active bool   `json:"active"`
	Reason string `json:"reason"`
	Detail string `json:"detail"` // for people
}

// ServeHTTP answers with the token's claims beside "active": true, or with the
// reason beside "active": false. A token that is not right is no failure.
func (i Introspection) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	shown, err := readShown(w, r)
	if err != nil {
		i.WriteError(w, r, entra.AsError(err))
		return
	}
	jwt, err := i.inspect(r.Context(), shown)
	if err == nil {
		writeAnswer(w, "application/json", activeAnswer(jwt))
		return
	}
	switch e := entra.AsError(err); e.Kind {
	case entra.Invalid, entra.Unadmitted:
		body, _ := json.Marshal(verdict{Reason: e.Code, Detail: e.Message()}) // strings alone: it cannot fail
		writeAnswer(w, "application/json", append(body, '\n'))
	default:
		i.WriteError(w, r, e)
	}
}

// inspect returns what the token says, if it is right.
func (i Introspection) inspect(ctx context.Context, shown entra.Secret) (entra.JWT, error) {
	if !i.Held(shown) {
		return i.Verify(ctx, shown)
	}
	held := entra.Token{Access: shown}
	jwt, err := held.JWT()
	if err != nil {
		return entra.JWT{}, nil //nolint:nilerr // an opaque one is right too, and says nothing
	}
	return jwt, nil
}

// readShown reads the token from the form (RFC 7662 §2.1). What else the form
// says, such as token_type_hint, makes no difference.
func readShown(w http.ResponseWriter, r *http.Request) (entra.Secret, error) {
	if r.URL.RawQuery != "" {
		return entra.Secret{}, entra.Errorf(entra.Invalid, opIntrospect, "query: has no place here, since it ends in logs; send token=... in the form of the POST")
	}
	form, err := readForm(w, r)
	if err != nil {
		return entra.Secret{}, err
	}
	if said := form["token"]; len(said) != 1 || said[0] == "" {
		return entra.Secret{}, entra.Errorf(entra.Invalid, opIntrospect, "form: want token=... in it, once and not empty")
	}
	return entra.NewSecret(form.get("token")), nil
}

// activeAnswer is the claims with what RFC 7662 §2.2 has names of its own for.
func activeAnswer(jwt entra.JWT) []byte {
	var answer map[string]json.RawMessage
	if json.Unmarshal(jwt.Payload, &answer) != nil || answer == nil {
		answer = map[string]json.RawMessage{} // an opaque token's
	}
	for name := range answer {
		if strings.EqualFold(name, "active") { // nobody but we say so
			delete(answer, name)
		}
	}
	set := func(name string, value any) {
		if _, said := answer[name]; !said && value != "" {
			answer[name], _ = json.Marshal(value) // a string or a boolean
		}
	}
	set("active", true)
	set("token_type", "Bearer")
	set("client_id", jwt.Claims.Client())
	set("scope", jwt.Claims.Scp)
	body, _ := json.Marshal(answer) // of JSON that was read
	return append(body, '\n')
}
