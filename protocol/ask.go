package protocol

import (
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"tokenbroker/entra"
	"tokenbroker/route"
)

// maxForm bounds the form of a token request, in bytes.
const maxForm = 64 << 10

// asked are the parameters of a token request, as they came: each at most once.
type asked map[string]string

// readAsk reads a native token request. Anything said twice, or not known, is
// refused: a parameter that is passed over is a wrong token later.
func readAsk(w http.ResponseWriter, r *http.Request) (ask route.Ask, fresh bool, err error) {
	values, err := parameters(w, r)
	if err != nil {
		return route.Ask{}, false, err
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		switch value := values[name]; name {
		case "scope":
			ask.Scope, err = entra.ParseScope(value)
		case "resource":
			ask.Scope, err = entra.ParseResource(value)
		case "route":
			ask.Route = value
		case "path":
			ask.Path = value
		case "identity":
			ask.Identity = value
		case "tenant":
			ask.Tenant = value
		case "fresh":
			fresh, err = readFresh(r, value)
		case "assertion":
			err = noAssertion()
		default:
			err = entra.Errorf(entra.Invalid, "token.ask", "parameter %s: not known; want scope, resource, route, path, identity, tenant or fresh", entra.Quote(name))
		}
		if err != nil {
			return route.Ask{}, false, err
		}
	}
	if r.Header.Get("X-User-Assertion") != "" {
		return route.Ask{}, false, noAssertion()
	}
	return ask, fresh, values.oneTarget()
}

// oneTarget refuses no answer, and two answers, to what the token is for.
func (a asked) oneTarget() error {
	var said []string
	for _, name := range []string{"scope", "resource", "route"} {
		if a[name] != "" {
			said = append(said, name)
		}
	}
	switch len(said) {
	case 1:
		return nil
	case 0:
		return entra.Errorf(entra.Invalid, "token.ask", "what for? say scope=https://host/.default, resource=https://host or route=NAME; see /routes")
	}
	return entra.Errorf(entra.Invalid, "token.ask", "%s: two answers to one question; keep one of them", strings.Join(said, " and "))
}

func readFresh(r *http.Request, value string) (bool, error) {
	switch {
	case value == "false":
		return false, nil
	case value != "true":
		return false, entra.Errorf(entra.Invalid, "token.ask", "fresh=%s: want true or false", entra.Quote(value))
	case r.Method != http.MethodPost:
		return false, entra.Errorf(entra.Invalid, "token.ask", "fresh=true: send it by POST, since it makes a new token")
	}
	return true, nil
}

func noAssertion() error {
	return entra.Errorf(entra.Invalid, "token.ask", "user assertion: no identity here acts on behalf of users; leave it off")
}

// parameters are those of the query and, for a POST, of the form.
func parameters(w http.ResponseWriter, r *http.Request) (asked, error) {
	values := asked{}
	if err := values.add("query", r.URL.RawQuery); err != nil {
		return nil, err
	}
	if r.Method != http.MethodPost {
		return values, nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, entra.Errorf(entra.Invalid, "token.ask", "form: larger than %d bytes", maxForm)
	}
	if err != nil {
		return nil, &entra.Error{Kind: entra.Canceled, Op: "token.ask", Err: err}
	}
	if len(body) == 0 {
		return values, nil
	}
	if media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); media != "application/x-www-form-urlencoded" {
		return nil, entra.Errorf(entra.Invalid, "token.ask", "Content-Type %s: want application/x-www-form-urlencoded", entra.Quote(r.Header.Get("Content-Type")))
	}
	return values, values.add("form", string(body))
}

// add parses one part. The error names the part, not its text, which may hold
// what is nobody's business.
func (a asked) add(part, encoded string) error {
	parsed, err := url.ParseQuery(encoded)
	if err != nil {
		return entra.Errorf(entra.Invalid, "token.ask", "%s: not well-formed: a bare ; or a broken %% escape", part)
	}
	for name, values := range parsed {
		if _, twice := a[name]; twice || len(values) > 1 {
			return entra.Errorf(entra.Invalid, "token.ask", "parameter %s: said twice; say it once", entra.Quote(name))
		}
		a[name] = values[0]
	}
	return nil
}
