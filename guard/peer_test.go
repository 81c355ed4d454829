package guard_test

import (
	"context"
	"math"
	"net"
	"net/http"
	"os"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/guard"
)

// connect returns our end of a connection that somebody made to us.
func connect(t *testing.T, network, address string) net.Conn {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	theirs, err := net.Dial(network, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = theirs.Close() })
	ours, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ours.Close() })
	return ours
}

func TestPeerOfAUnixSocketIsAProcess(t *testing.T) {
	if got := runtime.GOOS == "linux"; got != guard.TellsUID {
		t.Errorf("on %s: TellsUID is %v", runtime.GOOS, guard.TellsUID)
	}
	var want *guard.Peer
	if guard.TellsUID {
		want = &guard.Peer{UID: os.Getuid(), PID: os.Getpid()}
	}
	socket := connect(t, "unix", t.TempDir()+"/s")
	if diff := cmp.Diff(want, guard.PeerOf(socket)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// A wrapper is not looked through: whoever makes one asks before.
	if got := guard.PeerOf(struct{ net.Conn }{socket}); got != nil {
		t.Errorf("behind a wrapper: got %+v, want nobody", got)
	}
	_ = socket.Close()
	if got := guard.PeerOf(socket); got != nil {
		t.Errorf("closed: got %+v, want nobody", got)
	}
}

func TestNothingButAUnixSocketHasAPeer(t *testing.T) {
	pipe, other := net.Pipe()
	defer pipe.Close()
	defer other.Close()
	for name, c := range map[string]net.Conn{
		"tcp": connect(t, "tcp4", "127.0.0.1:0"), "pipe": pipe, "none": nil, "zero": new(net.UnixConn),
	} {
		if got := guard.PeerOf(c); got != nil {
			t.Errorf("%s: got %+v, want nobody", name, got)
		}
	}
}

// visit makes r come by Unix socket, from a process of uid; nil: who knows.
func visit(r *http.Request, peer *guard.Peer) *http.Request {
	ctx := context.WithValue(r.Context(), http.LocalAddrContextKey, &net.UnixAddr{Net: "unix", Name: "/s"})
	r = r.WithContext(guard.WithPeer(ctx, peer))
	r.RemoteAddr = "@"
	return r
}

func TestAdmittedCallerKeepsItsPeer(t *testing.T) {
	peer := &guard.Peer{UID: 1000, PID: 4}
	for _, tt := range []struct {
		cfg     guard.Config
		headers http.Header
		keysOf  guard.KeysOf
		want    guard.Principal
	}{
		{guard.Config{}, nil, guard.HeaderKeys, guard.Principal{Name: guard.Local, Via: "peer", Peer: peer}},
		{guard.Config{Keys: keys(keyA)}, http.Header{"X-Broker-Key": {keyA}}, guard.HeaderKeys, guard.Principal{Name: guard.Local, Via: "key", Peer: peer}},
		{guard.Config{UIDs: map[int]string{1000: "alpha"}}, nil, guard.HeaderKeys, guard.Principal{Name: "alpha", Via: "uid", Peer: peer}},
		{guard.Config{Anonymous: true}, nil, nil, guard.Principal{Name: guard.Anonymous, Via: "none", Peer: peer}},
	} {
		got, err := guard.New(tt.cfg).Admit(visit(request(t, tt.headers), peer), tt.keysOf)
		if err != nil {
			t.Errorf("%s: %v", tt.want.Via, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.want.Via, diff)
		}
	}
}

// The whole way: the kernel says who it is, and the guard believes nobody else.
func TestUIDProvesOverARealSocket(t *testing.T) {
	cfg := guard.Config{
		UIDs: map[int]string{os.Getuid(): "alpha", os.Getuid() + 1: "beta"},
		Keys: named("alpha", keyA, "beta", keyB),
	}
	want := map[string]string{"": "alpha uid", keyA: "alpha key", keyB: "unadmitted guard.caller", keyC: "unadmitted guard.key"}
	if !guard.TellsUID {
		want = map[string]string{"": "unadmitted guard.key", keyA: "alpha key", keyB: "beta key", keyC: "unadmitted guard.key"}
	}
	socket, port := open(t, "unix", t.TempDir()+"/s", cfg), open(t, "tcp4", "127.0.0.1:0", cfg)
	for key, want := range want {
		if got := socket.get(t, "localhost", "X-Broker-Key: "+key); got != want {
			t.Errorf("by socket, key %q: got %q, want %q", key, got, want)
		}
	}
	if got, want := port.get(t, "localhost"), "unadmitted guard.key"; got != want {
		t.Errorf("by port: got %q, want %q", got, want)
	}
	if got := socket.knock(t, "GET "+keyless+" HTTP/1.1", "Host: x"); guard.TellsUID && got != "alpha uid" {
		t.Errorf("by socket, without a way to show a key: got %q", got)
	}
}

// Neither the overflow uid nor -1 is a user, whatever the configuration says,
// and a guard whose only rules name them is not an open one.
func TestUIDOfNobodyMatchesNoRule(t *testing.T) {
	none := uint32(math.MaxUint32) // -1, as the kernel writes it
	for _, uid := range []int{65534, -1, -2, int(none)} {
		g := guard.New(guard.Config{UIDs: map[int]string{uid: "alpha"}})
		if got, want := verdict(g, visit(request(t, nil), &guard.Peer{UID: uid}), guard.HeaderKeys), "unadmitted guard.caller"; got != want {
			t.Errorf("uid %d: got %q, want %q", uid, got, want)
		}
	}
	for _, uid := range []int{0, 1, 65533, 65535} {
		g := guard.New(guard.Config{UIDs: map[int]string{uid: "alpha"}})
		if got, want := verdict(g, visit(request(t, nil), &guard.Peer{UID: uid}), guard.HeaderKeys), "alpha uid"; got != want {
			t.Errorf("uid %d: got %q, want %q", uid, got, want)
		}
	}
}
