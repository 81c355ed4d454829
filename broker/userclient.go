package broker

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"tokenbroker/entra"
)

const (
	slowDown  = 5 * time.Second // RFC 8628 §3.5: by how much the interval grows
	maxPause  = time.Minute     // between polls of an authority that fails; from there on it has failed
	realmPath = "/common/UserRealm/"
)

// NewUserClient returns the HTTP client for the [App] of a user's identity. It
// is as narrow as that of [NewClient]: beside the token endpoint it reaches the
// one for device codes and, for the user of a password, the look-up of who
// signs them in. The timeout is that of each request, since a client that waits
// for a person waits longer.
func NewUserClient(cfg ClientConfig) *http.Client {
	cfg.Timeout = cmp.Or(cfg.Timeout, defaultTimeout)
	return newClient(&pinnedUser{pinned{authority: cfg.Authority, next: cfg.transport("the authority")}, cfg.Timeout}, 0)
}

// errand is what an exchange for a user needs beside the token endpoint.
type errand struct {
	username string        // whose realm may be looked up; empty: nobody's
	interval time.Duration // between polls with a device code; zero: it is none
}

type errandKey struct{}

func (e errand) in(ctx context.Context) context.Context {
	return context.WithValue(ctx, errandKey{}, e)
}

func errandOf(ctx context.Context) errand {
	e, _ := ctx.Value(errandKey{}).(errand)
	return e
}

// pinnedUser is [pinned] with the further endpoints of a user's flows.
type pinnedUser struct {
	pinned
	timeout time.Duration // of a request
}

// RoundTrip sends what goes to one of the endpoints.
func (p *pinnedUser) RoundTrip(req *http.Request) (*http.Response, error) {
	x, ok := exchangeOf(req.Context())
	errand, endpoint := errandOf(req.Context()), req.URL.Scheme+"://"+req.URL.Host+req.URL.EscapedPath()
	tokens := p.authority.TokenEndpoint(x.tenant)
	switch {
	case !ok:
	// MSAL makes this of the token endpoint, and so of a tenant or a host with
	// "token" in its name something else.
	case req.Method == http.MethodPost && endpoint == strings.ReplaceAll(tokens, "token", "devicecode"):
		req = req.Clone(req.Context())
		req.URL.Host, req.URL.RawPath, req.URL.Path = p.authority.Host(), "", "/"+string(x.tenant)+"/oauth2/v2.0/devicecode"
		return p.whole(req, func(req *http.Request) (*http.Response, error) { return p.send(req, x.id) })
	case req.Method == http.MethodGet && errand.username != "" && endpoint == string(p.authority)+realmPath+url.PathEscape(errand.username):
		return p.realm(req, x.id, errand.username)
	case errand.interval > 0 && endpoint == tokens:
		return p.poll(req, &x, errand.interval)
	}
	return p.whole(req, p.pinned.RoundTrip)
}

// whole sends a request and reads the answer, all within the timeout.
func (p *pinnedUser) whole(req *http.Request, send func(*http.Request) (*http.Response, error)) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(req.Context(), p.timeout)
	defer cancel()
	resp, err := send(req.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// poll asks with a device code until its user has decided, as RFC 8628 §3.5
// has it. MSAL asks every 50 ms to 5 s, whatever the authority says, so it gets
// the last answer only; and what that refuses as an error, since MSAL leaves of
// a refusal nothing to read. Its context ends when the code expires.
func (p *pinnedUser) poll(req *http.Request, x *exchange, interval time.Duration) (*http.Response, error) {
	form, err := io.ReadAll(req.Body)
	_ = req.Body.Close()
	if err != nil {
		return nil, err
	}
	for {
		if err := pause(req.Context(), interval); err != nil {
			return nil, err
		}
		again := req.Clone(req.Context())
		again.Body = io.NopCloser(bytes.NewReader(form))
		resp, err := p.whole(again, p.pinned.RoundTrip)
		switch {
		case err == nil && resp.StatusCode == http.StatusOK:
			return resp, nil
		case err != nil || resp.StatusCode >= http.StatusInternalServerError || resp.StatusCode == http.StatusTooManyRequests:
			if interval >= maxPause {
				return resp, err
			}
			interval *= 2
			continue
		}
		switch peek(resp).code {
		case "authorization_pending":
		case "slow_down":
			interval += slowDown
		default:
			return nil, x.refused(resp)
		}
	}
}

// peek reads a refusal and leaves it to be read again.
func peek(resp *http.Response) refusal {
	body, _ := io.ReadAll(resp.Body) // it is in memory
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return vet(body)
}

// pause waits, unless the context ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// realm looks up who signs a user in. If it is not Entra, MSAL would take the
// password to that service, over whatever it says its address is.
func (p *pinnedUser) realm(req *http.Request, id, username string) (*http.Response, error) {
	resp, err := p.whole(req, func(req *http.Request) (*http.Response, error) { return p.send(req, id) })
	if err != nil || resp.StatusCode != http.StatusOK {
		return resp, err
	}
	body, _ := io.ReadAll(resp.Body) // it is in memory
	resp.Body = io.NopCloser(bytes.NewReader(body))
	var realm struct {
		Account string `json:"account_type"`
	}
	_ = json.Unmarshal(body, &realm) // MSAL says what it makes of that
	switch realm.Account {
	case "Federated":
		return nil, entra.Errorf(entra.Misconfigured, opUser,
			"user %s: their domain has a sign-in service of its own (it is federated), and the password stays there: %s", entra.Quote(username), insteadOfPassword)
	case "Unknown":
		return nil, entra.Errorf(entra.Misconfigured, opUser, "user %s: no tenant has that domain: check username and cloud", entra.Quote(username))
	}
	return resp, nil
}
