package proxy

import "sync"

// bufferSize is the size of the buffers that answers are copied with, in bytes.
const bufferSize = 32 << 10

// bufferPool lends them.
type bufferPool struct{ pool sync.Pool }

// Get lends a buffer.
func (p *bufferPool) Get() []byte {
	if b, ok := p.pool.Get().(*[bufferSize]byte); ok {
		return b[:]
	}
	return make([]byte, bufferSize)
}

// Put takes it back.
func (p *bufferPool) Put(b []byte) { p.pool.Put((*[bufferSize]byte)(b)) }
