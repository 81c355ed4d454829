package config

import (
	"slices"

	"tokenbroker/entra"
)

// Files lists the files that the settings name and whose content may change
// while the broker runs: keys, credentials and certificates, in order and each
// once. The configuration file and the audit file are not among them.
func (c *Config) Files() []string {
	files := []string{c.CAFile, c.CallerKeyFile}
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

// checkAudit keeps the audit records out of the files that are read.
func (l *loader) checkAudit() {
	audit, others := l.cfg.Audit.File, append(l.cfg.Files(), l.opts.File)
	for _, id := range l.cfg.Identities {
		others = append(others, id.Store.File, id.Store.KeyFile)
	}
	if slices.ContainsFunc(others, func(name string) bool { return sameFile(name, audit) }) {
		l.faults.add("audit.file", "%s is a file that the broker reads; want one of its own", entra.Quote(audit))
	}
}
