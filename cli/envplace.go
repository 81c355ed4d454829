package cli

import (
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"tokenbroker/config"
	"tokenbroker/guard"
)

// envPlace is where applications reach the broker of a configuration, and by
// which key.
type envPlace struct {
	cfg     *config.Config
	keyFile string           // of the caller; empty: the broker asks for no key
	plain   *config.Listener // the first of each sort that serves protocols; nil: there is none
	secure  *config.Listener
	socket  string
}

func newEnvPlace(cfg *config.Config, caller string) (envPlace, error) {
	at := envPlace{cfg: cfg}
	var err error
	if at.keyFile, err = callerKeyFile(cfg, caller); err != nil {
		return at, err
	}
	for i := range cfg.Listen.Callers {
		switch l := &cfg.Listen.Callers[i]; {
		case l.Route != "" || l.Forward || l.Address.Metadata(): // where upstreams stand, or IMDS alone
		case l.Address.Socket != "":
			at.socket = orElse(at.socket, l.Address.Socket)
		case l.TLS.On && at.secure == nil:
			at.secure = l
		case !l.TLS.On && at.plain == nil:
			at.plain = l
		}
	}
	return at, nil
}

// callerKeyFile is the file with the key that the application is to show, with
// its whole path; empty: none.
func callerKeyFile(cfg *config.Config, caller string) (string, error) {
	files, names := map[string]string{}, []string{}
	if cfg.CallerKeyFile != "" {
		files[guard.Local] = cfg.CallerKeyFile
		names = append(names, guard.Local)
	}
	for _, c := range cfg.Callers {
		if c.KeyFile != "" && files[c.Name] == "" {
			files[c.Name] = c.KeyFile
			names = append(names, c.Name)
		}
	}
	switch {
	case caller != "" && files[caller] == "":
		return "", wrongUsage("--caller %q: no such caller with a key; there are: %s", caller, orElse(strings.Join(names, ", "), "none"))
	case caller != "":
	case cfg.CallerKeyFile != "":
		caller = guard.Local
	case len(names) == 1:
		caller = names[0]
	case len(names) > 1:
		return "", wrongUsage("several callers have a key; say which it is for, by --caller: %s", strings.Join(names, ", "))
	case !asksProof(cfg):
		files[""] = cfg.IdentityHeaderFile
	}
	return wholePath(files[caller])
}

// wholePath is for programs that run elsewhere.
func wholePath(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	return filepath.Abs(path)
}

func (at envPlace) admitsAnonymous() bool {
	return slices.ContainsFunc(at.cfg.Callers, func(c config.Caller) bool { return c.Name == guard.Anonymous })
}

// atMetadata reports whether the broker listens where every SDK looks for IMDS.
func (at envPlace) atMetadata() bool {
	return slices.ContainsFunc(at.cfg.Listen.Callers, func(l config.Listener) bool { return l.Route == "" && !l.Forward && l.Address.Metadata() })
}

// url is where SDKs find the broker, without a slash at the end: over plain http
// where it can be, else with what makes them trust the listener.
func (at envPlace) url() (string, []envVariable, error) {
	if at.plain == nil {
		return at.secureURL()
	}
	host, err := at.host(at.plain, "127.0.0.1")
	return "http://" + host, nil, err
}

// trustInGo is the file with the roots in Go.
const trustInGo = "SSL_CERT_FILE"

// secureURL is where they find it over TLS. Each of the variables is one
// language's: Go's, Python's, Node's.
func (at envPlace) secureURL() (string, []envVariable, error) {
	if at.secure == nil {
		return "", nil, wrongUsage("no listener for it: it needs a TCP one in listen.callers, without route, and for adfs with tls; a Unix socket is for --protocol az")
	}
	host, err := at.host(at.secure, "localhost")
	if err != nil {
		return "", nil, err
	}
	t := at.secure.TLS
	switch {
	case t.CertFile != "": // whose issuer is known to those who made it
		return "https://" + host, nil, nil
	case t.CAOut == "":
		return "", nil, wrongUsage("listener %s: its certificate is made at the start, and nobody could trust it; set ca_out below its tls", at.secure.Address)
	}
	ca, err := wholePath(t.CAOut)
	return "https://" + host, []envVariable{
		{name: trustInGo, value: ca}, {name: "REQUESTS_CA_BUNDLE", value: ca}, {name: "NODE_EXTRA_CA_CERTS", value: ca},
	}, err
}

// host is a listener's host and port for programs on this machine, which reach
// localhost and every address by the name here.
func (at envPlace) host(l *config.Listener, here string) (string, error) {
	a := l.Address
	if a.Port == 0 {
		return "", wrongUsage("listener %s: any free port, which nobody knows before the start; set one in listen.callers", a)
	}
	if ip, err := netip.ParseAddr(a.Host); a.Host == "" || a.Host == "localhost" || err == nil && ip.IsUnspecified() {
		a.Host = here
	}
	return net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port))), nil
}
