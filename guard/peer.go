package guard

import (
	"context"
	"math"
)

// Peer is the process at the other end of a Unix socket, as it was when it
// connected: the kernel says so, not the process.
type Peer struct {
	UID int
	PID int // 0: in a PID namespace that ours does not see
}

type peerKey struct{}

// WithPeer notes whose connection it is; nil: not known.
func WithPeer(ctx context.Context, p *Peer) context.Context {
	return context.WithValue(ctx, peerKey{}, p)
}

// PeerIn returns what [WithPeer] noted; nil: nothing.
func PeerIn(ctx context.Context) *Peer {
	p, _ := ctx.Value(peerKey{}).(*Peer)
	return p
}

// overflowUID is what Linux shows for every user that our user namespace does
// not know (/proc/sys/kernel/overflowuid).
const overflowUID = 65534

// tellsUser reports whether a uid stands for one user: not the overflow uid,
// nor -1, which the kernel has for none.
func tellsUser(uid int) bool {
	return uid >= 0 && uid != overflowUID && int64(uid) < math.MaxUint32
}
