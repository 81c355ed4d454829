package protocol

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"tokenbroker/entra"
	"tokenbroker/route"
)

// What the protocols of Azure's managed identities have in common: a query or a
// form that names one resource and perhaps an identity, an answer whose members
// are all strings, and libraries in seven languages that can be told a URL and no
// more.

const opIdentity = "identity.ask"

// dialect is in what these protocols differ.
type dialect struct {
	versions   []string // that api-version may say; none: there is no such parameter
	metadata   bool     // the header Metadata: true is demanded
	writeError func(w http.ResponseWriter, r *http.Request, err *entra.Error)
}

// answerIdentity answers a request of the dialect.
func (t Tokens) answerIdentity(w http.ResponseWriter, r *http.Request, d dialect) {
	body, err := t.identityAnswer(w, r, d)
	if err != nil {
		d.writeError(w, r, entra.AsError(err))
		return
	}
	writeAnswer(w, "application/json", body)
}

func (t Tokens) identityAnswer(w http.ResponseWriter, r *http.Request, d dialect) ([]byte, error) {
	said, err := d.read(w, r)
	if err != nil {
		return nil, err
	}
	ask, err := said.identityAsk()
	if err != nil {
		return nil, err
	}
	table := t.Table(r.Context())
	grant, tok, err := t.get(r, ask, entra.HandOut)
	var identity route.Identity // zero: it was not resolved
	if resolved, unknown := table.Identity(grant.Identity); unknown == nil {
		identity = *resolved
	}
	if err != nil {
		return nil, explainIdentity(entra.AsError(err), table, &identity, &ask)
	}
	return appendIdentityAnswer(nil, &tok, identity.Known.ClientID, said.get("resource"), time.Now()), nil
}

// explainIdentity puts a failure into words that are of use to somebody who has
// a library between himself and the broker.
func explainIdentity(err *entra.Error, table *route.Table, identity *route.Identity, ask *route.Ask) *entra.Error {
	refused := err.Kind == entra.Denied || err.Kind == entra.Invalid
	switch {
	case refused && !isNeeded(table, ask.Scope):
		return coded(wrongResource, entra.Errorf(entra.Invalid, opIdentity, "resource %s: no route needs a token for it; want one of: %s", entra.Quote(ask.Scope.Audience()), neededBy(table, wrongResource)))
	case err.Kind == entra.Invalid && identity.OnBehalfOf:
		// The source says how to name the user, which no such library can.
		return entra.Errorf(entra.Invalid, opIdentity, "identity %q: acts on behalf of users alone, and a managed identity's request names none; ask /token with X-User-Assertion, or name another identity by client_id", identity.Name)
	}
	return err
}

// read reads the query and, of a POST, the form.
func (d dialect) read(w http.ResponseWriter, r *http.Request) (parameters, error) {
	if err := d.checkHeaders(r.Header); err != nil {
		return nil, err
	}
	said, err := parse("query", r.URL.RawQuery)
	if err != nil {
		return nil, err
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
		return nil, entra.Errorf(entra.Invalid, opIdentity, "body: not read here; put the parameters into the query")
	}
	return said, d.check(said)
}

func (d dialect) checkHeaders(h http.Header) error {
	// No redirect and no form of a page can make a client send it.
	if d.metadata && !strings.EqualFold(strings.Join(h["Metadata"], ","), "true") {
		return entra.Errorf(entra.Invalid, opIdentity, "header Metadata: want Metadata: true, once")
	}
	if _, said := h["X-User-Assertion"]; said {
		return entra.Errorf(entra.Invalid, opIdentity, "header X-User-Assertion: not read here, where no user can be named; leave it off, or ask /token")
	}
	return nil
}

// check says what is wrong with the parameters. All spellings of an identity
// are known everywhere, since old libraries mix them. Of what else libraries
// send, xms_cc alone is passed over, which msal-node puts into every query, that
// of a POST too: it says what the client could do with a token, and changes
// neither whose the token is nor for what.
func (d dialect) check(said parameters) error {
	if slices.Equal(said["clientid"], []string{""}) {
		delete(said, "clientid") // DEFAULT_IDENTITY_CLIENT_ID, which is not set
	}
	names := slices.Concat([]string{"resource"}, selectors(), []string{"xms_cc"})
	if d.versions != nil {
		names = slices.Insert(names, 0, "api-version")
	}
	if err := said.check(names...); err != nil {
		return err
	}
	version := said.get("api-version")
	switch want := strings.Join(d.versions, " or "); {
	case d.versions == nil || slices.Contains(d.versions, version):
		return nil
	case version == "":
		return entra.Errorf(entra.Invalid, opIdentity, "parameter api-version: missing; say %s", want)
	default:
		return entra.Errorf(entra.Invalid, opIdentity, "api-version %s: not served; say %s", entra.Quote(version), want)
	}
}

// identityAsk is what the parameters ask for. A library cuts /.default off the
// scope that it was given: of https://host//.default it leaves https://host/.
func (p parameters) identityAsk() (ask route.Ask, err error) {
	resource := p.get("resource")
	if resource == "" {
		return route.Ask{}, entra.Errorf(entra.Invalid, opIdentity, "parameter resource: missing; say whom the token is for, resource=https://host")
	}
	if ask.Known, err = p.known(); err != nil {
		return route.Ask{}, err
	}
	if ask.Scope, err = entra.ParseResource(resource); err != nil {
		return route.Ask{}, coded(wrongResource, entra.AsError(err))
	}
	return ask, nil
}

// selectors are the parameters that name an identity.
func selectors() []string {
	return []string{"client_id", "clientid", "object_id", "principal_id", "mi_res_id", "msi_res_id"}
}

// known is the identity that the parameters name; zero: they leave it open.
func (p parameters) known() (route.Known, error) {
	said := slices.DeleteFunc(selectors(), func(name string) bool { return p[name] == nil })
	if len(said) > 1 {
		return route.Known{}, entra.Errorf(entra.Invalid, opIdentity, "%s: several names for one identity; keep one of them", strings.Join(said, " and "))
	}
	return route.Known{
		ClientID:   cmp.Or(p.get("client_id"), p.get("clientid")),
		ObjectID:   cmp.Or(p.get("object_id"), p.get("principal_id")),
		ResourceID: cmp.Or(p.get("mi_res_id"), p.get("msi_res_id")),
	}, nil
}

// appendIdentityAnswer appends the answer with its members in the order of IMDS,
// of which MSAL.NET keeps the latter of expires_in and expires_on. All are
// strings, since Rust reads nothing else, and the resource is as it was asked
// for, by which azure-identity for Python remembers the token. It needs no
// escaping, see [entra.ParseResource]; nor does a client id, which is a GUID.
func appendIdentityAnswer(b []byte, tok *entra.Token, clientID, resource string, now time.Time) []byte {
	b = append(b, `{"access_token":"`...)
	b = tok.AppendAccess(b)
	if clientID != "" {
		b = append(append(b, `","client_id":"`...), clientID...)
	}
	return fmt.Appendf(b, `","expires_in":"%d","expires_on":"%d","ext_expires_in":"%[1]d","not_before":"%[3]d","resource":"%s","token_type":"Bearer"}`,
		left(tok, now), tok.ExpiresOn.Unix(), notBefore(tok, now).Unix(), resource)
}

// identityCode is the code of a failure in the manner of RFC 6749 §5.2.
func identityCode(err *entra.Error) string {
	code := "server_error"
	switch err.Kind {
	case entra.Invalid, entra.NotFound:
		code = invalidRequest
	case entra.Unadmitted, entra.Misconfigured:
		code = "unauthorized_client"
	case entra.Denied:
		code = "access_denied"
	case entra.Challenged:
		code = "interaction_required"
	case entra.Throttled, entra.Unavailable, entra.Timeout, entra.Upstream:
		code = "temporarily_unavailable"
	}
	return cmp.Or(err.Code, code)
}
