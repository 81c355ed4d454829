package protocol

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"tokenbroker/entra"
	"tokenbroker/route"
)

const (
	maxForm = 64 << 10 // bytes
	opAsk   = "token.ask"
)

// readAsk reads a native token request. What is said twice, not known, empty,
// or said where nobody looks is refused: a parameter that is passed over is a
// wrong token later. What the request says of fresh is for the caller to check.
func readAsk(w http.ResponseWriter, r *http.Request) (ask route.Ask, fresh string, err error) {
	said, err := readParameters(w, r)
	if err != nil {
		return route.Ask{}, "", err
	}
	if err := said.oneTarget(); err != nil {
		return route.Ask{}, "", err
	}
	ask = route.Ask{Route: said.get("route"), Path: said.get("path"), Identity: said.get("identity"), Tenant: said.get("tenant")}
	if ask.Assertion, err = said.assertion(r.Header); err != nil {
		return route.Ask{}, "", err
	}
	if scope := said.get("scope"); scope != "" {
		ask.Scope, err = entra.ParseScope(scope)
	} else if resource := said.get("resource"); resource != "" {
		ask.Scope, err = entra.ParseResource(resource)
	}
	return ask, said.get("fresh"), err
}

// checkFresh checks what a request for a token says of fresh; empty: nothing.
func checkFresh(r *http.Request, fresh string) error {
	switch {
	case fresh == "" || fresh == "false":
		return nil
	case fresh != "true":
		return entra.Errorf(entra.Invalid, opAsk, "fresh=%s: want true or false", entra.Quote(fresh))
	case r.Method != http.MethodPost:
		return entra.Errorf(entra.Invalid, opAsk, "fresh=true: send it by POST, since it makes a new token")
	}
	return nil
}

// parameters are what a token request says, by name. Each has one value, which
// is not empty.
type parameters map[string][]string

// get returns the parameter of that name, or "" where it was not said.
func (p parameters) get(name string) string { return url.Values(p).Get(name) }

// readParameters reads the query and, of a POST, the form.
func readParameters(w http.ResponseWriter, r *http.Request) (parameters, error) {
	said, err := parse("query", r.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	if _, ok := said["assertion"]; ok {
		return nil, entra.Errorf(entra.Invalid, opAsk, "user assertion: not in the query, which ends in logs; send it as the header X-User-Assertion, or in the form of a POST")
	}
	switch {
	case r.Method == http.MethodPost:
		form, err := readForm(w, r)
		if err != nil {
			return nil, err
		}
		for name, values := range form {
			said[name] = append(said[name], values...)
		}
	case r.ContentLength != 0:
		return nil, entra.Errorf(entra.Invalid, opAsk, "body: a %s has none here; put the parameters into the query, or send them by POST", r.Method)
	}
	return said, said.check("scope", "resource", "route", "path", "identity", "tenant", "fresh", "assertion")
}

// ReadForm reads what is said to another of the broker's own paths: the query of
// a GET, the form of a POST. Only the named parameters may stand there, each
// once and with a value.
func ReadForm(w http.ResponseWriter, r *http.Request, names ...string) (url.Values, error) {
	var said parameters
	var err error
	switch {
	case r.Method != http.MethodPost:
		said, err = parse("query", r.URL.RawQuery)
	case r.URL.RawQuery != "":
		return nil, entra.Errorf(entra.Invalid, opAsk, "query: not read here, and it ends in logs; put the parameters into the form")
	default:
		said, err = readForm(w, r)
	}
	if err != nil {
		return nil, err
	}
	return url.Values(said), said.check(names...)
}

// readForm reads the body of a POST. It may be empty, and then be of any type.
func readForm(w http.ResponseWriter, r *http.Request) (parameters, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, entra.Errorf(entra.Invalid, opAsk, "form: larger than %d bytes: %w", maxForm, tooLarge)
	}
	if err != nil {
		return nil, entra.Errorf(entra.Invalid, opAsk, "form: broke off, came too late, or is not what its header says")
	}
	const form = "application/x-www-form-urlencoded"
	if media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); len(body) > 0 && media != form {
		return nil, entra.Errorf(entra.Invalid, opAsk, "Content-Type %s: want %s", entra.Quote(r.Header.Get("Content-Type")), form)
	}
	return parse("form", string(body))
}

// parse reads one part of the request. The error names the part, not its text,
// which may hold what is nobody's business.
func parse(part, encoded string) (parameters, error) {
	values, err := url.ParseQuery(encoded)
	if err != nil {
		return nil, entra.Errorf(entra.Invalid, opAsk, "%s: not well-formed: it has a bare ; or a broken %% escape", part)
	}
	return parameters(values), nil
}

// check says what is wrong with the parameters, of which those of the names may
// be there. Where several are wrong, it is the first by name, so that a request
// gets the same answer every time.
func (p parameters) check(names ...string) error {
	var first string
	var fault error
	for name, values := range p {
		if err := checkParameter(name, values, names); err != nil && (fault == nil || name < first) {
			first, fault = name, err
		}
	}
	return fault
}

func checkParameter(name string, values, known []string) error {
	switch {
	case !slices.Contains(known, name):
		want := known[len(known)-1]
		if rest := known[:len(known)-1]; len(rest) > 0 {
			want = strings.Join(rest, ", ") + " or " + want
		}
		return entra.Errorf(entra.Invalid, opAsk, "parameter %s: not known; want %s", entra.Quote(name), want)
	case len(values) > 1:
		return entra.Errorf(entra.Invalid, opAsk, "parameter %s: said twice; say it once", name)
	case values[0] == "":
		return entra.Errorf(entra.Invalid, opAsk, "parameter %s: empty; give it a value or leave it off", name)
	}
	return nil
}

// assertion returns the user's token, of the header or of the form; zero: there
// is none.
func (p parameters) assertion(h http.Header) (entra.Secret, error) {
	sent, err := route.UserAssertion(h)
	if p["assertion"] == nil || err != nil {
		return sent, err
	}
	if !sent.IsZero() {
		return entra.Secret{}, entra.Errorf(entra.Invalid, opAsk, "user assertion: in the form and in the header X-User-Assertion; send it once")
	}
	return entra.NewSecret(p.get("assertion")), nil
}

// oneTarget refuses no answer, and two answers, to what the token is for.
func (p parameters) oneTarget() error {
	said := slices.DeleteFunc([]string{"scope", "resource", "route"}, func(name string) bool { return p[name] == nil })
	switch len(said) {
	case 1:
		return nil
	case 0:
		return entra.Errorf(entra.Invalid, opAsk, "what for? say scope=https://host/.default, resource=https://host or route=NAME; see /routes")
	default:
		return entra.Errorf(entra.Invalid, opAsk, "%s: two answers to one question; keep one of them", strings.Join(said, " and "))
	}
}
