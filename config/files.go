package config

import (
	"slices"

	"tokenbroker/entra"
)

// Files lists the files that the settings name and whose content may change
// while the broker runs: keys, credentials and certificates, in order and each
// once. The configuration file and what is written are not among them.
func (c *Config) Files() []string {
	files := []string{c.CAFile, c.CallerKeyFile}
	for _, l := range c.Listen.Callers {
		files = append(files, l.TLS.CertFile, l.TLS.KeyFile)
	}
	for _, caller := range c.Callers {
		files = append(files, caller.KeyFile)
	}
	for _, id := range c.Identities {
		files = append(files, id.Credential.File, id.Credential.KeyFile, id.Credential.PasswordFile, id.Credential.TokenFile)
		files = append(files, id.Credential.Access.File, id.Credential.Access.KeyFile, id.Credential.Access.PasswordFile, id.Credential.Access.TokenFile)
	}
	slices.Sort(files)
	return slices.DeleteFunc(slices.Compact(files), func(name string) bool { return name == "" })
}

// checkWritten keeps what the broker writes out of the files that it reads, and
// apart.
func (l *loader) checkWritten() {
	read := append(l.cfg.Files(), l.opts.File)
	for _, id := range l.cfg.Identities {
		read = append(read, id.Store.File, id.Store.KeyFile)
	}
	type file struct{ path, name string }
	written := []file{{"audit.file", l.cfg.Audit.File}, {"identity_header_file", l.cfg.IdentityHeaderFile}}
	own := len(written) // those after them may be one file: there is one authority
	for i, c := range l.cfg.Listen.Callers {
		written = append(written, file{join(element("listen.callers", i), "tls.ca_out"), c.TLS.CAOut})
	}
	for i, f := range written {
		if slices.ContainsFunc(read, func(name string) bool { return sameFile(name, f.name) }) {
			l.faults.add(f.path, "%s is a file that the broker reads; want one of its own", entra.Quote(f.name))
		}
		for _, earlier := range written[:min(i, own)] {
			if sameFile(earlier.name, f.name) {
				l.faults.add(f.path, "%s is also %s; want one of its own", entra.Quote(f.name), earlier.path)
			}
		}
	}
}
