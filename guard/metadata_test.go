package guard_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"tokenbroker/guard"
)

func TestMetadataAddressAnswersThisMachineOnly(t *testing.T) {
	const imds = "169.254.169.254"
	keyed := guard.Config{Keys: keys(keyA)}
	for _, tt := range []struct {
		name, local, peer, host, key string
		cfg                          guard.Config
		want                         string
	}{
		{name: "from itself", local: imds, peer: imds + ":4", host: imds, want: admitted},
		{name: "from itself, mapped", local: "::ffff:" + imds, peer: "[::ffff:" + imds + "]:4", host: imds, want: admitted},
		{name: "with its port", local: imds, peer: imds + ":4", host: imds + ":80", want: admitted},
		{name: "from loopback", local: imds, peer: "127.0.0.1:4", host: imds, want: admitted},
		{name: "rebound", local: imds, peer: imds + ":4", host: "evil.example", want: "denied guard.host"},
		{name: "from the link", local: imds, peer: "169.254.7.7:4", host: imds, want: "denied guard.peer"},
		{name: "from afar", local: imds, peer: "192.0.2.7:4", host: imds, want: "denied guard.peer"},
		{name: "from afar with a key", local: imds, peer: "192.0.2.7:4", host: imds, key: keyA, cfg: keyed, want: "denied guard.peer"},
		{name: "from itself with a key", local: imds, peer: imds + ":4", host: imds, key: keyA, cfg: keyed, want: "local key"},
		{name: "from itself without one", local: imds, peer: imds + ":4", host: imds, cfg: keyed, want: "unadmitted guard.key"},
		// Of no other address does it say anything: some forwarders of ports
		// connect from the address that they connect to.
		{name: "another address, from itself", local: "10.0.2.100", peer: "10.0.2.100:4", host: "10.0.2.100", want: "denied guard.peer"},
		{name: "to loopback from the metadata address", local: "127.0.0.1", peer: imds + ":4", host: "localhost", want: "denied guard.peer"},
		{name: "no address", local: imds, peer: "@", host: imds, want: "denied guard.peer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			local := &net.TCPAddr{IP: net.ParseIP(tt.local), Port: 80}
			r := httptest.NewRequestWithContext(context.WithValue(t.Context(), http.LocalAddrContextKey, local), http.MethodGet, "/", nil)
			r.RemoteAddr, r.Host = tt.peer, tt.host
			if tt.key != "" {
				r.Header.Set("X-Broker-Key", tt.key)
			}
			if got := verdict(guard.New(tt.cfg), r, guard.HeaderKeys); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// Who comes to it without a way to show a key is anonymous, from this machine.
func TestMetadataAddressAdmitsAnonymous(t *testing.T) {
	g := guard.New(guard.Config{Keys: keys(keyA), Anonymous: true})
	local := &net.TCPAddr{IP: net.IPv4(169, 254, 169, 254), Port: 80}
	for peer, want := range map[string]string{"169.254.169.254:4": "anonymous none", "192.0.2.7:4": "denied guard.peer"} {
		r := httptest.NewRequestWithContext(context.WithValue(t.Context(), http.LocalAddrContextKey, local), http.MethodGet, "/", nil)
		r.RemoteAddr, r.Host = peer, "169.254.169.254"
		if got := verdict(g, r, nil); got != want {
			t.Errorf("from %s: got %q, want %q", peer, got, want)
		}
	}
}

func TestIsMetadata(t *testing.T) {
	for text, want := range map[string]bool{
		"169.254.169.254": true, "::ffff:169.254.169.254": true,
		"169.254.169.253": false, "127.0.0.1": false, "fd00:ec2::254": false, "fe80::a9fe:a9fe": false,
	} {
		if got := guard.IsMetadata(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	if guard.IsMetadata(netip.Addr{}) {
		t.Error("no address is the metadata address")
	}
}
