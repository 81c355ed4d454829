// Package store keeps the sign-ins of users between runs: for each identity
// one blob with its refresh token, opaque here.
//
// [Memory] forgets them with the process. [OpenFile] and [OpenKeychain] keep
// them in a file that is sealed with a key, so that the file alone tells
// nobody anything but its size, and nothing in it can be changed, swapped or
// dropped. A key that is wrong and a file that is damaged are refused, and the
// file stays as it is. Somebody who can write the file can still put a whole
// older one back, or remove it: no key helps against that.
//
// Several processes may use one file at once. What each saves of different
// names is kept; of one name the last save counts, and what is saved only as
// long as something else is there takes an Update.
package store

import (
	"context"
	"sync"

	"tokenbroker/entra"
)

// Store keeps blobs by name. The name of an identity's sign-in is its id, any
// string can be one. A Store is safe for concurrent use.
type Store interface {
	// Load returns the blob that was saved last; zero where there is none.
	Load(ctx context.Context, name string) (entra.Secret, error)
	// Save has put the blob where it outlives a crash when it returns nil. Where
	// it fails, what was kept before or the blob is kept, one of them whole. To
	// save a zero blob is to delete.
	Save(ctx context.Context, name string, blob entra.Secret) error
	// Delete forgets the blob; one that is not there is no fault.
	Delete(ctx context.Context, name string) error
	// Update saves what edit makes of the blob, zero where there is none, while
	// nobody else changes it. Edit must not use the Store.
	Update(ctx context.Context, name string, edit func(held entra.Secret) entra.Secret) error
}

// Memory is a Store that ends with the process. Its zero value is empty.
type Memory struct {
	mu   sync.Mutex // guards held
	held map[string]entra.Secret
}

// NewMemory makes an empty one.
func NewMemory() *Memory { return new(Memory) }

// Load returns what is held under the name.
func (m *Memory) Load(_ context.Context, name string) (entra.Secret, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.held[name], nil
}

// Save holds the blob under the name.
func (m *Memory) Save(ctx context.Context, name string, blob entra.Secret) error {
	return m.Update(ctx, name, func(entra.Secret) entra.Secret { return blob })
}

// Delete forgets what is held under the name.
func (m *Memory) Delete(ctx context.Context, name string) error {
	return m.Save(ctx, name, entra.Secret{})
}

// Update holds what edit makes of what is held under the name.
func (m *Memory) Update(_ context.Context, name string, edit func(held entra.Secret) entra.Secret) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	blob := edit(m.held[name])
	switch {
	case blob.IsZero():
		delete(m.held, name)
	case m.held == nil:
		m.held = map[string]entra.Secret{name: blob}
	default:
		m.held[name] = blob
	}
	return nil
}
