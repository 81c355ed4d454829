package emulator

import (
	"context"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"

	"tokenbroker/entra"
)

// Network joins servers and clients in memory, by host name. Everything it
// waits with is known to testing/synctest, so that time advances in a bubble
// while its connections idle; make the Network inside. All methods are safe
// for concurrent use.
type Network struct {
	mu    sync.Mutex
	hosts map[string]*listener
	down  map[string]bool
	conns map[*conn]string // both ends of every open connection, and the host that was dialed
}

// NewNetwork returns a network without hosts.
func NewNetwork() *Network {
	return &Network{hosts: map[string]*listener{}, down: map[string]bool{}, conns: map[*conn]string{}}
}

// Listen makes the network reach the host, at every port. The name is free
// again when the listener is closed.
func (n *Network) Listen(host string) (net.Listener, error) {
	host = strings.ToLower(host)
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, taken := n.hosts[host]; taken {
		return nil, entra.Errorf(entra.Invalid, "emulator.listen", "host %s: somebody listens there already", entra.Quote(host))
	}
	l := &listener{network: n, host: host, incoming: make(chan *conn), closed: make(chan struct{})}
	n.hosts[host] = l
	return l, nil
}

// DialContext connects to a host of the network; it fits
// [net/http.Transport]. A host that nobody listens on fails as an unknown name
// does, one that is down refuses.
func (n *Network) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: address(addr), Err: err}
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fail(err)
	}
	host = strings.ToLower(host)
	l, client, server := n.connect(host)
	switch {
	case l == nil:
		return fail(&net.DNSError{Err: "no such host", Name: host, IsNotFound: true})
	case client == nil:
		return fail(refused())
	}
	select {
	case l.incoming <- server:
		return client, nil
	case <-l.closed:
		err = refused()
	case <-ctx.Done():
		err = ctx.Err()
	}
	_ = client.Close()
	_ = server.Close()
	return fail(err)
}

// connect makes the two ends of a connection to the host; without a listener
// there is no such host, without ends it is down.
func (n *Network) connect(host string) (l *listener, client, server *conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l = n.hosts[host]
	if l == nil || n.down[host] {
		return l, nil, nil
	}
	client, server = newConns(address("client"), l.Addr(), n.forget)
	n.conns[client], n.conns[server] = host, host
	return l, client, server
}

// SetDown makes a host unreachable, or reachable again: connections to it are
// refused, and those that were open are cut.
func (n *Network) SetDown(host string, down bool) {
	host = strings.ToLower(host)
	n.mu.Lock()
	n.down[host] = down
	var cut []*conn
	for c, at := range n.conns {
		if down && at == host {
			cut = append(cut, c)
		}
	}
	n.mu.Unlock()
	for _, c := range cut {
		_ = c.Close()
	}
}

func (n *Network) forget(c *conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.conns, c)
}

func refused() error { return os.NewSyscallError("connect", syscall.ECONNREFUSED) }

// listener is a host's door.
type listener struct {
	network  *Network
	host     string
	incoming chan *conn
	closed   chan struct{}
}

// Accept waits for a client.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, &net.OpError{Op: "accept", Net: "memory", Addr: l.Addr(), Err: net.ErrClosed}
	case c := <-l.incoming:
		return c, nil
	}
}

// Close takes the host off the network. Connections that were accepted stay.
func (l *listener) Close() error {
	l.network.mu.Lock()
	defer l.network.mu.Unlock()
	if l.network.hosts[l.host] != l {
		return nil
	}
	delete(l.network.hosts, l.host)
	close(l.closed)
	return nil
}

// Addr returns the host, with the port of https.
func (l *listener) Addr() net.Addr { return address(net.JoinHostPort(l.host, "443")) }

// address is a host and port of a network in memory.
type address string

// Network says that no system network is meant.
func (address) Network() string { return "memory" }

// String returns the host and port.
func (a address) String() string { return string(a) }
