package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/zalando/go-keyring"

	"tokenbroker/entra"
)

// keychainPatience is how long a keychain may take to give the key: its user
// may have to answer a prompt.
const keychainPatience = 30 * time.Second

// account names the key within the service's part of the keychain.
const account = "key of the sign-ins"

const fileRemedy = "where there is no keychain, as in a container, set store: {file:, key_file:}"

// OpenKeychain opens the store that the system's keychain has the key of: under
// the service's name, which also names the folder for the file. A keychain
// takes no more than some kilobytes itself.
//
// The keychain is asked when the key is first needed, and again until it has
// given one; so one that is unlocked later serves from then on. The first to
// ask makes the key.
func OpenKeychain(service string) (*Sealed, error) {
	folder, err := stateFolder(runtime.GOOS)
	if err != nil {
		return nil, entra.Errorf(entra.Misconfigured, "store", "no folder of this user for the sign-ins: %w; set store: {file:, key_file:}", err)
	}
	path := filepath.Join(folder, service, "sign-ins")
	k := &keychain{service: service, path: path, get: keyring.Get, set: keyring.Set}
	s := &Sealed{path: path, key: k.key, keyOf: "the keychain", device: system{}}
	if err := makeFolder(filepath.Dir(path)); err != nil {
		return nil, s.fault(err)
	}
	return s, nil
}

// keychain gives the key of the file at path.
type keychain struct {
	service, path string
	get           func(service, account string) (string, error)
	set           func(service, account, key string) error

	mu     sync.Mutex // guards asking
	asking *answer    // the question that is out, or the one that brought the key
}

// answer is what the keychain said. It is set once done is closed.
type answer struct {
	done chan struct{}
	key  entra.Secret
	err  error
}

// key returns the key of the file. Nothing ends a question to a keychain, so
// it is asked aside, one question at a time; who has no patience leaves.
func (k *keychain) key(ctx context.Context) (entra.Secret, error) {
	k.mu.Lock()
	a := k.asking
	if a == nil {
		a = &answer{done: make(chan struct{})}
		k.asking = a
		go k.ask(context.WithoutCancel(ctx), a)
	}
	k.mu.Unlock()

	patience := time.NewTimer(keychainPatience)
	defer patience.Stop()
	select {
	case <-a.done:
		return a.key, a.err
	case <-ctx.Done():
		return entra.Secret{}, entra.AsError(ctx.Err())
	case <-patience.C:
		return entra.Secret{}, entra.Errorf(entra.Unavailable, "store", "the keychain has not answered in %v: unlock it or answer its prompt; %s", keychainPatience, fileRemedy)
	}
}

// ask gets the answer. After a fault the next who needs the key asks again.
func (k *keychain) ask(ctx context.Context, a *answer) {
	defer close(a.done)
	a.key, a.err = k.fetch(ctx)
	if a.err != nil {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.asking = nil
	}
}

// fetch gets the key, or makes it where there is none.
func (k *keychain) fetch(ctx context.Context) (key entra.Secret, err error) {
	defer func() { // go-keyring does when the message bus goes away under it
		if recover() != nil {
			err = k.fault(errors.New("it broke off"))
		}
	}()
	key, err = k.held()
	if errors.Is(err, keyring.ErrNotFound) {
		key, err = k.make(ctx)
	}
	if err != nil && entra.KindOf(err) == entra.Internal {
		err = k.fault(err)
	}
	return key, err
}

// held returns the key that the keychain has.
func (k *keychain) held() (entra.Secret, error) {
	text, err := k.get(k.service, account)
	if err != nil {
		return entra.Secret{}, err
	}
	key, fault := parseKey([]byte(text))
	if fault != "" {
		return key, fmt.Errorf("what it has as %q of %q is no key of ours", account, k.service)
	}
	return key, nil
}

// make puts a new key into the keychain, unless another process has done so
// meanwhile, and never beside a file that would not open with it.
func (k *keychain) make(ctx context.Context) (entra.Secret, error) {
	release, err := lock(ctx, k.path, exclusive)
	if err != nil {
		return entra.Secret{}, (&Sealed{path: k.path}).fault(err)
	}
	defer release()
	if key, err := k.held(); !errors.Is(err, keyring.ErrNotFound) {
		return key, err
	}
	if _, err := os.Lstat(k.path); err == nil {
		return entra.Secret{}, fileError(entra.Misconfigured, k.path, "its key is gone from the keychain: put that back, or move the file away and sign in again")
	}
	if err := k.set(k.service, account, newKey()); err != nil {
		return entra.Secret{}, err
	}
	return k.held() // it may have forgotten at once
}

// fault says why the keychain gave no key, as far as it has said.
func (k *keychain) fault(err error) error {
	if isLocked(err) {
		return entra.Errorf(entra.Unavailable, "store", "the keychain is locked: unlock it (%w); %s", err, fileRemedy)
	}
	return entra.Errorf(entra.Misconfigured, "store", "the keychain gives no key for the sign-ins: %w; %s", err, fileRemedy)
}

// isLocked knows the words of go-keyring's Linux half; of the Secret Service;
// and on macOS the last eight bits of errSecInteractionNotAllowed,
// errSecAuthFailed and errSecUserCanceled (-25308, -25293, -128).
func isLocked(err error) bool {
	text := err.Error()
	for _, sign := range []string{"failed to unlock", "is locked", "IsLocked", "exit status 36", "exit status 51", "exit status 128"} {
		if strings.Contains(text, sign) {
			return true
		}
	}
	return false
}
