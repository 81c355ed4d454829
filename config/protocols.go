package config

import (
	"net/netip"
	"slices"

	"tokenbroker/guard"
)

// Metadata reports whether the address is the one at which every program looks
// for the instance metadata service of Azure's virtual machines.
func (a Address) Metadata() bool {
	ip, err := netip.ParseAddr(a.Host)
	return err == nil && guard.IsMetadata(ip)
}

// checkProtocols warns of the protocols that cannot carry a key: they serve
// everybody, or nobody.
func (l *loader) checkProtocols() {
	for _, p := range []struct {
		path string
		on   bool
	}{
		{"protocols.imds", l.cfg.Protocols.IMDS},
		{"protocols.cloud_shell", l.cfg.Protocols.CloudShell},
	} {
		switch {
		case !p.on:
		case !l.asksProof():
			l.warn(p.path + ": every process that reaches a listener gets tokens by it, in a Pod every container: it cannot carry a key")
		case !l.names(guard.Anonymous) && !l.anyUID():
			l.warn(p.path + " serves nobody: it cannot carry a key; add a caller named " + guard.Anonymous + ", with what it may have")
		}
	}
	if s := l.cfg.Protocols.EntraSidecar; s.Overrides && !s.On {
		l.warn("protocols.entra_sidecar.overrides has no effect while protocols.entra_sidecar is false")
	}
}

// checkIdentityHeader holds the key that is made at the start to where it is
// asked for.
func (l *loader) checkIdentityHeader() {
	const path = "identity_header_file"
	switch {
	case l.cfg.IdentityHeaderFile == "":
	case l.asksProof():
		l.faults.add(path, "a key is made only where neither caller_key_file nor callers is set; remove it: IDENTITY_HEADER is a caller's own key")
	case !l.cfg.Protocols.AppService:
		l.warn(path + " has no effect while protocols.app_service is false")
	}
}

// asksProof reports whether callers have to prove who they are.
func (l *loader) asksProof() bool { return l.cfg.CallerKeyFile != "" || len(l.cfg.Callers) > 0 }

// anyUID reports whether a caller can prove itself by its uid.
func (l *loader) anyUID() bool {
	return slices.ContainsFunc(l.cfg.Callers, func(c Caller) bool { return c.UID.Set })
}
