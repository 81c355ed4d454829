package config

import (
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"tokenbroker/entra"
	"tokenbroker/guard"
	"tokenbroker/route"
)

// maxSocketPath bounds the path of a Unix socket, in bytes: sun_path has 104
// on macOS and 108 on Linux, with a zero at the end.
const maxSocketPath = 103

// defaultMode is the file mode of a Unix socket: its owner and its group.
const defaultMode = 0o660

// Address is where to listen: a Unix socket, or a host and a port. The zero
// value is none.
type Address struct {
	Socket string // the path of a Unix socket; empty: it is host and port
	Host   string // a name or an IP address, in lower case; empty: every address of the machine
	Port   uint16 // 0: any free one
}

// parseAddress accepts unix:/path and host:port.
func parseAddress(text string) (Address, error) {
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		return parseSocket(text, path)
	}
	host, port, err := net.SplitHostPort(text)
	host = strings.ToLower(host)
	if err != nil || !isHost(host) {
		return Address{}, invalid("address %s: want host:port, as in localhost:5178, or unix:/path", entra.Quote(text))
	}
	if port != "0" && !isPort(port) {
		return Address{}, invalid("address %s: want a port from 0 (any free one) to 65535", entra.Quote(text))
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return Address{Host: host, Port: uint16(n)}, err
}

func parseSocket(text, path string) (Address, error) {
	if _, err := parseLine(path); err != nil || !filepath.IsAbs(path) && !strings.HasPrefix(path, "/") {
		return Address{}, invalid("address %s: want an absolute path, as in unix:/run/tokenbroker/callers.sock", entra.Quote(text))
	}
	if len(path) > maxSocketPath {
		return Address{}, invalid("address %s: the path is longer than the %d bytes that a Unix socket may have", entra.Quote(text), maxSocketPath)
	}
	return Address{Socket: filepath.Clean(path)}, nil
}

// isHost reports whether a listener may have that host: an IP address, a DNS
// name, or none.
func isHost(host string) bool {
	if host == "" || host == "localhost" {
		return true
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	labels := strings.Split(host, ".")
	for _, label := range labels {
		if !route.IsName(label) {
			return false
		}
	}
	_, err := strconv.Atoi(labels[len(labels)-1]) // 127.1 is an address to some, a name to others
	return err != nil
}

// String is the address as in the configuration.
func (a Address) String() string {
	switch {
	case a == Address{}:
		return ""
	case a.Socket != "":
		return "unix:" + a.Socket
	default:
		return net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port)))
	}
}

// hosts lists the hosts that the one of the address stands for: localhost is
// both loopback addresses.
func (a Address) hosts() []string {
	if a.Host == "localhost" {
		return []string{"127.0.0.1", "::1"}
	}
	return []string{a.Host}
}

// Loopback reports whether only this machine can reach the address. A name
// other than localhost counts as not: what it resolves to can change.
func (a Address) Loopback() bool {
	ip, err := netip.ParseAddr(a.Host)
	return a.Socket != "" || a.Host == "localhost" || err == nil && ip.IsLoopback()
}

// overlaps reports whether two listeners could not both have their address.
func (a Address) overlaps(b Address) bool {
	switch {
	case a.Socket != "" || b.Socket != "":
		return a.Socket == b.Socket
	case a.Port != b.Port || a.Port == 0:
		return false
	case a.everywhere() || b.everywhere():
		return true
	}
	return slices.ContainsFunc(a.hosts(), func(host string) bool { return slices.Contains(b.hosts(), host) })
}

func (a Address) everywhere() bool {
	ip, err := netip.ParseAddr(a.Host)
	return a.Host == "" || err == nil && ip.Unmap().IsUnspecified()
}

// checkListen checks the listeners against each other, against the routes and
// against the proof that callers must give.
func (l *loader) checkListen() {
	listen, faults := &l.cfg.Listen, l.faults
	if len(listen.Callers) == 0 {
		faults.add("listen.callers", "none; want at least one address, as in localhost:5178")
	}
	for i := range listen.Callers {
		path := element("listen.callers", i)
		if faults.has(path) {
			continue
		}
		c := &listen.Callers[i]
		if c.Address == (Address{}) {
			faults.add(join(path, "address"), "missing; want host:port or unix:/path")
			continue
		}
		if c.Route != "" {
			l.checkRouteName(join(path, "route"), c.Route)
		}
		l.checkForward(c, path)
		l.checkMode(c, path)
		l.checkTLS(c, join(path, "tls"))
		l.checkWhoComes(c.Address, path)
		for j, earlier := range listen.Callers[:i] {
			if c.Address.overlaps(earlier.Address) {
				faults.add(path, "%s: %s listens there already", c.Address, element("listen.callers", j))
			}
		}
		if c.Address.overlaps(listen.Ops) {
			faults.add("listen.ops", "%s: %s listens there already", listen.Ops, path)
		}
	}
	if listen.Ops.Socket != "" {
		faults.add("listen.ops", "%s: want host:port, since probes and scrapes cannot use a Unix socket", listen.Ops)
	}
	tcp := func(c Listener) bool { return c.Address.Socket == "" && c.Address != Address{} }
	if l.cfg.CallerKeyFile == "" && len(l.cfg.Callers) == 0 && slices.ContainsFunc(listen.Callers, tcp) {
		l.warn("caller_key_file is not set: every process that reaches a listener may call, in a Pod every container")
	}
}

// checkMode checks the mode of a Unix socket's file, or sets it.
func (l *loader) checkMode(c *Listener, path string) {
	switch {
	case c.Address.Socket == "" && c.Mode != 0:
		l.faults.add(join(path, "mode"), "%s is no Unix socket: only a file has a mode", c.Address)
	case c.Address.Socket != "" && c.Mode == 0:
		c.Mode = defaultMode
	case c.Mode != 0 && l.opts.goos == "windows":
		l.warn(join(path, "mode") + " has no effect on Windows, which has no file modes; the folder's permissions say who may call")
	}
}

// checkTLS checks the certificate of a listener.
func (l *loader) checkTLS(c *Listener, path string) {
	t := &c.TLS
	_, t.On = l.faults.origins[path] // the mapping may be empty
	switch made := t.CertFile == "" && t.KeyFile == ""; {
	case !t.On || l.faults.within(path):
	case c.Address.Socket != "":
		l.faults.add(path, "%s: a Unix socket carries no TLS, nothing of it leaves this machine; remove it", c.Address)
	case made && c.Address.everywhere():
		l.warn(path + ": the certificate that is made is for localhost; who comes to " + c.Address.String() + " by another name needs one from cert_file and key_file")
	case made:
	case t.CertFile == "":
		l.faults.add(join(path, "cert_file"), "missing; want the file with the certificate of key_file")
	case t.KeyFile == "":
		l.faults.add(join(path, "key_file"), "missing; want the file with the private key of cert_file")
	case t.CAOut != "":
		l.faults.add(join(path, "ca_out"), "there is no authority to write: the certificate is that of cert_file; remove one of the two")
	}
}

// checkWhoComes checks that callers prove themselves where more than this
// machine's can come, and that some can come at all. A uid is known on a Unix
// socket only, and who is anonymous must be local.
func (l *loader) checkWhoComes(a Address, path string) {
	named, proof := len(l.cfg.Callers) > 0, "caller_key_file"
	if named {
		proof = "a caller's key_file"
	}
	switch {
	case a.Metadata() && l.cfg.Protocols.IMDS: // where only this machine is answered
	case a.Metadata():
		l.faults.add(path, "%s: stands for the metadata service (IMDS), which is not served; set protocols.imds: true, or listen on localhost", a)
	case !a.Loopback() && (!l.anyKeys() || !l.cfg.Listen.UnsafeNonLoopback):
		l.faults.add(path, "%s: reachable from beyond this machine; listen on localhost, or set both %s and listen.unsafe_non_loopback: true", a, proof)
	case a.Socket == "" && named && !l.anyKeys() && !l.names(guard.Anonymous):
		l.warn(path + ": no caller can come in by " + a.String() + ", since none has a key")
	}
}
