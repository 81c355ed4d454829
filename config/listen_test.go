package config

import (
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAddress(t *testing.T) {
	tests := []struct {
		text     string
		want     Address
		loopback bool
	}{
		{"localhost:5178", Address{Host: "localhost", Port: 5178}, true},
		{"LocalHost:0", Address{Host: "localhost"}, true},
		{"127.0.0.1:0", Address{Host: "127.0.0.1"}, true},
		{"127.8.9.10:1", Address{Host: "127.8.9.10", Port: 1}, true},
		{"[::1]:5178", Address{Host: "::1", Port: 5178}, true},
		{"[::ffff:127.0.0.1]:1", Address{Host: "::ffff:127.0.0.1", Port: 1}, true},
		{"0.0.0.0:1", Address{Host: "0.0.0.0", Port: 1}, false},
		{"[::]:1", Address{Host: "::", Port: 1}, false},
		{":65535", Address{Port: 65535}, false},
		{"[fe80::1%eth0]:1", Address{Host: "fe80::1%eth0", Port: 1}, false},
		{"localhost.example:1", Address{Host: "localhost.example", Port: 1}, false},
		{"unix:/run/./x.sock", Address{Socket: "/run/x.sock"}, true},
		{"unix:/" + strings.Repeat("x", 102), Address{Socket: "/" + strings.Repeat("x", 102)}, true},
	}
	for _, tt := range tests {
		got, err := parseAddress(tt.text)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		if diff := cmp.Diff(got, tt.want); diff != "" {
			t.Errorf("%s: %s", tt.text, diff)
		}
		if got.Loopback() != tt.loopback {
			t.Errorf("%s: loopback %v", tt.text, got.Loopback())
		}
		if again, err := parseAddress(got.String()); err != nil || again != got {
			t.Errorf("%s is written as %s, and read as %v, %v", tt.text, got, again, err)
		}
	}
}

func TestAddressThatIsNone(t *testing.T) {
	for _, text := range []string{
		"", "localhost", "5178", ":", "localhost:", "localhost:+1", "localhost:-1", "localhost:65536", "localhost:http", "::1:5178",
		"http://localhost:5178", "127.1:1", "1:2:3", "a_b:1", "a..b:1", "*:1", "a b:1", "unix:", "unix:x.sock", "unix:@abstract", "unix:/a\nb",
		"unix:/" + strings.Repeat("x", 103),
	} {
		if got, err := parseAddress(text); err == nil {
			t.Errorf("%q is read as %#v", text, got)
		}
	}
	if got := (Address{}).String(); got != "" {
		t.Errorf("no address is written as %q", got)
	}
}

// TestOverlapIsWhatListenRefuses compares with what the kernel says, where it
// can be asked without binding to more than loopback.
func TestOverlapIsWhatListenRefuses(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	held := Address{Host: "127.0.0.1", Port: uint16(l.Addr().(*net.TCPAddr).Port)}
	for _, host := range []string{"127.0.0.1", "127.0.0.2", "localhost"} {
		other, err := parseAddress(host + ":" + port)
		if err != nil {
			t.Fatal(err)
		}
		second, err := net.Listen("tcp", net.JoinHostPort(other.hosts()[0], port))
		if err == nil {
			second.Close()
		}
		if refused := err != nil; held.overlaps(other) != refused || other.overlaps(held) != refused {
			t.Errorf("%s overlaps %s: %v; the kernel refuses: %v", other, held, held.overlaps(other), err)
		}
	}
}

func TestOverlap(t *testing.T) {
	tests := []struct {
		a, b string
		want bool
	}{
		{"localhost:1", "localhost:1", true},
		{"localhost:1", "[::1]:1", true},
		{"localhost:1", "localhost:2", false},
		{"localhost:0", "localhost:0", false},
		{"127.0.0.1:1", "[::1]:1", false},
		{":1", "127.0.0.1:1", true},
		{"[::]:1", "localhost:1", true},
		{"[::ffff:0.0.0.0]:1", "localhost:1", true},
		{"0.0.0.0:1", "broker.example:1", true},
		{"unix:/a", "unix:/./a", true},
		{"unix:/a", "unix:/b", false},
		{"unix:/a", ":1", false},
	}
	for _, tt := range tests {
		a, _ := parseAddress(tt.a)
		b, _ := parseAddress(tt.b)
		if a.overlaps(b) != tt.want || b.overlaps(a) != tt.want {
			t.Errorf("%s overlaps %s: want %v", tt.a, tt.b, tt.want)
		}
	}
}

func TestModeOfASocketOnWindows(t *testing.T) {
	for goos, want := range map[string][]string{
		"linux":   nil,
		"windows": {"listen.callers[1].mode has no effect on Windows, which has no file modes; the folder's permissions say who may call"},
	} {
		opts := Options{Catalogue: catalogue(t), File: "config.yaml", goos: goos}
		c, err := load(opts, []byte(identity+"listen: {callers: ['unix:/x', {address: 'unix:/y', mode: 0600}]}"))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.Warnings, want); diff != "" {
			t.Errorf("%s: warnings: %s", goos, diff)
		}
	}
}

// TestListenersBeyondLoopback: with the proof and the switch both, they may.
func TestListenersBeyondLoopback(t *testing.T) {
	c := good(t, identity+"caller_key_file: /k\nlisten: {unsafe_non_loopback: true, callers: ['0.0.0.0:5178', 'unix:/x']}")
	want := []Listener{{Address: Address{Host: "0.0.0.0", Port: 5178}}, {Address: Address{Socket: "/x"}, Mode: 0o660}}
	if diff := cmp.Diff(c.Listen.Callers, want); diff != "" {
		t.Error(diff)
	}
}
