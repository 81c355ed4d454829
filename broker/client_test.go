package broker_test

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tokenbroker/broker"
	"tokenbroker/emulator"
	"tokenbroker/entra"
)

// A client that follows a 307 posts the form again, secret and all.
func TestRedirectReachesNoStranger(t *testing.T) {
	for _, to := range []string{"https://stranger.example/", "http://stranger.example/", "/" + string(tenant) + "/oauth2/v2.0/token"} {
		t.Run(to, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				authority := w.authority(t, answer(http.StatusTemporaryRedirect, "", "Location", to))
				stranger := &recorder{answer: grant(bearer, 3599)}
				w.serve(t, "stranger.example", stranger)
				_, err := w.confidential(t).Token(t.Context(), ask())
				wantError(t, err, entra.Unavailable, "redirect (status 307)")
				if got := len(stranger.requests()); got != 0 {
					t.Errorf("the stranger was asked %d times, want never", got)
				}
				if got := len(authority.requests()); got != 1 {
					t.Errorf("the authority was asked %d times, want once", got)
				}
			})
		})
	}
}

// The document of discovery could name any host as the token endpoint, so it
// is never asked for.
func TestDiscoveryCannotSteerTheCredential(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stranger := &recorder{answer: grant("stolen", 3599)}
		w.serve(t, "stranger.example", stranger)
		w.authority(t, func(rw http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				answer(http.StatusOK, `{"issuer":"https://login.example/x/v2.0","authorization_endpoint":"https://login.example/x","token_endpoint":"https://stranger.example/token"}`)(rw, r)
				return
			}
			grant(bearer, 3599)(rw, r)
		})
		tok, err := w.confidential(t).Token(t.Context(), ask())
		if err != nil || tok.Access.Reveal() != bearer {
			t.Errorf("got %v, %v, want the authority's token", tok, err)
		}
		if got := len(stranger.requests()); got != 0 {
			t.Errorf("the stranger was asked %d times, want never", got)
		}
	})
}

// Whatever MSAL may do one day, the credential goes to the token endpoint of
// the exchange's own tenant.
func TestClientSendsToTheTokenEndpointAlone(t *testing.T) {
	w := newWorld(t)
	authority := w.authority(t, grant(bearer, 3599))
	stranger := &recorder{answer: grant(bearer, 3599)}
	w.serve(t, "stranger.example", stranger)
	app := w.app(t)
	endpoint := app.Authority.TokenEndpoint(tenant)
	within := broker.InExchange(t.Context(), tenant)
	for _, tc := range []struct {
		name   string
		ctx    context.Context
		method string
		url    string
	}{
		{"outside of an exchange", t.Context(), http.MethodPost, endpoint},
		{"without a tenant", t.Context(), http.MethodPost, app.Authority.TokenEndpoint("")},
		{"another host", within, http.MethodPost, "https://stranger.example/" + string(tenant) + "/oauth2/v2.0/token"},
		{"another port", within, http.MethodPost, strings.Replace(endpoint, host, host+":8443", 1)},
		{"in clear text", within, http.MethodPost, strings.Replace(endpoint, "https", "http", 1)},
		{"another tenant", within, http.MethodPost, app.Authority.TokenEndpoint("customer.example")},
		{"another path", within, http.MethodPost, strings.Replace(endpoint, "/token", "/devicecode", 1)},
		{"a path that reads the same", within, http.MethodPost, strings.Replace(endpoint, "/token", "/%74oken", 1)},
		{"a query", within, http.MethodPost, endpoint + "?dc=ESTS"},
		{"another method", within, http.MethodPut, endpoint},
		{"discovery elsewhere", within, http.MethodGet, "https://stranger.example/" + string(tenant) + "/v2.0/.well-known/openid-configuration"},
		{"instance discovery", within, http.MethodGet, "https://login.example/common/discovery/instance"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			body := &closing{Reader: strings.NewReader("client_secret=" + secret)}
			req, err := http.NewRequestWithContext(tc.ctx, tc.method, tc.url, body)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := app.HTTP.Do(req)
			if err == nil {
				_ = resp.Body.Close()
			}
			wantError(t, err, entra.Internal, "")
			if !body.closed {
				t.Error("the body was left open")
			}
		})
	}
	if got := len(authority.requests()) + len(stranger.requests()); got != 0 {
		t.Errorf("%d requests were sent, want none", got)
	}
}

type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }

func TestAuthorityThatHangsIsUnavailable(t *testing.T) {
	for name, hang := range map[string]http.HandlerFunc{
		"before the answer": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"in the body": func(rw http.ResponseWriter, r *http.Request) {
			_, _ = rw.Write([]byte(`{"access_token":`))
			_ = http.NewResponseController(rw).Flush()
			<-r.Context().Done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.authority(t, hang)
				source := w.confidential(t)
				start := time.Now()
				_, err := source.Token(t.Context(), ask())
				wantError(t, err, entra.Unavailable, "did not answer in time")
				if got := time.Since(start); got != timeout {
					t.Errorf("it took %v, want %v", got, timeout)
				}

				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				start = time.Now()
				_, err = source.Token(ctx, ask())
				wantError(t, err, entra.Unavailable, "did not answer in time")
				if got := time.Since(start); got != time.Second {
					t.Errorf("with a deadline it took %v, want that second", got)
				}
			})
		})
	}
}

func TestUnreachableAuthorityIsNamedWithItsRemedy(t *testing.T) {
	for _, tc := range []struct {
		name string
		make func(*testing.T, *world)
		says string
	}{
		{"no such name", func(*testing.T, *world) {}, "login.example cannot be resolved: check the authority, DNS"},
		{"refused", func(t *testing.T, w *world) {
			t.Helper()
			w.authority(t, grant(bearer, 3599))
			w.network.SetDown(host, true)
		}, "login.example cannot be reached (connection refused)"},
		{"hangs up", func(t *testing.T, w *world) {
			t.Helper()
			w.authority(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		}, "login.example cannot be reached"},
		{"unknown authority", func(t *testing.T, w *world) {
			t.Helper()
			w.authority(t, grant(bearer, 3599))
			stranger, err := emulator.NewCA()
			if err != nil {
				t.Fatal(err)
			}
			w.ca = stranger
		}, "certificate of login.example is of an unknown authority: if a proxy in between opens TLS, name its root certificate in ca_file"},
		{"another host's certificate", func(t *testing.T, w *world) {
			t.Helper()
			serve(t, tls.NewListener(w.listen(t, host), w.ca.ServerTLS("other.example")), grant(bearer, 3599))
		}, "is for another host"},
		{"expired certificate", func(t *testing.T, w *world) {
			t.Helper()
			w.authority(t, grant(bearer, 3599))
			time.Sleep(2 * 365 * 24 * time.Hour) // of the bubble's clock
		}, "has expired"},
		{"TLS of long ago", func(t *testing.T, w *world) {
			t.Helper()
			old := w.ca.ServerTLS(host)
			old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
			serve(t, tls.NewListener(w.listen(t, host), old), grant(bearer, 3599))
		}, "login.example cannot be reached"},
		{"plain http", func(t *testing.T, w *world) {
			t.Helper()
			serve(t, w.listen(t, host), grant(bearer, 3599))
		}, "does not speak TLS"},
		{"no http at all", func(t *testing.T, w *world) {
			t.Helper()
			l := w.listen(t, host)
			t.Cleanup(func() { _ = l.Close() })
			go func() {
				if c, err := l.Accept(); err == nil {
					_, _ = io.WriteString(c, "220 mail.example ESMTP\r\n")
				}
			}()
		}, "does not speak TLS"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				tc.make(t, w)
				_, err := w.confidential(t).Token(t.Context(), ask())
				wantError(t, err, entra.Unavailable, tc.says)
			})
		})
	}
}

func TestOversizeAnswerIsNoToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		padding := strings.Repeat(" ", 1<<20)
		// Cut off at the limit, this would still be a token.
		w.authority(t, answer(http.StatusOK, `{"access_token":"`+bearer+`","token_type":"Bearer","expires_in":3599}`+padding))
		_, err := w.confidential(t).Token(t.Context(), ask())
		wantError(t, err, entra.Unavailable, "answered with more than a token")
	})
}

func TestProxyIsNamedWhenItFails(t *testing.T) {
	for _, tc := range []struct {
		name  string
		proxy http.HandlerFunc // nil: none there
		says  string
	}{
		{"wants a password", answer(http.StatusProxyAuthRequired, ""), "the proxy refuses to connect to the authority (status 407): check HTTPS_PROXY, its user and password"},
		{"forbids", answer(http.StatusForbidden, ""), "the proxy refuses to connect to the authority (status 403)"},
		{"is not there", nil, "the proxy on the way to login.example cannot be reached"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				authority := w.authority(t, grant(bearer, 3599))
				if tc.proxy != nil {
					serve(t, w.listen(t, "proxy.example"), tc.proxy)
				}
				app := w.app(t)
				broker.UseProxy(app.HTTP, "http://user:password-canary@proxy.example:3128")
				_, err := newConfidential(t, app).Token(t.Context(), ask())
				wantError(t, err, entra.Unavailable, tc.says)
				if got := len(authority.requests()); got != 0 {
					t.Errorf("the authority was asked %d times, want never", got)
				}
			})
		})
	}
}

// The only test that goes without a DialContext: what net/http read from the
// environment at the first such call, it keeps.
func TestProxyOfTheEnvironmentIsUsed(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1") // where nobody listens
	t.Setenv("NO_PROXY", "")
	app := newWorld(t).app(t)
	app.HTTP = broker.NewClient(broker.ClientConfig{Authority: app.Authority})
	_, err := newConfidential(t, app).Token(t.Context(), ask())
	wantError(t, err, entra.Unavailable, "the proxy on the way to login.example cannot be reached")
}

func TestProxyIsConnectedThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.authority(t, grant(bearer, 3599))
		serve(t, w.listen(t, "proxy.example"), http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if got, want := r.Method+" "+r.Host, "CONNECT login.example:443"; got != want {
				t.Errorf("the proxy is asked to %s, want %s", got, want)
			}
			there, err := w.network.DialContext(r.Context(), "tcp", r.Host)
			if err != nil {
				t.Error(err)
				return
			}
			rw.WriteHeader(http.StatusOK)
			here, buffered, err := http.NewResponseController(rw).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			go func() { _, _ = io.Copy(there, buffered); _ = there.Close() }()
			go func() { _, _ = io.Copy(here, there); _ = here.Close() }()
		}))
		app := w.app(t)
		broker.UseProxy(app.HTTP, "http://proxy.example:3128")
		if _, err := newConfidential(t, app).Token(t.Context(), ask()); err != nil {
			t.Error(err)
		}
	})
}
