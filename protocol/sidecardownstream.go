package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"tokenbroker/entra"
	"tokenbroker/guard"
	"tokenbroker/route"
)

// maxDownstream bounds the body of a call's answer, in bytes: here it has to be
// whole before the first of it goes out.
const maxDownstream = 4 << 20

// DownstreamAPI answers /DownstreamApi/{service} with the answer to a call to the
// service's API, on behalf of the user. The call is one to the proxy: what it may
// do, policy and the rules of the route say. Its path and method are not held to
// be overrides, for they open nothing that /proxy/ does not; nor are the headers,
// which go on as they do there.
func (s Sidecar) DownstreamAPI(w http.ResponseWriter, r *http.Request) { s.call(w, r, s.user) }

// DownstreamAPIUnauthenticated is [Sidecar.DownstreamAPI] as the service's own
// identity.
func (s Sidecar) DownstreamAPIUnauthenticated(w http.ResponseWriter, r *http.Request) {
	s.call(w, r, nobody)
}

// call answers with 200 whatever the API said: that is in the envelope.
func (s Sidecar) call(w http.ResponseWriter, r *http.Request, who authentication) {
	c, err := s.read(r, who)
	if err == nil {
		err = s.checkCall(r, &c)
	}
	if err != nil {
		WriteSidecarError(w, r, entra.AsError(err))
		return
	}
	answer, failure := s.callThrough(c.request(r))
	if failure == nil {
		var body []byte
		if body, failure = answer.envelope(); failure == nil {
			writeAnswer(w, sidecarMedia, body)
			return
		}
	}
	WriteSidecarError(w, r, c.blame(failure))
}

// checkCall refuses what the proxy would have to pass over: it decides itself
// which token a call has, and when to have a new one.
func (s Sidecar) checkCall(r *http.Request, c *sidecarCall) error {
	if c.said.method == "" {
		c.said.method = http.MethodGet
	}
	reads := c.said.method == http.MethodGet || c.said.method == http.MethodHead
	switch {
	case guard.HoldsKey(r.Context(), c.said.path+"?"+c.said.query):
		return entra.Errorf(entra.Denied, opSidecar, "parameter optionsOverride.RelativePath: has a caller key in it, and would take it to the upstream; send it as X-Broker-Key, and replace it by a new one")
	case c.said.fresh:
		return entra.Errorf(entra.Invalid, opSidecar, "parameter optionsOverride.AcquireTokenOptions.ForceRefresh: not taken here; a token that the API refuses is replaced, and the call made again")
	case !reads && r.Method != http.MethodPost:
		// A link in a mail, a preview and a prefetch are a GET (RFC 9110 §9.2.1).
		return entra.Errorf(entra.Invalid, opSidecar, "optionsOverride.HttpMethod=%s: send the request by POST, since its call may change something", entra.Quote(c.said.method))
	case reads && r.ContentLength != 0:
		return entra.Errorf(entra.Invalid, opSidecar, "body: a call by %s has none; say optionsOverride.HttpMethod=POST, or what it is", c.said.method)
	case c.said.scope != "" && !c.needs(c.said.scope, c.route):
		return c.otherScope("its calls have no other; name the service whose it is, or get a header at /AuthorizationHeader")
	}
	if err := s.checkTenant(c); err != nil || !c.said.appToken {
		return err
	}
	ask := route.Ask{Route: c.route.Name, Path: c.said.path, Tenant: string(c.said.tenant)}
	_, tok, err := s.get(r, ask, entra.Inspect)
	if err != nil {
		return err
	}
	return c.checkActor(&tok)
}

// request is the call as the proxy takes it: the caller's own request, at the
// path of the route.
func (c *sidecarCall) request(r *http.Request) *http.Request {
	name := c.route.Name
	if c.said.tenant != "" {
		name += "@" + string(c.said.tenant)
	}
	path := "/proxy/" + name
	if c.said.path == "" {
		path += "/"
	}
	path += c.said.path
	entra.TrailOf(r.Context()).Call = c.said.method + " " + path // the request's own path does not say it
	call := r.WithContext(r.Context())                           // a copy, and the trail is that of the request
	call.Method = c.said.method
	call.URL = &url.URL{RawPath: path, RawQuery: c.said.query}
	call.URL.Path, _ = url.PathUnescape(path) // see aim
	call.RequestURI = call.URL.RequestURI()
	call.Header = r.Header.Clone()
	call.Header.Del("Authorization")
	if !c.user.IsZero() {
		user := entra.Token{Access: c.user}
		call.Header.Set("X-User-Assertion", string(user.AppendAccess(nil)))
	}
	return call
}

// aim reads RelativePath: a path, and maybe a query behind it. What stands for
// itself in a URL stays as it is; the rest, such as the spaces of a filter, is
// escaped, as .NET's Uri does.
func (o *overrides) aim(relative string) error {
	path, query, _ := strings.Cut(relative, "?")
	o.path, o.query = "/"+escapeRest(strings.TrimLeft(path, "/")), escapeRest(query)
	if _, err := url.PathUnescape(o.path); err != nil {
		return entra.Errorf(entra.Invalid, opSidecar, "it has a %% that begins no escape, write %%25")
	}
	return nil
}

// escapeRest escapes what can stand neither in a path nor in a query (RFC 3986
// §3.3 and §3.4).
func escapeRest(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("-._~!$&'()*+,;=:@/?%", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteString("%" + string("0123456789ABCDEF"[c>>4]) + string("0123456789ABCDEF"[c&15]))
	}
	return b.String()
}

// callThrough makes the call, and returns its answer, or the failure that the
// proxy noted in the trail.
func (s Sidecar) callThrough(call *http.Request) (*callAnswer, *entra.Error) {
	answer := &callAnswer{route: call.URL.Path, header: http.Header{}}
	aborted := answer.take(s.Downstream, call)
	switch failure := entra.TrailOf(call.Context()).Failure; {
	case answer.tooLarge:
		return nil, answer.unfit("more than %d bytes", maxDownstream)
	case failure != nil:
		return nil, failure
	case aborted:
		return nil, answer.unfit("broken off")
	}
	return answer, nil
}

// callAnswer is the answer to a call, as the proxy writes it.
type callAnswer struct {
	route    string      // the path of the call
	header   http.Header // being written
	status   int         // 0: none yet
	sent     http.Header // as it was when the status was written
	body     bytes.Buffer
	tooLarge bool
}

// Header is the header to write.
func (a *callAnswer) Header() http.Header { return a.header }

// WriteHeader begins the answer. Interim ones (1xx) are for no envelope.
func (a *callAnswer) WriteHeader(status int) {
	if a.status == 0 && status >= http.StatusOK {
		a.status, a.sent = status, a.header.Clone()
	}
}

// Write adds to the body, up to its bound.
func (a *callAnswer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	if a.body.Len()+len(p) > maxDownstream {
		a.tooLarge = true
		return 0, errors.New("the answer is too large for an envelope")
	}
	return a.body.Write(p)
}

// take has a handler answer, and reports whether it broke off, which it says by
// a panic.
func (a *callAnswer) take(h http.Handler, r *http.Request) (aborted bool) {
	defer func() {
		if cause := recover(); cause == http.ErrAbortHandler { //nolint:errorlint // net/http compares it so
			aborted = true
		} else if cause != nil {
			panic(cause)
		}
	}()
	h.ServeHTTP(a, r)
	a.WriteHeader(http.StatusOK)
	return false
}

// envelope is the answer as the sidecar's API has it. Unlike there, all of its
// headers are in it, not those of the content alone: Retry-After, ETag and the
// ids for support among them.
func (a *callAnswer) envelope() ([]byte, *entra.Error) {
	if !isText(a.sent.Get("Content-Type"), a.body.Bytes()) {
		return nil, a.unfit("not text in UTF-8, and an envelope holds no other")
	}
	answer := struct {
		StatusCode int         `json:"statusCode"`
		Headers    http.Header `json:"headers"`
		Content    *string     `json:"content"` // nil: none
	}{StatusCode: a.status, Headers: a.sent}
	if a.body.Len() > 0 {
		content := a.body.String()
		answer.Content = &content
	}
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(answer) // of text: it cannot fail
	return body.Bytes(), nil
}

// isText reports whether a JSON string holds the content as it is: text in
// UTF-8, or of another charset the part that the two have in common.
func isText(contentType string, content []byte) bool {
	_, params, _ := mime.ParseMediaType(contentType)
	if charset := params["charset"]; charset == "" || strings.EqualFold(charset, "utf-8") {
		return utf8.Valid(content)
	}
	return !bytes.ContainsFunc(content, func(r rune) bool { return r == 0 || r >= utf8.RuneSelf })
}

// unfit refuses an answer that no envelope holds. The call was made: whoever
// repeats it should know.
func (a *callAnswer) unfit(format string, args ...any) *entra.Error {
	return entra.Errorf(entra.Upstream, "sidecar.envelope", "the call was made, and its answer is "+format+"; have it streamed, by a call to %s", append(args, entra.Quote(a.route))...)
}
