//go:build unix

package setup_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/entra"
	"tokenbroker/setup"
)

// TestMain lets the test binary stand for the commands that a script calls.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "sleep":
		os.Exit(0)
	case "az":
		os.Exit(fakeAz(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// secretText is what the fake tenant makes as a client secret.
const secretText = "s3cr3t~of-the-tenant"

// fakeAz answers like az in a tenant whose state is a folder: a file that
// exists is something that the tenant has, or will not do.
func fakeAz(args []string) int {
	dir := os.Getenv("FAKE_TENANT")
	has := func(name string) bool {
		_, err := os.Stat(filepath.Join(dir, name))
		return err == nil
	}
	put := func(name string) { _ = os.WriteFile(filepath.Join(dir, name), nil, 0o600) }
	call, _ := json.Marshal(args)
	log, err := os.OpenFile(filepath.Join(dir, "calls"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return 1
	}
	defer log.Close()
	_, _ = log.Write(append(call, '\n'))

	line := strings.Join(args, " ")
	quoted := regexp.MustCompile(`'([^']*)'`).FindAllStringSubmatch(line, -1)
	first := func() string { return quoted[0][1] }
	answer := func(text string) int { _, _ = os.Stdout.WriteString(text + "\n"); return 0 }
	switch {
	case strings.HasPrefix(line, "cloud show"):
		return answer("https://graph.microsoft.com/")
	case strings.HasPrefix(line, "account show"):
		return answer(tenantID)
	case strings.Contains(line, "/v1.0/organization"):
		return answer("CONTOSO.example\ncontoso.onmicrosoft.com")
	case strings.HasPrefix(line, "ad sp list"):
		if id := first(); has("sp-"+id) || id != clientID && !has("without-"+id) {
			return answer("sp-" + id)
		}
	case strings.HasPrefix(line, "ad sp create"):
		put("sp-" + args[4])
		return answer("sp-" + args[4])
	case strings.Contains(line, "--query servicePrincipalType"):
		if has("no-managed-identity") {
			return answer("Application")
		}
		return answer("ManagedIdentity")
	case strings.HasPrefix(line, "ad sp show") && strings.Contains(line, "--query appId"):
		return answer(clientID)
	case strings.HasPrefix(line, "ad sp show"):
		if !has("without-" + first()) {
			return answer("id-of-" + first())
		}
	case strings.Contains(line, "$filter=displayName"):
		if has("app") {
			return answer(clientID)
		}
	case strings.HasPrefix(line, "ad app update"):
		return answer("what az may say one day")
	case strings.HasPrefix(line, "ad app create"):
		put("app")
		return answer(clientID)
	case strings.HasPrefix(line, "ad app credential reset"):
		if has("no-secrets") {
			return 1
		}
		put("credential")
		if strings.Contains(line, "--query password") {
			return answer(secretText)
		}
	case strings.Contains(line, "$select=keyCredentials"), strings.HasPrefix(line, "ad app federated-credential list"):
		if has("credential") {
			return answer("key")
		}
	case strings.HasPrefix(line, "ad app federated-credential create"):
		put("credential")
	case strings.Contains(line, "--method get"): // the grants
		if has("granted-"+first()) || len(quoted) > 1 && has("granted-"+quoted[1][1]) {
			return answer("grant")
		}
	case strings.Contains(line, "--method post"):
		if has("no-grants") {
			return 1
		}
		var body map[string]string
		if json.Unmarshal([]byte(args[slices.Index(args, "--body")+1]), &body) != nil {
			return 1
		}
		put("granted-" + body["resourceId"] + body["appRoleId"])
		put("granted-" + body["appRoleId"] + body["scope"])
	}
	return 0
}

// run is one run of a script.
type run struct {
	err            error
	stdout, stderr string
	calls          []string // of az, that change something
	raw            [][]string
}

// tenant is a folder that a script is run in, and the tenant that it meets.
type tenant struct {
	t              *testing.T
	dir, work, bin string
}

func newTenant(t *testing.T, has ...string) *tenant {
	t.Helper()
	n := &tenant{t, t.TempDir(), t.TempDir(), t.TempDir()}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"az", "sleep"} {
		if err := os.Symlink(self, filepath.Join(n.bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range has {
		n.put(name)
	}
	return n
}

func (n *tenant) put(name string) {
	n.t.Helper()
	if err := os.WriteFile(filepath.Join(n.dir, name), nil, 0o600); err != nil {
		n.t.Fatal(err)
	}
}

func (n *tenant) run(text string, args ...string) run {
	n.t.Helper()
	_ = os.Remove(filepath.Join(n.dir, "calls"))
	cmd := exec.CommandContext(n.t.Context(), "sh", append([]string{"-s", "--"}, args...)...)
	cmd.Dir = n.work
	// A race detector would have each call of the fake wait a second at its end.
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", "PATH="+n.bin+string(os.PathListSeparator)+os.Getenv("PATH"), "FAKE_TENANT="+n.dir)
	cmd.Stdin = strings.NewReader(text)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	r := run{err: cmd.Run(), stdout: stdout.String(), stderr: stderr.String()}
	log, err := os.ReadFile(filepath.Join(n.dir, "calls"))
	if err != nil {
		n.t.Fatal(err, r.stderr)
	}
	for line := range strings.Lines(string(log)) {
		var call []string
		if err := json.Unmarshal([]byte(line), &call); err != nil {
			n.t.Fatal(err)
		}
		r.raw = append(r.raw, call)
		if text := strings.Join(call, " "); !strings.Contains(text, " show ") && !strings.Contains(text, " list ") && !strings.Contains(text, "--method get") {
			r.calls = append(r.calls, strings.SplitN(text, " --", 2)[0])
		}
	}
	return r
}

func azScript(t *testing.T, want setup.Want) string {
	t.Helper()
	if want.Endpoints == nil {
		want.Endpoints = endpoints(t, "GET /api/incidents", "GET /api/machines")
	}
	if want.Credential == nil {
		want.Credential = setup.Secret{Days: 30, File: "client-secret"}
	}
	return script(t, plan(t, want), setup.Az)
}

func TestScriptMakesEverythingAndSaysTheConfiguration(t *testing.T) {
	n := newTenant(t)
	r := n.run(azScript(t, setup.Want{Name: `O'Brien "$(touch here)" ` + "`x`"}))
	if r.err != nil {
		t.Fatalf("%v: %s", r.err, r.stderr)
	}
	want := []string{"ad app create", "ad app update", "ad app update", "ad sp create", "ad app credential reset", "rest", "rest"}
	if diff := cmp.Diff(want, r.calls); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	if got := credentialOf(t, r.stdout); got["kind"] != "secret" || got["file"] != "client-secret" || !strings.Contains(r.stdout, "client_id: "+clientID) {
		t.Errorf("configuration:\n%s", r.stdout)
	}
	file := filepath.Join(n.work, "client-secret")
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(file); info.Mode().Perm() != 0o600 || strings.TrimSpace(string(text)) != secretText {
		t.Errorf("the secret's file has mode %v and holds %q", info.Mode(), text)
	}
	if strings.Contains(r.stdout+r.stderr, secretText) {
		t.Error("the secret is shown")
	}
	for _, call := range r.raw {
		if i := slices.Index(call, "--display-name"); i >= 0 && call[2] == "create" && call[i+1] != `O'Brien "$(touch here)" `+"`x`" {
			t.Errorf("the name arrives as %q", call[i+1])
		}
	}
	if files, _ := os.ReadDir(n.work); len(files) != 1 {
		t.Errorf("got the files %v, want the secret's alone", files)
	}
}

func TestScriptRunAgainChangesNothing(t *testing.T) {
	for name, want := range map[string]setup.Credential{
		"secret": setup.Secret{Days: 1, File: "client-secret"}, "certificate": setup.Certificate{PEM: certificate(t, "certificate.pem"), File: "tls.pem"},
	} {
		t.Run(name, func(t *testing.T) {
			n, text := newTenant(t), azScript(t, setup.Want{Credential: want})
			if r := n.run(text); r.err != nil {
				t.Fatalf("%v: %s", r.err, r.stderr)
			}
			r := n.run(text, clientID)
			if diff := cmp.Diff([]string{"ad app update", "ad app update"}, r.calls); diff != "" || r.err != nil {
				t.Errorf("%v: %s, changes (-want +got):\n%s", r.err, r.stderr, diff)
			}
			credentialOf(t, r.stdout)
		})
	}
}

// Whoever may register applications may have made one of the name, to be
// given the permissions.
func TestScriptDoesNotTakeAnotherApplicationForItsOwn(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"one that nobody named", nil, "has an application of this name: " + clientID},
		{"another than the one named", []string{tenantID}, "no application " + tenantID},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newTenant(t, "app").run(azScript(t, setup.Want{}), tt.args...)
			if r.err == nil || !strings.Contains(r.stderr, tt.want) || len(r.calls) > 0 || r.stdout != "" {
				t.Errorf("got %v, %q, changes %q, want %q and none", r.err, r.stderr, r.calls, tt.want)
			}
		})
	}
}

func TestScriptStopsBeforeItChangesAnything(t *testing.T) {
	for _, tt := range []struct {
		name string
		want setup.Want
		has  string
		says string
	}{
		{"another cloud", setup.Want{Cloud: entra.DoD}, "", "az cloud set --name AzureUSGovernment, az cloud update"},
		{"another tenant", setup.Want{Tenant: objectID}, "", "az login --tenant " + objectID},
		{"a tenant without the domain", setup.Want{Tenant: "fabrikam.example"}, "", "has no domain fabrikam.example"},
		{"a permission that the tenant does not know", setup.Want{}, "without-Machine.Read.All", "no permission named Machine.Read.All"},
		{"an object that is no managed identity", setup.Want{Credential: setup.ManagedIdentity{ObjectID: objectID}}, "no-managed-identity", "is of the type Application"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := newTenant(t)
			if tt.has != "" {
				n.put(tt.has)
			}
			r := n.run(azScript(t, tt.want))
			if r.err == nil || !strings.Contains(r.stderr, tt.says) || len(r.calls) > 0 || r.stdout != "" {
				t.Errorf("got %v, %q, changes %q, want %q and none", r.err, r.stderr, r.calls, tt.says)
			}
		})
	}
}

func TestScriptFailsInTheOpen(t *testing.T) {
	t.Run("no secrets allowed", func(t *testing.T) {
		n := newTenant(t, "no-secrets")
		r := n.run(azScript(t, setup.Want{}))
		if files, _ := os.ReadDir(n.work); r.err == nil || len(files) > 0 || !strings.Contains(r.stderr, "no client secret was made") {
			t.Errorf("got %v, %q, files %v", r.err, r.stderr, files)
		}
	})
	t.Run("not an administrator", func(t *testing.T) {
		r := newTenant(t, "no-grants").run(azScript(t, setup.Want{}))
		want := "https://login.microsoftonline.com/" + tenantID + "/adminconsent?client_id=" + clientID
		if r.err == nil || !strings.Contains(r.stderr, "not granted") || !strings.Contains(r.stderr, want) {
			t.Errorf("got %v, %q, want the link %s", r.err, r.stderr, want)
		}
		credentialOf(t, r.stdout)
	})
}

func TestScriptInTheTenantOfADomainAddsAMissingAPI(t *testing.T) {
	const mde = "fc780465-2017-40d4-a0c5-307022471b92"
	r := newTenant(t, "without-"+mde).run(azScript(t, setup.Want{Tenant: "contoso.example"}))
	if r.err != nil || !strings.Contains(r.stderr, "WindowsDefenderATP is not in the tenant yet") || r.calls[0] != "ad sp create" {
		t.Errorf("got %v, %q, changes %q", r.err, r.stderr, r.calls)
	}
}

func TestScriptOfEachOtherCredential(t *testing.T) {
	for _, tt := range []struct {
		name    string
		want    setup.Want
		changes []string
		says    string
	}{
		{
			"federated",
			setup.Want{Credential: setup.AKS("https://issuer.example/", "a", "b")},
			[]string{"ad app create", "ad app update", "ad app update", "ad sp create", "ad app federated-credential create", "rest", "rest"},
			"",
		},
		{"managed identity", setup.Want{Credential: setup.ManagedIdentity{ObjectID: objectID}}, []string{"rest", "rest"}, "the managed identity " + clientID},
		{
			"a user",
			setup.Want{Credential: setup.User{Flow: setup.Browser}},
			[]string{"ad app create", "ad app update", "ad app update", "ad app update", "ad app update", "ad sp create", "rest", "rest"},
			"",
		},
		{
			"partners",
			setup.Want{MultiTenant: true},
			[]string{"ad app create", "ad app update", "ad app update", "ad sp create", "ad app credential reset", "rest", "rest"},
			"/common/oauth2/authorize?prompt=consent&client_id=" + clientID + "&response_type=code&sso_reload=true",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newTenant(t).run(azScript(t, tt.want))
			if diff := cmp.Diff(tt.changes, r.calls); diff != "" || r.err != nil || !strings.Contains(r.stderr, tt.says) {
				t.Errorf("%v: %s, changes (-want +got):\n%s", r.err, r.stderr, diff)
			}
			credentialOf(t, r.stdout)
		})
	}
}

func TestScriptLeavesAnExistingSecretAlone(t *testing.T) {
	n := newTenant(t)
	file := filepath.Join(n.work, "client-secret")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := n.run(azScript(t, setup.Want{}))
	if text, _ := os.ReadFile(file); r.err != nil || string(text) != "mine" || slices.Contains(r.calls, "ad app credential reset") {
		t.Errorf("got %v, %q, the file holds %q", r.err, r.stderr, text)
	}
}

// A link that leads nowhere does not exist for [ -e ]: followed, it would put
// the secret where somebody else has it led.
func TestScriptDoesNotFollowALinkWithTheSecret(t *testing.T) {
	n := newTenant(t)
	elsewhere := filepath.Join(n.bin, "elsewhere")
	if err := os.Symlink(elsewhere, filepath.Join(n.work, "client-secret")); err != nil {
		t.Fatal(err)
	}
	r := n.run(azScript(t, setup.Want{}))
	if _, err := os.Stat(elsewhere); err == nil || r.err == nil {
		t.Errorf("the secret went along the link (%v, %q)", r.err, r.stderr)
	}
}
