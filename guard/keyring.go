package guard

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"

	"tokenbroker/entra"
)

// KeyFile says that the keys in the file at Path prove Caller.
type KeyFile struct{ Caller, Path string }

// Keyring knows callers by their keys. It holds no key, only SHA-256 sums and
// what little it takes to find a key in a text. It is safe for concurrent use.
type Keyring struct {
	logger *slog.Logger
	good   atomic.Pointer[proofs] // now

	reloading sync.Mutex // held by the one Reload that runs; guards what follows
	files     []heldFile
	faults    []string // of the last reading
}

// proof is a key, by its trace, and the caller that it proves.
type proof struct {
	trace
	caller string
}

type proofs struct {
	all []proof
	known
}

// heldFile is a file and the keys that it had when last it was good.
type heldFile struct {
	KeyFile
	keys []fileKey
}

// OpenKeyring reads the files for the first time; then all of them must be
// good. It reports all faults at once, each beginning with its file's path.
// The logger is for [Keyring.Reload].
func OpenKeyring(logger *slog.Logger, files ...KeyFile) (*Keyring, error) {
	k := &Keyring{logger: logger}
	for _, f := range files {
		k.files = append(k.files, heldFile{KeyFile: f})
	}
	held, faults := readAgain(k.files)
	all, conflicts := proofsOf(held)
	if err := errors.Join(append(faults, conflicts...)...); err != nil {
		return nil, err
	}
	k.files = held
	k.put(all)
	return k, nil
}

// NewKeyring makes a keyring without files, from keys by caller. No two callers
// may have the same key.
func NewKeyring(keys map[string][]entra.Secret) *Keyring {
	var all []proof
	for _, caller := range slices.Sorted(maps.Keys(keys)) {
		for _, key := range keys[caller] {
			if key.IsZero() {
				continue // it would be good where none is shown
			}
			all = append(all, proof{traceOf(key.Reveal()), caller}) //nolint:forbidigo // its trace is all that is kept
		}
	}
	k := new(Keyring)
	k.put(all)
	return k
}

func (k *Keyring) put(all []proof) {
	next := &proofs{all: all, known: known{sums: make(map[[sha256.Size]byte]struct{}, len(all))}}
	for _, p := range all {
		next.add(p.trace)
	}
	k.good.Store(next)
}

// Caller names the caller that a key proves. It takes as long for a good key as
// for any other of its length: neither which one matched shows, nor how much.
func (k *Keyring) Caller(key entra.Secret) (name string, ok bool) {
	return k.good.Load().callerOf(key.Reveal()) //nolint:forbidigo // to be hashed
}

// knows reports whether text, as it stands or percent-decoded, is a good key.
func (k *Keyring) knows(text string) bool {
	good := k.good.Load()
	if good.have(text) {
		return true
	}
	lengths := good.lengths
	if len(lengths) == 0 || len(text) <= lengths[len(lengths)-1] || len(text) > 3*lengths[0] { // %41 is one letter
		return false
	}
	plain, err := url.PathUnescape(text)
	return err == nil && plain != text && good.have(plain)
}

func (p *proofs) callerOf(key string) (name string, ok bool) {
	sum, found := sha256.Sum256([]byte(key)), -1
	for i := range p.all { // all of them, see Keyring.Caller
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(sum[:], p.all[i].sum[:]), i, found)
	}
	if found < 0 {
		return "", false
	}
	return p.all[found].caller, true
}

// Reload reads all files again and reports whether other keys are good now. A
// file that is broken keeps the keys of before; where a key would prove two
// callers everything stays as before. Each fault is logged once, until it is
// mended.
func (k *Keyring) Reload() (changed bool) {
	k.reloading.Lock()
	defer k.reloading.Unlock()
	if len(k.files) == 0 {
		return false // it was made without
	}
	held, faults := readAgain(k.files)
	all, conflicts := proofsOf(held)
	mended := k.report(append(faults, conflicts...))
	if len(conflicts) > 0 {
		return false
	}
	changed = !slices.Equal(all, k.good.Load().all)
	k.files = held
	k.put(all)
	if changed || mended {
		k.logger.Info("caller keys read again", "count", len(all))
	}
	return changed
}

// report logs the faults that the last reading did not have, and reports
// whether it had some and now there are none.
func (k *Keyring) report(faults []error) (mended bool) {
	before := k.faults
	k.faults = nil
	for _, fault := range faults {
		text := fault.Error()
		k.faults = append(k.faults, text)
		if !slices.Contains(before, text) {
			k.logger.Warn("caller keys not read again, those of before stay good", "err", fault)
		}
	}
	return len(before) > 0 && len(faults) == 0
}

// readAgain reads the files. One that is broken keeps the keys that it had.
func readAgain(files []heldFile) (held []heldFile, faults []error) {
	held = slices.Clone(files)
	for i, f := range held {
		keys, err := readKeys(f.Path)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		held[i].keys = keys
	}
	return held, faults
}

// proofsOf lists what the keys of all files prove. A key that proves two
// callers is a conflict, of which it reports one for each file.
func proofsOf(files []heldFile) (all []proof, conflicts []error) {
	type place struct {
		caller, path string
		line         int
	}
	first := map[[sha256.Size]byte]place{}
	for _, f := range files {
		clean := true
		for _, key := range f.keys {
			other, known := first[key.sum]
			switch {
			case !known:
				first[key.sum] = place{f.Caller, f.Path, key.line}
				all = append(all, proof{key.trace, f.Caller})
			case other.caller != f.Caller && clean:
				clean = false
				conflicts = append(conflicts, keyFileError(f.Path, "line %d: the key of another caller, in %s, line %d; make one with: tokenbroker key new", key.line, other.path, other.line))
			}
		}
	}
	return all, conflicts
}
