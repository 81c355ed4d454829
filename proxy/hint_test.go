package proxy_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tokenbroker/defender"
	"tokenbroker/entra"
	"tokenbroker/proxy"
	"tokenbroker/route"
)

const (
	mtp   = "https://api.security.microsoft.com"
	mde   = "https://api.securitycenter.microsoft.com"
	noFor = `{"error":{"code":"Forbidden","message":"Missing application roles.","target":"x"}}`
)

// jwt makes what the broker takes for an access token.
func jwt(t *testing.T, claims entra.Claims) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	part := base64.RawURLEncoding.EncodeToString
	return part([]byte(`{"alg":"none"}`)) + "." + part(payload) + ".c2ln"
}

// holding gives tokens with these claims, and with the next ones for who
// rejects them; it stays with the last.
func holding(t *testing.T, claims ...entra.Claims) entra.SourceFunc {
	t.Helper()
	var all []entra.Token
	for i, c := range claims {
		c.TokenID = fmt.Sprint(i)
		tok, err := entra.NewToken(jwt(t, c), scope, time.Now().Add(time.Hour), time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, tok)
	}
	return func(_ context.Context, req entra.Request) (entra.Token, error) {
		i := slices.IndexFunc(all, func(tok entra.Token) bool { return tok.Access.Fingerprint() == req.Rejected })
		return all[min(i+1, len(all)-1)], nil
	}
}

// hinting sets what hints are made of, and logs into a buffer.
func hinting(t *testing.T, log io.Writer, claims ...entra.Claims) func(*proxy.Config) {
	t.Helper()
	catalogue, err := defender.Load()
	if err != nil {
		t.Fatal(err)
	}
	return func(cfg *proxy.Config) {
		cfg.Source = holding(t, claims...)
		cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
		cfg.Catalogue = catalogue
		cfg.Hints = proxy.Hints{
			Resource: func(api defender.API) string { return "the app of " + string(api) },
			Consent:  func(call *route.Call) string { return "https://consent.example/" + string(call.Tenant) },
		}
	}
}

func refusing(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.Header().Set("X-Token-Broker-Hint", "forged")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func TestHintSaysWhyTheUpstreamRefused(t *testing.T) {
	app := func(audience string, roles ...string) entra.Claims {
		return entra.Claims{Audience: entra.Audience{audience}, Roles: roles}
	}
	user := func(audience, scp string) entra.Claims {
		return entra.Claims{Audience: entra.Audience{audience}, Scp: scp}
	}
	many := strings.Fields(strings.Repeat("A.Read.All ", 8))
	for _, tc := range []struct {
		name    string
		status  int
		path    string
		claims  entra.Claims
		body    string
		header  []string
		want    string
		consent bool
	}{
		{
			name: "no permission", status: 403, path: "/api/incidents", claims: app(mtp, "AdvancedHunting.Read.All"), consent: true,
			want: "needs Incident.Read.All or Incident.ReadWrite.All of the app of XDR; token has AdvancedHunting.Read.All",
		},
		{
			name: "none at all", status: 403, path: "/api/incidents", claims: app(mtp), consent: true,
			want: "needs Incident.Read.All or Incident.ReadWrite.All of the app of XDR; token has none: they were not added to the app, or nobody has consented",
		},
		{
			name: "of a user", status: 403, path: "/api/incidents", claims: user(mtp, "AdvancedHunting.Read"), consent: true,
			want: "needs Incident.Read or Incident.ReadWrite of the app of XDR; token has AdvancedHunting.Read",
		},
		{
			name: "what no user may", status: 403, path: "/api/machines/1/getmissingkbs", claims: user(mde, "Machine.Read"), consent: true,
			want: "needs Software.Read.All of the app of MDE, which no user's token can have: use an application's; token has Machine.Read",
		},
		{
			name: "the user's role", status: 403, path: "/api/incidents", claims: user(mtp, "Incident.Read User.Read"),
			want: "token has Incident.Read, User.Read, which is enough; the user may lack the role in the Defender portal, or access to the device group",
		},
		{
			name: "something else", status: 403, path: "/api/incidents", claims: app(mtp, "Incident.Read.All"),
			want: "token has Incident.Read.All, which is enough; the answer's message says what else is wrong",
		},
		{
			name: "another audience", status: 401, path: "/api/incidents", claims: app(mde, "Incident.Read.All"),
			want: "wrong audience: the token is for " + mde + ", GET /api/incidents takes those for the app of XDR; remove routes.defender.scope, and the path decides",
		},
		{
			name: "the misleading audience", status: 403, path: "/api/machines", claims: app("https://userrequestsgraphapi-prd.trafficmanager.net", "Machine.Read.All"),
			want: "wrong audience: the token is for https://userrequestsgraphapi-prd.trafficmanager.net, GET /api/machines takes those for the app of MDE; remove routes.defender.scope, and the path decides",
		},
		{
			name: "a feature that is off", status: 403, path: "/api/incidents", claims: app(mtp), body: `{"error":{"code":"DisabledFeature"}}`,
			want: "the feature is off in this tenant, or not licensed: no permission opens it",
		},
		{
			name: "in words", status: 403, path: "/api/customdetections", claims: app(mtp), body: `{"error":{"message":"Tenant feature is not enabled"}}`,
			want: "the feature is off in this tenant, or not licensed: no permission opens it",
		},
		{
			name: "a call that nobody knows", status: 403, path: "/api/new", claims: app(mtp, many...), consent: true,
			want: "the catalogue does not know what this call needs; token has A.Read.All, A.Read.All, A.Read.All, A.Read.All, A.Read.All, A.Read.All and 2 more",
		},
		{
			name: "a claims challenge", status: 401, path: "/api/incidents", claims: app(mtp, "Incident.Read.All"),
			header: []string{"WWW-Authenticate", `Bearer error="insufficient_claims", claims="e30="`},
			want:   "the API asks for a sign-in or a policy that the token does not meet: see claims in WWW-Authenticate",
		},
		{
			name: "a good token", status: 401, path: "/api/incidents", claims: app(mtp, "Incident.Read.All"),
			want: "the token is for this API, and a new one was refused as well: see WWW-Authenticate, and whether the tenant " + string(home) + " has the product",
		},
		{
			name: "names that are none", status: 403, path: "/api/incidents", claims: app(mtp, "A B", "x\ny", "\u00e9", strings.Repeat("x", 81), "", "Good.One"), consent: true,
			want: "needs Incident.Read.All or Incident.ReadWrite.All of the app of XDR; token has ?, ?, ?, ?, ?, Good.One",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				if tc.body == "" {
					tc.body = noFor
				}
				b := newBubble(t, refusing(tc.status, tc.body, tc.header...), hinting(t, &log, tc.claims))
				res := b.get("/proxy/defender" + tc.path)
				if got := res.header["X-Token-Broker-Hint"]; len(got) != 1 || got[0] != tc.want {
					t.Errorf("got %q\nwant %q", got, tc.want)
				}
				if res.status != tc.status || res.body != tc.body || res.kind() != "" {
					t.Errorf("got %d %s, want the upstream's own answer", res.status, res.body)
				}
				if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "level=WARN") || strings.Contains(got, "https://consent.example/"+string(home)) != tc.consent {
					t.Errorf("log: %s", got)
				}
			})
		})
	}
}

func TestHintOfAnOpaqueToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, refusing(403, noFor))
		if got := b.get("/proxy/defender/api/incidents").header.Get("X-Token-Broker-Hint"); !strings.HasPrefix(got, "the token is opaque") {
			t.Errorf("got %q", got)
		}
	})
}

func TestHintIsShortASCII(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		long := slices.Repeat([]string{strings.Repeat("x", 80)}, 100)
		b := newBubble(t, refusing(403, noFor), hinting(t, io.Discard, entra.Claims{Audience: entra.Audience{mtp}, Roles: long}))
		got := b.get("/proxy/defender/api/incidents").header.Get("X-Token-Broker-Hint")
		if len(got) > 512 || len(got) < 400 || strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%d bytes: %q", len(got), got)
		}
	})
}

func TestOtherAnswersHaveNoHint(t *testing.T) {
	for _, status := range []int{200, 204, 400, 404, 429, 500} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			b := newBubble(t, refusing(status, ""), hinting(t, &log, entra.Claims{Audience: entra.Audience{mtp}}))
			if res := b.get("/proxy/defender/api/incidents"); res.header["X-Token-Broker-Hint"] != nil || log.Len() > 0 {
				t.Errorf("%d: %v, log: %s", status, res.header, &log)
			}
		})
	}
}

func TestHintIsLoggedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		b := newBubble(t, refusing(403, noFor), hinting(t, &log, entra.Claims{Audience: entra.Audience{mtp}}))
		lines := func(want int, why string) {
			t.Helper()
			if got := strings.Count(log.String(), "\n"); got != want {
				t.Errorf("%d lines, want %d: %s", got, want, why)
			}
		}
		for range 3 {
			b.get("/proxy/defender/api/incidents")
		}
		lines(1, "the same")
		b.get("/proxy/defender@contoso.example/api/incidents")
		lines(2, "another tenant")
		b.get("/proxy/readonly/api/incidents")
		lines(3, "another route")
		time.Sleep(time.Minute)
		b.get("/proxy/defender/api/incidents")
		lines(4, "a minute later")
	})
}

func TestConsentTakesEffectWithTheNextCall(t *testing.T) {
	without := entra.Claims{Audience: entra.Audience{mtp}, Roles: []string{"AdvancedHunting.Read.All"}}
	granted := entra.Claims{Audience: entra.Audience{mtp}, Roles: []string{"Incident.Read.All", "AdvancedHunting.Read.All"}}
	for _, tc := range []struct {
		name, method, path, body string
		tokens                   []entra.Claims
		status, arrivals, asked  int
	}{
		{"granted", "GET", "/api/incidents", "", []entra.Claims{without, granted}, 200, 2, 2},
		{"not yet", "GET", "/api/incidents", "", []entra.Claims{without, without}, 403, 1, 2},
		{"no new token", "GET", "/api/incidents", "", []entra.Claims{without}, 403, 1, 2},
		{"not the token's fault", "GET", "/api/incidents", "", []entra.Claims{granted, granted}, 403, 1, 1},
		{"an action", "POST", isolate, `{}`, []entra.Claims{without, {Audience: entra.Audience{mde}, Roles: []string{"Machine.Isolate"}}}, 403, 1, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				arrived, asked := 0, 0
				good := "Bearer " + jwt(t, entra.Claims{Audience: granted.Audience, Roles: granted.Roles, TokenID: "1"})
				b := newBubble(t, func(w http.ResponseWriter, r *http.Request) {
					arrived++
					if r.Header.Get("Authorization") != good {
						w.WriteHeader(403)
						_, _ = io.WriteString(w, noFor)
					}
				}, hinting(t, io.Discard, tc.tokens...), func(cfg *proxy.Config) {
					source := cfg.Source
					cfg.Source = entra.SourceFunc(func(ctx context.Context, req entra.Request) (entra.Token, error) {
						asked++
						return source.Token(ctx, req)
					})
				})
				res := b.as("a").call(t.Context(), tc.method, "/proxy/defender"+tc.path, tc.body)
				if res.status != tc.status || arrived != tc.arrivals || asked != tc.asked || (res.header.Get("X-Token-Broker-Hint") == "") != (tc.status == 200) {
					t.Errorf("got %d after %d calls with %d tokens, %v", res.status, arrived, asked, res.header)
				}
			})
		})
	}
}
