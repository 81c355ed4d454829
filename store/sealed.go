package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"tokenbroker/entra"
)

// maxFile is the largest file that is written or read, in bytes. A sign-in
// takes a few kilobytes, that of a user with many tenants some hundred.
const maxFile = 16 << 20

// Sealed is a Store in a file that only a key opens. All names are in the one
// file: the configuration names a file; one key fits all of it or none; and
// what is sealed as a whole cannot be swapped or put back piece by piece.
//
// Beside the file lie FILE.lock, which is empty and has to stay, and for the
// moment of a write FILE.new.
type Sealed struct {
	path   string
	key    func(context.Context) (entra.Secret, error)
	keyOf  string // where the key is, for messages
	device disk
}

// OpenFile opens the store in the file at path, sealed with the key in keyFile;
// it makes the file's folder where there is none. It fails where the key file
// is no good, and where a file is there that its key does not open.
//
// The key is the key file's content as it stands: a line of text, such as
// "tokenbroker key new" prints, of at least 43 characters, without its end; or
// at least 32 bytes of no text. It is read here only.
func OpenFile(ctx context.Context, path, keyFile string) (*Sealed, error) {
	key, err := readKey(keyFile)
	if err != nil {
		return nil, err
	}
	s := &Sealed{
		path:   path,
		key:    func(context.Context) (entra.Secret, error) { return key, nil },
		keyOf:  keyFile,
		device: system{},
	}
	if err := makeFolder(filepath.Dir(path)); err != nil {
		return nil, s.fault(err)
	}
	if _, err := s.Load(ctx, ""); err != nil {
		return nil, err
	}
	return s, nil
}

// Load returns the blob that the file holds under the name.
func (s *Sealed) Load(ctx context.Context, name string) (entra.Secret, error) {
	key, err := s.key(ctx)
	if err != nil {
		return entra.Secret{}, err
	}
	// Windows refuses to replace a file that somebody reads.
	release, err := lock(ctx, s.path, shared)
	if err != nil {
		return entra.Secret{}, s.fault(err)
	}
	defer release()
	held, err := s.read(key)
	if err != nil {
		return entra.Secret{}, err
	}
	defer held.wipe()
	return entra.NewSecret(string(held[entryOf(name)])), nil
}

// Save writes the file anew with the blob under the name.
func (s *Sealed) Save(ctx context.Context, name string, blob entra.Secret) error {
	return s.Update(ctx, name, func(entra.Secret) entra.Secret { return blob })
}

// Delete writes the file anew without the name.
func (s *Sealed) Delete(ctx context.Context, name string) error {
	return s.Save(ctx, name, entra.Secret{})
}

// Update reads, edits and writes the file while nobody else does. It writes
// also where the edit has changed nothing: the write of before may have failed
// when all but its last step was done.
func (s *Sealed) Update(ctx context.Context, name string, edit func(held entra.Secret) entra.Secret) error {
	key, err := s.key(ctx)
	if err != nil {
		return err
	}
	release, err := lock(ctx, s.path, exclusive)
	if err != nil {
		return s.fault(err)
	}
	defer release()
	held, err := s.read(key)
	if err != nil {
		return err
	}
	defer held.wipe()
	entry := entryOf(name)
	if blob := edit(entra.NewSecret(string(held[entry]))); blob.IsZero() {
		delete(held, entry)
	} else {
		held[entry] = []byte(blob.Reveal()) //nolint:forbidigo // to be sealed
	}
	return s.write(key, held)
}

// entries are the blobs by entryOf their names.
type entries map[string][]byte

// entryOf makes of any string one that JSON keeps as it is.
func entryOf(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])
}

func (e entries) wipe() {
	for _, blob := range e {
		clear(blob)
	}
}

// read opens the file; where there is none there are no entries.
func (s *Sealed) read(key entra.Secret) (entries, error) {
	held := entries{}
	switch info, err := os.Lstat(s.path); {
	case errors.Is(err, fs.ErrNotExist):
		return held, nil
	case err != nil:
		return nil, s.fault(err)
	case !info.Mode().IsRegular():
		return nil, s.refuse("not a regular file, nor may it be a link: name another")
	case info.Size() > maxFile:
		return nil, s.refuse("larger than %d MiB: name another, or move it away and sign in again", maxFile>>20)
	}
	sealed, err := os.ReadFile(s.path)
	if err != nil {
		return nil, s.fault(err)
	}
	plain, err := unseal(key, sealed)
	if err == nil {
		defer clear(plain)
		err = json.Unmarshal(plain, &held)
	}
	switch {
	case err == nil:
		return held, nil
	case errors.Is(err, errStrange):
		return nil, s.refuse("not a file of sign-ins: name another")
	case errors.Is(err, errNewer):
		return nil, s.refuse("written by another version of tokenbroker: use that one, or move the file away and sign in again")
	case errors.Is(err, errKey):
		return nil, s.refuse("sealed with another key than that of %s, and left as it is: put its own key back, or move the file away and sign in again", s.keyOf)
	default:
		return nil, s.refuse("damaged or changed by somebody, and left as it is: put a copy back, or move the file away and sign in again")
	}
}

func (s *Sealed) write(key entra.Secret, held entries) error {
	plain, err := json.Marshal(held)
	if err != nil {
		return s.fault(err)
	}
	defer clear(plain)
	sealed, err := seal(key, plain)
	switch {
	case err != nil:
		return s.fault(err)
	case len(sealed) > maxFile:
		return s.refuse("not written: more than %d MiB of sign-ins; log some out", maxFile>>20)
	}
	if err := replace(s.device, s.path, sealed); err != nil {
		return s.fault(err)
	}
	return nil
}

func (s *Sealed) refuse(format string, args ...any) error {
	return fileError(entra.Misconfigured, s.path, format, args...)
}

// fault is what the system says about the file, or that its lock was not had.
func (s *Sealed) fault(err error) error {
	switch kind := entra.KindOf(err); {
	case errors.Is(err, errHeld):
		return fileError(entra.Unavailable, s.path, "another process has had %s locked for %v: end it if it hangs", lockOf(s.path), lockPatience)
	case kind != entra.Internal:
		return fileError(kind, s.path, "%w", err)
	}
	return fileError(entra.Misconfigured, s.path, "sign-ins cannot be kept here: %w", err)
}

func fileError(kind entra.Kind, path, format string, args ...any) error {
	return entra.Errorf(kind, "store", "%s: "+format, append([]any{path}, args...)...)
}
