package clients

import (
	"bufio"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// What no repetition can cure is asked for once, and the reason reaches whoever
// reads the SDK's error.
func TestNoSDKRepeatsWhatCannotBeCured(t *testing.T) {
	b := start(t, keyed)
	const elsewhere = "https://management.azure.com/.default"
	wrong := func(name string) func(*broker, language) []string {
		return func(b *broker, l language) []string {
			env := environments[name](b, l)
			for i, entry := range env {
				env[i] = strings.Replace(entry, key, "a-key-that-nobody-has", 1)
			}
			return env
		}
	}
	managed := map[*language][]string{
		&golang: {"ManagedIdentityCredential", "ManagedIdentityApplication"},
		&node:   {"ManagedIdentityCredential", "ManagedIdentityApplication"},
		&python: {"ManagedIdentityCredential"},
	}
	for _, tt := range []struct {
		name     string
		env      func(*broker, language) []string
		scope    string
		clientID string
		want     string // in the error of every SDK; empty: some have no place for a reason
	}{
		{"app service, unknown identity", environments["app service"], mde, "99999999-9999-9999-9999-999999999999", "99999999"},
		{"app service, resource of no route", environments["app service"], elsewhere, "", "management.azure.com"},
		{"app service, wrong key", wrong("app service"), mde, "", "caller key"},
		{"2017, wrong key", wrong("app service of 2017"), mde, "", "caller key"},
		{"cloud shell, resource of no route", environments["cloud shell"], elsewhere, "", "management.azure.com"},
		{"cloud shell, not for this caller", environments["cloud shell"], xdr, "", "api.security.microsoft.com"},
	} {
		for l, clients := range managed {
			for _, client := range clients {
				t.Run(tt.name+"/"+l.name+"/"+client, func(t *testing.T) { b.in(t).refused(l, tt.env, client, tt.scope, tt.clientID, tt.want) })
			}
		}
	}
	for _, l := range []*language{&node, &python} {
		for _, client := range managed[l] {
			t.Run("imds, unknown identity/"+l.name+"/"+client, func(t *testing.T) {
				b.in(t).refused(l, environments["imds"], client, mde, "99999999-9999-9999-9999-999999999999", "")
			})
			t.Run("imds, resource of no route/"+l.name+"/"+client, func(t *testing.T) {
				b.in(t).refused(l, environments["imds"], client, elsewhere, "", "")
			})
		}
	}
	for _, l := range []*language{&golang, &node, &python} {
		t.Run("adfs, wrong key/"+l.name, func(t *testing.T) {
			b.in(t).refused(l, wrong("adfs"), "EnvironmentCredential", mde, "", "caller key")
		})
		t.Run("adfs, resource of no route/"+l.name, func(t *testing.T) {
			b.in(t).refused(l, environments["adfs"], "EnvironmentCredential", elsewhere, "", "management.azure.com")
		})
	}
	t.Run("sidecar, service of no route", func(t *testing.T) {
		b.in(t).refused(&node, environments["sidecar"], "SidecarAuthProvider", elsewhere, "", "")
	})
	if got := b.requests(); got != warm {
		t.Errorf("%d token requests to Entra, want none but the %d of the start", got, warm)
	}
}

// refused has a client ask, and fail, for one request.
func (b *broker) refused(l *language, env func(*broker, language) []string, client, scope, clientID, want string) {
	b.t.Helper()
	before := b.refusals()
	said := l.get(b, env(b, *l), client, scope, clientID)
	if said.Error == "" {
		b.t.Fatal("it got a token")
	}
	if !strings.Contains(said.Error, want) {
		b.t.Errorf("%s; want %q in it", said.Error, want)
	}
	if asked := b.refusals() - before; asked != 1 {
		b.t.Errorf("it asked %d times, want once", asked)
	}
}

// refusals returns how many requests of callers the broker has refused.
func (b *broker) refusals() (all int) {
	b.t.Helper()
	resp, err := b.client().Get(b.ops + "/metrics")
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), "} ")
		if !strings.HasPrefix(name, "tokenbroker_requests_total{") || !strings.Contains(name, `class="4`) {
			continue
		}
		n, err := strconv.Atoi(value)
		if err != nil {
			b.t.Fatal(err)
		}
		all += n
	}
	return all
}

// The header that is made at the start is what an application shows.
func TestMadeIdentityHeader(t *testing.T) {
	b := start(t, open)
	header := b.read("identity-header")
	if info, err := os.Stat(b.path("identity-header")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	env := []string{"IDENTITY_ENDPOINT=" + b.url + "/msi/token", "IDENTITY_HEADER=" + header}
	for _, l := range []language{golang, node, python} {
		said := l.get(b, env, "ManagedIdentityCredential", xdr, "")
		if said.Error != "" {
			t.Error(l.name, said.Error)
			continue
		}
		b.check(said.Token, xdr, said.Expires)
		wrong := slices.Clone(env)
		wrong[1] += "x"
		if said := l.get(b, wrong, "ManagedIdentityCredential", xdr, ""); !strings.Contains(said.Error, "caller key") {
			t.Errorf("%s, with another header: %+v", l.name, said)
		}
	}
}
