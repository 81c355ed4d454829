package broker_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/broker"
	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/entra"
)

const (
	brokerAPI = "api://" + client
	alice     = entraemu.DefaultUser
	bob       = entraemu.GuestUser
)

// believe is a check that takes every token for what it says it is.
func believe(_ context.Context, assertion entra.Secret) (entra.Claims, string, error) {
	jwt, err := entra.ParseJWT(assertion.Reveal())
	if err != nil {
		return entra.Claims{}, "", err
	}
	return jwt.Claims, jwt.Claims.Audience[0], nil
}

// onBehalf is the source of the world's app that acts on behalf of users.
func (w *world) onBehalf(t *testing.T, check broker.Check) *broker.OnBehalfOf {
	t.Helper()
	env, err := broker.NewSecretEnv("AZURE_CLIENT_SECRET", entra.NewSecret(secret))
	if err != nil {
		t.Fatal(err)
	}
	source, err := broker.NewOnBehalfOf(w.app(t), env, check)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// issued is the token that a user shows us, for a lifetime; zero: the usual one.
func issued(t *testing.T, emulated *entraemu.Server, upn string, in entra.Tenant, scope string, lifetime time.Duration) entra.Secret {
	t.Helper()
	token, err := emulated.IssueForUser(entraemu.Delegation{UPN: upn, Tenant: in, ClientID: entraemu.FrontEnd, Scope: scope, Host: host}, lifetime)
	if err != nil {
		t.Fatal(err)
	}
	return entra.NewSecret(token.Access)
}

func shown(t *testing.T, emulated *entraemu.Server, upn string) entra.Secret {
	t.Helper()
	return issued(t, emulated, upn, tenant, brokerAPI+"/access_as_user", 0)
}

// forUser asks on behalf of a user.
func forUser(assertion entra.Secret) entra.Request {
	req := ask()
	req.Assertion = assertion
	return req
}

// made is an assertion with these claims, for [believe].
func made(claims string, args ...any) entra.Secret {
	encode := base64.RawURLEncoding.EncodeToString
	return entra.NewSecret(encode([]byte(`{"alg":"RS256"}`)) + "." + encode(fmt.Appendf(nil, claims, args...)) + ".canary")
}

// byPassword is the token of a user who gave their password and nothing else.
func byPassword(t *testing.T, emulated *entraemu.Server, upn string) entra.Secret {
	t.Helper()
	user, _ := emulated.User(upn)
	form := url.Values{
		"grant_type": {"password"}, "client_id": {entraemu.FrontEnd}, "username": {upn}, "password": {user.Password.Reveal()},
		"scope": {brokerAPI + "/access_as_user"},
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+host+"/"+string(tenant)+"/oauth2/v2.0/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	emulated.ServeHTTP(w, r)
	var token struct {
		Access string `json:"access_token"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &token); err != nil || token.Access == "" {
		t.Fatalf("got %d %s", w.Code, w.Body)
	}
	return entra.NewSecret(token.Access)
}

func TestTokenIsOnBehalfOfTheUser(t *testing.T) {
	for _, flow := range []string{"secret", "workload identity"} {
		t.Run(flow, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "token")
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				emulated := w.emulate(t)
				source := w.onBehalf(t, believe)
				if flow != "secret" {
					writeFile(t, path, projected(t, subject, "", time.Hour))
					file, err := broker.OpenTokenFile(path, slog.New(slog.DiscardHandler))
					if err != nil {
						t.Fatal(err)
					}
					if source, err = broker.NewOnBehalfOf(w.app(t), file, believe); err != nil {
						t.Fatal(err)
					}
				}
				for _, tc := range []struct {
					upn    string
					in     entra.Tenant
					scope  entra.Scope
					object string
				}{
					{alice, tenant, scope, "aaaaaaaa-0000-4000-8000-000000000001"},
					{bob, tenant, scope, "bbbbbbbb-0000-4000-8000-000000000001"},
					{bob, entraemu.OtherTenant, "https://api.security.microsoft.com/AdvancedHunting.Read https://api.security.microsoft.com/Incident.Read", "bbbbbbbb-0000-4000-8000-000000000002"},
				} {
					req := forUser(issued(t, emulated, tc.upn, tc.in, brokerAPI+"/access_as_user", 0))
					req.Tenant, req.Scope = tc.in, tc.scope
					for range 2 { // MSAL remembers nothing
						tok, err := source.Token(t.Context(), req)
						if err != nil {
							t.Fatal(err)
						}
						jwt, err := tok.JWT()
						if err != nil {
							t.Fatal(err)
						}
						got := jwt.Claims
						if got.Object != tc.object || got.Tenant != string(tc.in) || got.Client() != client || !strings.Contains(got.Scp, "Incident.Read") || tok.Scope != tc.scope {
							t.Errorf("%s in %s: got %+v", tc.upn, tc.in, got)
						}
					}
				}
				stats := emulated.Stats()
				if got := stats.Given["urn:ietf:params:oauth:grant-type:jwt-bearer"]; got != 6 || stats.Tokens != 6 || stats.Discovery != 0 {
					t.Errorf("Entra counted %+v, want 6 exchanges and nothing else", stats)
				}
			})
		})
	}
}

func TestAssertionIsRefusedBeforeAnybodyIsAsked(t *testing.T) {
	w := newWorld(t)
	emulated := w.emulate(t)
	good := shown(t, emulated, alice)
	now := time.Now().Unix()
	refusal := func(kind entra.Kind, code, text string) broker.Check {
		return func(context.Context, entra.Secret) (entra.Claims, string, error) {
			err := entra.Errorf(kind, "verify.token", "token: %s", text)
			err.Code = code
			return entra.Claims{}, "", err
		}
	}
	for _, tc := range []struct {
		name      string
		assertion entra.Secret
		check     broker.Check
		kind      entra.Kind
		code      string
		says      string
	}{
		{"none", entra.Secret{}, believe, entra.Invalid, "", "user assertion: there is none"},
		{"a wrong signature", good, refusal(entra.Unadmitted, "signature", "not signed"), entra.Invalid, "signature", "user assertion: not signed"},
		{"no token", good, refusal(entra.Invalid, "opaque", "opaque"), entra.Invalid, "opaque", "user assertion: opaque"},
		{"no keys", good, refusal(entra.Unavailable, "", "no keys"), entra.Unavailable, "", "token: no keys"},
		{"the caller left", good, refusal(entra.Canceled, "", "left"), entra.Canceled, "", ""},
		{"for a route's resource", issued(t, emulated, alice, tenant, brokerAPI+"/access_as_user", 0), forAnother, entra.Invalid, "audience", `for "https://api.security.microsoft.com", want one for app ` + client},
		{"an application's", made(`{"aud":%q,"tid":%q,"exp":%d,"roles":["x"]}`, client, tenant, now+600), believe, entra.Invalid, "application", "an application's own"},
		{"an application's with a scope", made(`{"aud":%q,"tid":%q,"exp":%d,"scp":"x","idtyp":"app"}`, client, tenant, now+600), believe, entra.Invalid, "application", "an application's own"},
		{"of another tenant", issued(t, emulated, bob, entraemu.OtherTenant, brokerAPI+"/access_as_user", 0), believe, entra.Invalid, "tenant", `of tenant "` + entraemu.OtherTenant + `", and tenant ` + string(tenant)},
		{"expired a moment ago", made(`{"aud":%q,"tid":%q,"exp":%d,"scp":"x"}`, client, tenant, now), believe, entra.Invalid, "expired", "expired"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := w.onBehalf(t, tc.check).Token(t.Context(), forUser(tc.assertion))
			if e := wantError(t, err, tc.kind, tc.says); e.Code != tc.code {
				t.Errorf("got code %q, want %q", e.Code, tc.code)
			}
		})
	}
	for name, edit := range map[string]func(*entra.Request){
		"tenant": func(req *entra.Request) { req.Tenant = "../common" },
		"scope":  func(req *entra.Request) { req.Scope = "" },
	} {
		req := forUser(good)
		edit(&req)
		_, err := w.onBehalf(t, believe).Token(t.Context(), req)
		wantError(t, err, entra.Invalid, name)
	}
	if got := emulated.Stats().Tokens; got != 0 {
		t.Errorf("Entra was asked %d times", got)
	}
}

// forAnother is a check by which every token is for a route's resource.
func forAnother(ctx context.Context, assertion entra.Secret) (entra.Claims, string, error) {
	claims, _, err := believe(ctx, assertion)
	return claims, "https://api.security.microsoft.com", err
}

// What was made from a token is not used longer than that.
func TestTokenEndsWithTheAssertion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		emulated := w.emulate(t)
		source := w.onBehalf(t, believe)
		for _, tc := range []struct {
			name              string
			assertion, access time.Duration
			want              time.Duration
			capped            bool
		}{
			{"the assertion is first", 10 * time.Minute, time.Hour, 10 * time.Minute, true},
			{"the token is first", time.Hour, 10 * time.Minute, 10 * time.Minute, false},
		} {
			emulated.SetFaults(entraemu.Faults{LifetimeS: int(tc.access.Seconds())})
			tok, err := source.Token(t.Context(), forUser(issued(t, emulated, alice, tenant, brokerAPI+"/access_as_user", tc.assertion)))
			if err != nil {
				t.Fatal(err)
			}
			if got := time.Until(tok.ExpiresOn).Round(time.Second); got != tc.want || tc.capped && !tok.RefreshOn.Equal(tok.ExpiresOn) {
				t.Errorf("%s: got it for %v, to be refreshed at %v; want it for %v", tc.name, got, tok.RefreshOn, tc.want)
			}
		}
	})
}

func TestAssertionThatEndsDuringTheExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.authority(t, func(rw http.ResponseWriter, r *http.Request) {
			time.Sleep(2 * time.Second)
			grant(bearer, 3599)(rw, r)
		})
		assertion := made(`{"aud":%q,"tid":%q,"exp":%d,"scp":"x"}`, client, tenant, time.Now().Unix()+1)
		_, err := w.onBehalf(t, believe).Token(t.Context(), forUser(assertion))
		wantError(t, err, entra.Invalid, "user assertion: expired")
	})
}

// MSAL throws these away without a type that tells; its texts are held here.
func TestTokenThatMSALThrowsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		authority := w.authority(t, grant(bearer, 299))
		source := w.onBehalf(t, believe)
		assertion := made(`{"aud":%q,"tid":%q,"exp":%d,"scp":"x"}`, client, tenant, time.Now().Unix()+3600)
		_, err := source.Token(t.Context(), forUser(assertion))
		if e := wantError(t, err, entra.Misconfigured, "less than five minutes"); e.RetryAfter != time.Minute {
			t.Errorf("got a pause of %v, want a minute", e.RetryAfter)
		}
		authority.answer = answer(http.StatusOK, `{"token_type":"Bearer","expires_in":3599,"access_token":"canary","scope":"https://api.security.microsoft.com/Other"}`)
		_, err = source.Token(t.Context(), forUser(assertion))
		wantError(t, err, entra.Challenged, "less than "+string(scope))
		authority.answer = grant(bearer, -1)
		_, err = source.Token(t.Context(), forUser(assertion))
		wantError(t, err, entra.Misconfigured, "less than five minutes")
		if got := len(authority.requests()); got != 3 {
			t.Errorf("the authority was asked %d times, want 3", got)
		}
	})
}

func TestExchangeOnBehalfOfAUserOnTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		authority := w.authority(t, grant(bearer, 3599))
		assertion := made(`{"aud":%q,"tid":%q,"exp":%d,"scp":"x"}`, client, tenant, time.Now().Unix()+3600)
		req := forUser(assertion)
		req.Claims = `{"access_token":{"nbf":{"essential":true}}}`
		if _, err := w.onBehalf(t, believe).Token(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		r := authority.requests()[0]
		got := map[string]string{"": r.Method + " " + r.URL.String()}
		for _, field := range []string{"grant_type", "client_id", "client_secret", "requested_token_use", "assertion", "claims"} {
			got[field] = r.PostForm.Get(field)
		}
		want := map[string]string{
			"":           "POST /" + string(tenant) + "/oauth2/v2.0/token",
			"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "client_id": client, "client_secret": secret,
			"requested_token_use": "on_behalf_of", "assertion": assertion.Reveal(), "claims": req.Claims,
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Error(diff)
		}
	})
}

// Whoever is asked for more gets to know what.
func TestInteractionRequiredComesWithItsClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		emulated := w.emulate(t)
		assertion := byPassword(t, emulated, alice)
		user, _ := emulated.User(alice)
		user.MFA = true
		if err := emulated.SetUser(user); err != nil {
			t.Fatal(err)
		}
		_, err := w.onBehalf(t, believe).Token(t.Context(), forUser(assertion))
		e := wantError(t, err, entra.Challenged, "have the user sign in with the claims that come with this answer")
		if e.Code != "interaction_required" || e.AADSTS != 50076 || !strings.HasPrefix(e.Claims, `{"access_token":{"capolids":`) {
			t.Errorf("got %s, AADSTS%d, claims %s", e.Code, e.AADSTS, e.Claims)
		}
	})
}

func TestRefusalsOfUsersSayWhatToDo(t *testing.T) {
	const claims = `{"access_token":{"x":{"essential":true}}}`
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		authority := w.authority(t, nil)
		source := w.onBehalf(t, believe)
		assertion := made(`{"aud":%q,"tid":%q,"exp":%d,"scp":"x"}`, client, tenant, time.Now().Unix()+3600)
		for _, tc := range []struct {
			number int
			kind   entra.Kind
			says   string
		}{
			{50013, entra.Challenged, "have the user sign in again, to a token for this app"},
			{50173, entra.Challenged, "was revoked or is too long ago"},
			{50079, entra.Challenged, "such as a second factor"},
			{50078, entra.Challenged, "such as a second factor"},
			{530003, entra.Challenged, "Conditional Access"},
			{50144, entra.Challenged, "the user's password has expired"},
			{90095, entra.Challenged, "has consented"},
			{53003, entra.Challenged, "Conditional Access stands against it"},
			{50057, entra.Challenged, "account is disabled"},
			{50034, entra.Challenged, "not in that tenant"},
			{50105, entra.Challenged, "not assigned to the app"},
			{65001, entra.Challenged, "consent at https://" + host + "/" + string(tenant) + "/adminconsent"},
			{7000114, entra.Challenged, "no access token of a user"},
			{7000215, entra.Misconfigured, "wrong client secret"}, // the app's own
			{123456, entra.Challenged, "refuses app " + client},
		} {
			authority.answer = answer(http.StatusBadRequest, fmt.Sprintf(`{"error":"invalid_grant","error_description":"canary","error_codes":[%d],"claims":%q}`, tc.number, claims))
			_, err := source.Token(t.Context(), forUser(assertion))
			e := wantError(t, err, tc.kind, tc.says)
			if e.Claims != claims || e.AADSTS != tc.number || strings.ContainsAny(e.Message(), "{}") {
				t.Errorf("%d: got AADSTS%d, claims %s: %s", tc.number, e.AADSTS, e.Claims, e.Message())
			}
		}
	})
}

func TestOnBehalfOfWantsAnAppAndACheck(t *testing.T) {
	w := newWorld(t)
	app := w.app(t)
	_, err := broker.NewOnBehalfOf(app, nil, nil)
	wantError(t, err, entra.Internal, "")
	app.ClientID = "x"
	_, err = broker.NewOnBehalfOf(app, nil, believe)
	wantError(t, err, entra.Invalid, "client_id")
}

func TestUnreadableCredentialIsNotTheUsersFault(t *testing.T) {
	w := newWorld(t)
	authority := w.authority(t, grant(bearer, 3599))
	assertion := made(`{"aud":%q,"tid":%q,"exp":%d,"scp":"x"}`, client, tenant, time.Now().Unix()+3600)
	path := filepath.Join(t.TempDir(), "token")
	writeFile(t, path, projected(t, subject, "", -time.Hour))
	file, err := broker.OpenTokenFile(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	source, err := broker.NewOnBehalfOf(w.app(t), file, believe)
	if err != nil {
		t.Fatal(err)
	}
	_, err = source.Token(t.Context(), forUser(assertion))
	wantError(t, err, entra.Misconfigured, "workload identity token "+path)
	if len(authority.requests()) != 0 {
		t.Error("the authority was asked")
	}
}
