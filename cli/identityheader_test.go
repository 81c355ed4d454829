package cli

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"tokenbroker/config"
	"tokenbroker/entra"
	"tokenbroker/guard"
	"tokenbroker/server"
)

const openListener = "listen: {ops: '127.0.0.1:0', callers: ['127.0.0.1:0']}\n"

// identityKeys is how the App Service protocol carries a key.
func identityKeys(r *http.Request) ([]entra.Secret, error) {
	if value := r.Header.Get("X-IDENTITY-HEADER"); value != "" {
		return []entra.Secret{entra.NewSecret(value)}, nil
	}
	return nil, nil
}

// identity asks the App Service protocol of the configuration in force, whose
// handler says who was admitted.
func (b *standing) identity(key string) (status int, body string) {
	b.t.Helper()
	a := b.service.current()
	m := a.keyed(server.Mount{
		Name: "app-service", Path: "/identity", Keys: identityKeys, WriteError: server.WriteProblem,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			who, _ := guard.PrincipalOf(r.Context())
			_, _ = w.Write([]byte(who.Name + " " + who.Via))
		}),
	})
	r := httptest.NewRequestWithContext(b.t.Context(), http.MethodGet, "http://localhost/identity", nil)
	r.RemoteAddr = "127.0.0.1:4"
	if key != "" {
		r.Header.Set("X-IDENTITY-HEADER", key)
	}
	w := httptest.NewRecorder()
	b.service.srv.Handler(a.guard, m).ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// wantIdentity checks what comes of a key.
func (b *standing) wantIdentity(key string, status int, words string) {
	b.t.Helper()
	if got, body := b.identity(key); got != status || !strings.Contains(body, words) {
		b.t.Errorf("status %d, %s; want %d and %q", got, body, status, words)
	}
}

func keyIn(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	must(t, err)
	key, whole := strings.CutSuffix(string(content), "\n")
	if !whole || !isMadeKey(key) {
		t.Fatalf("%s holds %q", path, content)
	}
	return key
}

func TestIdentityHeaderIsMadeAndKept(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "header")
	const settings = "identity_header_file: 'DIR/header'\n" + openListener
	b := stand(t, dir, settings)
	key := keyIn(t, file)
	if info, err := os.Stat(file); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	b.wantIdentity(key, http.StatusOK, "local key")
	b.wantIdentity("", http.StatusUnauthorized, "caller key: none in the request")
	b.wantIdentity(newKeyText(), http.StatusUnauthorized, "not one of those configured")
	// The rest of the broker is as open as before.
	if resp, err := b.get(0, "localhost", "/routes", nil); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("got %v, %v", resp, err)
	}

	b.reconfigure(settings + "cache: {size: 7}\n")
	b.wantIdentity(key, http.StatusOK, "local key")
	b.wantIdentity("", http.StatusUnauthorized, "caller key")

	b.stop()
	again := stand(t, dir, settings)
	if keyIn(t, file) != key {
		t.Error("a restart made another key: programs that read it once are shut out")
	}
	again.wantIdentity(key, http.StatusOK, "local key")
	again.stop()
	if strings.Contains(b.logs.String()+again.logs.String(), key) {
		t.Error("the key is in the log")
	}
}

// Where callers get keys, the one that was made counts no more.
func TestIdentityHeaderEndsWhereCallersHaveKeys(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "keys"), []byte(keyOf("caller")), 0o600))
	b := stand(t, dir, "identity_header_file: 'DIR/header'\n"+openListener)
	made := keyIn(t, filepath.Join(dir, "header"))
	b.reconfigure("caller_key_file: 'DIR/keys'\n" + openListener)
	b.wantIdentity(made, http.StatusUnauthorized, "not one of those configured")
	b.wantIdentity(keyOf("caller"), http.StatusOK, "local key")
	b.wantIdentity("", http.StatusUnauthorized, "caller key: none")
}

// The key is a secret on every path of the listener, though it is asked for at
// one.
func TestIdentityHeaderIsNowhereWrittenDown(t *testing.T) {
	dir := t.TempDir()
	b := stand(t, dir, "log: {level: debug}\nidentity_header_file: 'DIR/header'\n"+openListener)
	key := keyIn(t, filepath.Join(dir, "header"))
	for path, want := range map[string]int{"/x/" + key: http.StatusForbidden, "/routes?x=" + key: http.StatusForbidden, "/token?scope=x": http.StatusBadRequest} {
		resp, err := b.get(0, "localhost", path, nil, "X-Request-Id", key, "User-Agent", key, "X-IDENTITY-HEADER", key)
		must(t, err)
		if resp.StatusCode != want || strings.Contains(resp.Header.Get("X-Request-Id"), key) {
			t.Errorf("%s: status %d, want %d", path, resp.StatusCode, want)
		}
	}
	b.stop()
	if strings.Contains(b.logs.String(), key) {
		t.Errorf("the key is in the log: %s", b.logs.String())
	}
}

func TestAppServiceIsOffWithoutAKey(t *testing.T) {
	const off = "the App Service protocol is off: it demands a caller key and none is configured; set caller_key_file, or identity_header_file and restart"
	b := stand(t, t.TempDir(), openListener)
	for _, key := range []string{"", newKeyText()} {
		b.wantIdentity(key, http.StatusForbidden, off)
	}
	b.stop() // and what there is to say is written
	if !strings.Contains(b.logs.String(), off) {
		t.Error("the log does not say so")
	}
	quiet := stand(t, t.TempDir(), openListener+"protocols: {app_service: false}\n")
	quiet.stop()
	if strings.Contains(quiet.logs.String(), "App Service") {
		t.Error("the log speaks of a protocol that is not wanted")
	}
}

// To check a configuration is to write nothing.
func TestIdentityHeaderIsWrittenByServeOnly(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "client-secret"), []byte("s"), 0o600))
	file := filepath.Join(dir, "tokenbroker.yaml")
	must(t, os.WriteFile(file, []byte(strings.ReplaceAll(nowhere+"identity_header_file: 'DIR/header'\n"+ofTLS, "DIR", dir)), 0o600))
	_, err := load(System{Err: os.Stderr}, file, new(logBuffer))
	must(t, err)
	for _, name := range []string{"header", "ca.pem"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s was written", name)
		}
	}
}

func TestPlaceOfAnIdentityHeader(t *testing.T) {
	dir := t.TempDir()
	key := newKeyText()
	at := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, content string, mode fs.FileMode) {
		must(t, os.WriteFile(at(name), []byte(content), 0o600))
		must(t, os.Chmod(at(name), mode))
	}
	write("good", key+"\n", 0o600)
	write("read-only", key+"\n", 0o400)
	write("seen", key+"\n", 0o644)
	write("group", key+"\n", 0o640)
	write("empty", "\n", 0o600)
	write("precious", "precious", 0o600)
	write("two", key+"\n"+newKeyText()+"\n", 0o600)
	write("short", key[:len(key)-2], 0o600)
	write("unprefixed", strings.TrimPrefix(key, keyPrefix), 0o600)
	must(t, os.Mkdir(at("folder"), 0o700))
	must(t, os.Mkdir(at("open"), 0o700))
	must(t, os.Chmod(at("open"), 0o777))
	must(t, os.Symlink(at("good"), at("link")))
	const other = "holds something else than one key that a broker has made; remove it, or name another file"
	for _, tt := range []struct {
		name         string
		kept         bool
		fails, warns string
	}{
		{name: "none"},
		{name: "good", kept: true},
		{name: "read-only", kept: true},
		{name: "seen", warns: "others could read the key"},
		{name: "group", warns: "others could read the key"},
		{name: "empty"},
		{name: "open/header", warns: "others can put another file in the place of this one"},
		{name: "precious", fails: other},
		{name: "two", fails: other},
		{name: "short", fails: other},
		{name: "unprefixed", fails: other},
		{name: "folder", fails: "is there and no regular file; remove it"},
		{name: "link", fails: "is there and no regular file; remove it"},
		{name: "gone/header", fails: "there is no folder"},
		{name: "good/header", fails: "good: not a folder"},
	} {
		if runtime.GOOS == "windows" && tt.warns != "" {
			continue // has no modes
		}
		var log logBuffer
		h, err := openIdentityHeader(at(tt.name), newLogger(&log, config.Log{Format: config.LogJSON}).Logger)
		if tt.fails != "" {
			if err == nil || !strings.Contains(err.Error(), tt.fails) {
				t.Errorf("%s: got %v, want %q", tt.name, err, tt.fails)
			}
			continue
		}
		must(t, err)
		must(t, h.write())
		got := keyIn(t, at(tt.name))
		if (got == key) != tt.kept {
			t.Errorf("%s: kept %v, want %v", tt.name, got == key, tt.kept)
		}
		if who, ok := h.keys.Caller(entra.NewSecret(got)); !ok || who != guard.Local {
			t.Errorf("%s: the key in the file is not the one that is good", tt.name)
		}
		if info, err := os.Stat(at(tt.name)); err != nil || !private(info) {
			t.Errorf("%s: mode %v, %v", tt.name, info.Mode(), err)
		}
		if !strings.Contains(log.String(), tt.warns) || tt.warns == "" && log.String() != "" {
			t.Errorf("%s: logged %q, want %q", tt.name, log.String(), tt.warns)
		}
	}
	if content, _ := os.ReadFile(at("precious")); string(content) != "precious" {
		t.Error("a file that is none of ours was replaced")
	}
}

// Whoever reads meanwhile has the whole of the file of before, and what stands
// behind a link of that name stays as it is.
func TestFileIsReplacedInOneStep(t *testing.T) {
	dir := t.TempDir()
	file, kept := filepath.Join(dir, "file"), filepath.Join(dir, "kept")
	must(t, os.WriteFile(kept, []byte("before"), 0o600))
	for name, link := range map[string]func(string, string) error{"a hard link": os.Link, "a symbolic link": os.Symlink} {
		must(t, link(kept, file))
		must(t, writeWhole(file, []byte("after"), 0o600))
		for path, want := range map[string]string{kept: "before", file: "after"} {
			if content, err := os.ReadFile(path); string(content) != want {
				t.Errorf("%s: %s holds %q, %v", name, path, content, err)
			}
		}
		must(t, os.Remove(file))
	}
}

func TestFileThatCannotBeWrittenIsNamed(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "folder"), 0o700))
	err := writeWhole(filepath.Join(dir, "folder"), nil, 0o600)
	if entra.KindOf(err) != entra.Misconfigured || !strings.Contains(err.Error(), "folder: cannot be written: ") || strings.Contains(err.Error(), ".tokenbroker-") {
		t.Errorf("got %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".tokenbroker-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
