package config

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tokenbroker/defender"
	"tokenbroker/entra"
)

const (
	tenant = "22222222-2222-2222-2222-222222222222"
	client = "11111111-1111-1111-1111-111111111111"
)

// identity is the first line of most files here.
const identity = "identities: {default: {tenant: " + tenant + ", client_id: " + client + ", credential: {kind: secret, file: /s}}}\n"

func catalogue(tb testing.TB) *defender.Catalogue {
	tb.Helper()
	c, err := defender.Load()
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// try loads a file that is called config.yaml in faults. Where yaml is empty
// there is none.
func try(tb testing.TB, yaml string, env ...string) (*Config, error) {
	tb.Helper()
	opts := Options{Catalogue: catalogue(tb), Env: env, goos: "linux"}
	if yaml != "" {
		opts.File = "config.yaml"
	}
	return load(opts, []byte(yaml))
}

// good loads a file without faults.
func good(t *testing.T, yaml string, env ...string) *Config {
	t.Helper()
	c, err := try(t, yaml, env...)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return c
}

func TestDefaults(t *testing.T) {
	got := good(t, identity)
	want := &Config{
		Listen: Listen{
			Callers: []Listener{{Address: Address{Host: "localhost", Port: 5178}}},
			Ops:     Address{Host: "localhost", Port: 5179},
		},
		Cloud:     entra.Public,
		Authority: "https://login.microsoftonline.com",
		Identities: map[string]Identity{"default": {
			Tenant: tenant, ClientID: client, Credential: Credential{Kind: ClientSecret, File: "/s"},
		}},
		DefaultRoute: "defender",
		Tokens:       Tokens{HandOut: true},
		Protocols:    Protocols{AppService: true, OAuth: true, EntraSidecar: Sidecar{On: true}},
		Cache:        Cache{Size: 10000},
		Limits: Limits{
			RequestBody: 32 << 20, ReadHeaderTimeout: 5 * time.Second, EntraTimeout: 10 * time.Second,
			ResponseHeaderTimeout: 240 * time.Second, Grace: 20 * time.Second,
		},
		Log:      Log{Level: slog.LevelInfo, Format: LogJSON},
		Warnings: []string{"caller_key_file is not set: every process that reaches a listener may call, in a Pod every container"},
	}
	if diff := cmp.Diff(got, want, cmpopts.IgnoreFields(Config{}, "Table"), sameSecret); diff != "" {
		t.Error(diff)
	}
}

// TestExample reads the file of the documentation: it is valid, and shows
// every setting.
func TestExample(t *testing.T) {
	content, err := os.ReadFile("testdata/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c := good(t, string(content), "LAB_CLIENT_SECRET=from the environment")
	if len(c.Warnings) > 0 {
		t.Errorf("warnings %q, want none", c.Warnings)
	}
	for _, section := range sections(t) {
		for _, s := range section.Settings {
			if key := s.Path[strings.LastIndexByte(s.Path, '.')+1:]; !strings.Contains(string(content), key+":") {
				t.Errorf("the example does not show %s", s.Path)
			}
		}
	}

	wantCallers := []Listener{
		{Address: Address{Host: "localhost", Port: 5178}},
		{Address: Address{Socket: "/run/tokenbroker/callers.sock"}, Mode: 0o660},
		{Address: Address{Host: "localhost", Port: 5180}, Route: "mde"},
		{Address: Address{Host: "localhost", Port: 5181}, Forward: true},
		{Address: Address{Host: "localhost", Port: 8443}, TLS: TLS{On: true, CAOut: "/run/tokenbroker/ca.pem"}},
		{Address: Address{Host: "127.0.0.1", Port: 8444}, TLS: TLS{On: true, CertFile: "/etc/tokenbroker/tls/tls.crt", KeyFile: "/etc/tokenbroker/tls/tls.key"}},
	}
	if diff := cmp.Diff(c.Listen.Callers, wantCallers); diff != "" {
		t.Error(diff)
	}
	if got := c.Identities["lab"].Credential.Secret.Reveal(); got != "from the environment" {
		t.Errorf("secret of the variable is %q", got)
	}
	hunting, err := c.Table.Route("hunting")
	if err != nil {
		t.Fatal(err)
	}
	if hunting.Identity != "hunter" || hunting.Host.Name != "api.security.microsoft.com" || hunting.Allow[0].String() != "POST /api/advancedhunting/run" {
		t.Errorf("hunting: identity %s, host %s, allow %v", hunting.Identity, hunting.Host.Name, hunting.Allow)
	}
	cloudApps, err := c.Table.Route("cloud-apps")
	if err != nil {
		t.Fatal(err)
	}
	if cloudApps.Host != nil || cloudApps.Scope != "05a65629-4c1b-48c1-a78b-804c4abdd4af/.default" {
		t.Errorf("cloud-apps: host %v, scope %s", cloudApps.Host, cloudApps.Scope)
	}
}

func TestVariableBeatsFileBeatsDefault(t *testing.T) {
	opts := Options{Catalogue: catalogue(t)}
	size := func(yaml string) int {
		t.Helper()
		c, err := load(opts, []byte(yaml))
		if err != nil {
			t.Fatal(err)
		}
		return c.Cache.Size
	}
	got := map[string]int{}
	opts.File = "config.yaml"
	got["default"] = size(identity)
	got["file"] = size(identity + "cache: {size: 1}")
	opts.Env = []string{"TOKENBROKER_CACHE_SIZE=2"}
	got["variable"] = size(identity + "cache: {size: 1}")

	want := map[string]int{"default": 10000, "file": 1, "variable": 2}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Error(diff)
	}
}

// TestFileReplacesDefaultList makes sure that nobody listens where the file
// does not say so.
func TestFileReplacesDefaultList(t *testing.T) {
	got := good(t, identity+"listen: {callers: [\"unix:/run/x.sock\"]}").Listen.Callers
	want := []Listener{{Address: Address{Socket: "/run/x.sock"}, Mode: 0o660}}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Error(diff)
	}
}

func TestAnchorsAndMergeKeys(t *testing.T) {
	c := good(t, identity+`
routes:
  one: &one {upstream: https://one.example, scope: https://one.example/.default, deny: [&all {path: /**}]}
  two: {<<: *one, upstream: https://two.example}
  three: {<<: [{scope: https://three.example/.default}, *one], allow: [*all]}
`)
	type shape struct {
		Upstream    string
		Scope       entra.Scope
		Allow, Deny int
	}
	got := map[string]shape{}
	for name, r := range c.Routes {
		got[name] = shape{r.Upstream.String(), r.Scope, len(r.Allow), len(r.Deny)}
	}
	want := map[string]shape{
		"one":   {"https://one.example", "https://one.example/.default", 0, 1},
		"two":   {"https://two.example", "https://one.example/.default", 0, 1},
		"three": {"https://one.example", "https://three.example/.default", 1, 1},
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Error(diff)
	}
}

// TestScalarsAreTexts: what YAML takes for a number, a date or a truth value
// stays what stands in the file.
func TestScalarsAreTexts(t *testing.T) {
	c := good(t, identity+`
listen: {callers: [{address: "unix:/x", mode: 0600}]}
cache: {size: "77"}
ca_file: 2026-11-21
caller_key_file: yes
`)
	got := []any{c.Listen.Callers[0].Mode, c.Cache.Size, c.CAFile, c.CallerKeyFile}
	if diff := cmp.Diff(got, []any{os.FileMode(0o600), 77, "2026-11-21", "yes"}); diff != "" {
		t.Error(diff)
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]Size{
		"0": 0, "65536": 65536, "7B": 7, "1kB": 1000, "10MB": 10_000_000, "2GB": 2_000_000_000, "1KiB": 1 << 10, "32MiB": 32 << 20, "3GiB": 3 << 30,
	} {
		if got, err := parseSize(text); got != want || err != nil {
			t.Errorf("%s is %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "MiB", "1.5MiB", "0x10", "1_000", "1K", "1MiBB", "１MiB"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%q is read as %d", text, got)
		}
	}
}

// TestGUIDsAreLowered: one app registration has one spelling, in the ids of
// identities as elsewhere.
func TestGUIDsAreLowered(t *testing.T) {
	const guid = "ABCDEF00-0000-0000-0000-00000000000A"
	id := good(t, "identities: {default: {tenant: "+guid+", client_id: "+guid+", credential: {kind: secret, file: /s}}}").Identities["default"]
	if want := strings.ToLower(guid); id.ClientID != want || string(id.Tenant) != want {
		t.Errorf("client id %s, tenant %s", id.ClientID, id.Tenant)
	}
}

// TestIdentityIDTellsIdentitiesApart: an identity that a reload repoints must
// not meet the tokens of the old one.
func TestIdentityIDTellsIdentitiesApart(t *testing.T) {
	base := Identity{Tenant: "contoso.com", ClientID: client, Credential: Credential{Kind: ClientSecret, File: "/a"}}
	same, otherTenant, otherClient, otherKind := base, base, base, base
	same.Credential.File = "/rotated"
	otherTenant.Tenant = "fabrikam.com"
	otherClient.ClientID = tenant
	otherKind.Credential.Kind = WorkloadIdentity
	ids := map[entra.IdentityID]string{}
	for name, id := range map[string]*Identity{"base": &base, "tenant": &otherTenant, "client": &otherClient, "kind": &otherKind} {
		ids[id.ID("https://a")] = name
	}
	ids[base.ID("https://b")] = "authority"
	if len(ids) != 5 || ids[same.ID("https://a")] != "base" {
		t.Errorf("ids %v", ids)
	}
}

func TestFileThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tests := map[string]string{
		filepath.Join(dir, "missing.yaml"): "no such file or directory",
		filepath.Join(dir, "nul\x00.yaml"): "invalid argument",
		dir:                                "a directory; want a YAML file",
		write("large.yaml", "# "+strings.Repeat("x", 1<<20)):          "larger than 1048576 bytes",
		write("empty.yaml", ""):                                       "empty: it holds no settings",
		write("comments.yaml", "# nothing\n\n# at all\n"):             "empty: it holds no settings",
		write("separator.yaml", "---\n"):                              "empty: it holds no settings",
		write("binary.yaml", "\x7fELF\x02\x01\x01\x00\x00\x00\x00"):   "not YAML: control characters are not allowed",
		write("latin1.yaml", "ca_file: /etc/schl\xfcssel\n"):          "not YAML: invalid leading UTF-8 octet",
		write("utf16.yaml", "\xff\xfel\x00o\x00g\x00:\x00 \x001\x00"): "log: want a mapping",
		write("large-enough.yaml", "# "+strings.Repeat("x", 1<<20-3)): "empty: it holds no settings",
	}
	for path, want := range tests {
		_, err := Load(Options{Catalogue: catalogue(t), File: path, Env: azure})
		if entra.KindOf(err) != entra.Invalid || !strings.HasPrefix(text(err), path) || !strings.HasSuffix(text(err), ": "+want) {
			t.Errorf("got %v\nwant %s: … %s", err, path, want)
		}
	}
	if _, err := Load(Options{Catalogue: catalogue(t), File: write("good.yaml", identity)}); err != nil {
		t.Error(err)
	}
}

// sameSecret compares secrets that may be none.
var sameSecret = cmp.Comparer(func(a, b entra.Secret) bool { return a.Reveal() == b.Reveal() })

// text is an error's text, "" for none.
func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestFaultsAreEntraErrors: each of the joined faults is one, of kind invalid.
func TestFaultsAreEntraErrors(t *testing.T) {
	_, err := try(t, "cache: {size: x}\nlog: {level: x}", azure...)
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) || len(joined.Unwrap()) != 2 {
		t.Fatalf("got %v, want two joined errors", err)
	}
	for _, one := range joined.Unwrap() {
		if e, ok := errors.AsType[*entra.Error](one); !ok || e.Kind != entra.Invalid || strings.Contains(e.Message(), "\n") {
			t.Errorf("got %#v, want an invalid error of one line", one)
		}
	}
}

// TestTagsAreReadable: a default or a bound that cannot be read would be zero.
func TestTagsAreReadable(t *testing.T) {
	for _, s := range settings(new(Config)) {
		for _, tag := range []string{"default", "min", "max"} {
			if text, ok := s.tag.Lookup(tag); ok {
				if err := s.set(text); err != nil {
					t.Errorf("%s: tag %s: %v", s.path, tag, err)
				}
			}
		}
		if _, ok := s.tag.Lookup("min"); ok && s.bound("min") >= s.bound("max") {
			t.Errorf("%s: bounds %s to %s", s.path, s.tag.Get("min"), s.tag.Get("max"))
		}
	}
}
