package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zalando/go-keyring"

	"tokenbroker/entra"
)

// go-keyring has one provider for the process, so no test of it is parallel.
func TestKeychainHoldsTheKeyOnly(t *testing.T) {
	keyring.MockInit()
	state := t.TempDir()
	for _, variable := range []string{"HOME", "XDG_STATE_HOME", "LocalAppData"} {
		t.Setenv(variable, state)
	}
	s, err := OpenKeychain("tokenbroker")
	if err != nil {
		t.Fatal(err)
	}
	save(t, s, "user", canary)
	key, err := keyring.Get("tokenbroker", account)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(key), 43; got != want {
		t.Errorf("a key of %d characters in the keychain, want %d", got, want)
	}
	again, err := OpenKeychain("tokenbroker")
	if err != nil {
		t.Fatal(err)
	}
	if got := load(t, again, "user"); got != canary {
		t.Errorf("got %q, want what the first has saved", got)
	}
}

func TestNoKeychain(t *testing.T) {
	for _, fault := range []error{
		keyring.ErrUnsupportedPlatform,
		errors.New(`exec: "dbus-launch": executable file not found in $PATH`),
		errors.New("The name org.freedesktop.secrets was not provided by any .service files"),
	} {
		keyring.MockInitWithError(fault)
		t.Setenv("XDG_STATE_HOME", t.TempDir())
		t.Setenv("HOME", t.TempDir())
		t.Setenv("LocalAppData", t.TempDir())
		s, err := OpenKeychain("tokenbroker")
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range every(t.Context(), s) {
			refused(t, err, entra.Misconfigured, "the keychain gives no key", fault.Error(), "store: {file:, key_file:}")
		}
	}
}

func TestNoFolderForTheKeychainsFile(t *testing.T) {
	for _, variable := range []string{"HOME", "XDG_STATE_HOME", "LocalAppData"} {
		t.Setenv(variable, "")
	}
	_, err := OpenKeychain("tokenbroker")
	refused(t, err, entra.Misconfigured, "no folder", "store: {file:, key_file:}")

	for _, variable := range []string{"HOME", "XDG_STATE_HOME", "LocalAppData"} {
		t.Setenv(variable, writeKey(t, goodKey))
	}
	_, err = OpenKeychain("tokenbroker")
	refused(t, err, entra.Misconfigured, "cannot be kept here")
}

func TestStateFolder(t *testing.T) {
	if filepath.Separator != '/' {
		return // the table is of Unix paths
	}
	t.Setenv("HOME", "/home/u")
	for given, want := range map[string]string{
		"":         "/home/u/.local/state",
		"relative": "/home/u/.local/state",
		"/state":   "/state",
	} {
		t.Setenv("XDG_STATE_HOME", given)
		if got, err := stateFolder("linux"); got != want || err != nil {
			t.Errorf("XDG_STATE_HOME=%q: got %q, %v, want %q", given, got, err, want)
		}
	}
	for goos, ask := range map[string]func() (string, error){"darwin": os.UserConfigDir, "windows": os.UserCacheDir} {
		want, _ := ask()
		if got, err := stateFolder(goos); got != want || err != nil {
			t.Errorf("%s: got %q, %v, want %q", goos, got, err, want)
		}
	}
}

func TestLockedKeychainIsAskedAgain(t *testing.T) {
	for _, text := range []string{
		"failed to unlock correct collection '/org/freedesktop/secrets/aliases/default'",
		"org.freedesktop.Secret.Error.IsLocked", "exit status 36", "exit status 51", "exit status 128",
	} {
		chain := &fakeKeychain{fault: errors.New(text)}
		s := chain.store(t)
		_, err := s.Load(t.Context(), "user")
		refused(t, err, entra.Unavailable, "is locked: unlock it", text, "store: {file:, key_file:}")
		chain.fault = nil
		save(t, s, "user", canary)
		chain.fault = errors.New(text)
		if got := load(t, s, "user"); got != canary {
			t.Errorf("got %q, want what the key opens that it has given", got)
		}
	}
}

func TestKeychainThatHangsIsWaitedForOnce(t *testing.T) {
	chain := &fakeKeychain{}
	s := chain.store(t)
	synctest.Test(t, func(t *testing.T) {
		chain.hang = make(chan struct{})
		start := time.Now()
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				_, err := s.Load(t.Context(), "user")
				refused(t, err, entra.Unavailable, "not answered in 30s", "store: {file:, key_file:}")
			})
		}
		all.Wait()
		if got := time.Since(start); got != keychainPatience {
			t.Errorf("took %v, want %v", got, keychainPatience)
		}
		gone, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		_, err := s.Load(gone, "user")
		refused(t, err, entra.Timeout)
		if got := chain.asked.Load(); got != 1 {
			t.Errorf("asked %d times while one question was out", got)
		}
		close(chain.hang) // somebody has answered the prompt
		synctest.Wait()
		save(t, s, "user", canary)
	})
}

func TestKeyIsMadeOnce(t *testing.T) {
	chain := &fakeKeychain{}
	first := chain.store(t)
	save(t, first, "user", canary)
	second := chain.over(first.path)
	if got := load(t, second, "user"); got != canary {
		t.Errorf("got %q from the second handle", got)
	}

	// Between the question and the lock another process has made it.
	chain = &fakeKeychain{}
	chain.afterFirst = func() { chain.key = goodKey }
	s := chain.store(t)
	save(t, s, "user", canary)
	if chain.key != goodKey {
		t.Error("the other's key was overwritten")
	}
}

func TestKeychainThatHasLostTheKeyGetsNoOther(t *testing.T) {
	chain := &fakeKeychain{}
	path := func() string {
		s := chain.store(t)
		save(t, s, "user", canary)
		return s.path
	}()
	before, key := content(t, path), chain.key
	chain.key = ""
	for _, err := range every(t.Context(), chain.over(path)) {
		refused(t, err, entra.Misconfigured, path, "its key is gone from the keychain")
	}
	if chain.key != "" {
		t.Error("another key was made")
	}
	chain.key = otherKey
	for _, err := range every(t.Context(), chain.over(path)) {
		refused(t, err, entra.Misconfigured, path, "another key than that of the keychain")
	}
	same(t, path, before)
	chain.key = key
	if got := load(t, chain.over(path), "user"); got != canary {
		t.Errorf("with the key back: got %q", got)
	}
}

func TestFaultyKeychains(t *testing.T) {
	for name, test := range map[string]struct {
		chain *fakeKeychain
		words string
	}{
		"forgets":          {&fakeKeychain{forgets: true}, "not found"},
		"refuses to write": {&fakeKeychain{setFault: errors.New("read only")}, "read only"},
		"another's entry":  {&fakeKeychain{key: canary}, "no key of ours"},
		"breaks off":       {&fakeKeychain{afterFirst: func() { panic("a nil signal, " + canary) }}, "it broke off"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := test.chain.store(t).Load(t.Context(), "user")
			refused(t, err, entra.Misconfigured, test.words, "store: {file:, key_file:}")
		})
	}
	t.Run("its file's folder is gone", func(t *testing.T) {
		s := new(fakeKeychain).store(t)
		if err := os.RemoveAll(filepath.Dir(s.path)); err != nil {
			t.Fatal(err)
		}
		_, err := s.Load(t.Context(), "user")
		refused(t, err, entra.Misconfigured, s.path, "cannot be kept here")
	})
}

// fakeKeychain holds one key and can be told to fail.
type fakeKeychain struct {
	key             string
	fault, setFault error
	forgets         bool
	hang            chan struct{} // it answers when this is closed
	afterFirst      func()        // runs when the first question is answered
	asked           atomic.Int32
}

func (f *fakeKeychain) get(service, name string) (string, error) {
	question := f.asked.Add(1)
	if f.hang != nil {
		<-f.hang
	}
	key, fault := f.key, f.fault
	if service != "test" || name != account {
		fault = fmt.Errorf("asked for %q of %q", name, service)
	}
	if question == 1 && f.afterFirst != nil {
		f.afterFirst()
	}
	if fault == nil && key == "" {
		fault = keyring.ErrNotFound
	}
	return key, fault
}

func (f *fakeKeychain) set(_, _, key string) error {
	if !f.forgets && f.setFault == nil {
		f.key = key
	}
	return f.setFault
}

// store is one in a new folder, over this keychain.
func (f *fakeKeychain) store(t *testing.T) *Sealed {
	t.Helper()
	return f.over(filepath.Join(t.TempDir(), "sign-ins"))
}

func (f *fakeKeychain) over(path string) *Sealed {
	k := &keychain{service: "test", path: path, get: f.get, set: f.set}
	return &Sealed{path: path, key: k.key, keyOf: "the keychain", device: system{}}
}
