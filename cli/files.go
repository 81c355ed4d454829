package cli

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"tokenbroker/broker"
	"tokenbroker/config"
	"tokenbroker/entra"
	"tokenbroker/guard"
)

// heldFile is what was read from files, and is read again when they change.
type heldFile struct {
	paths    []string
	reload   func() (changed bool)
	identity entra.IdentityID // whose credential it is; empty: nobody's
}

// hold notes what is read from files.
func (a *app) hold(identity entra.IdentityID, reload func() bool, paths ...string) {
	paths = slices.DeleteFunc(paths, func(path string) bool { return path == "" })
	a.files = append(a.files, heldFile{paths, reload, identity})
}

// readAgain reads what is held from the files that have changed; of none
// given, from all. An identity whose credential is another one now is asked for
// by the next caller, whatever failed before.
func (a *app) readAgain(changed ...string) {
	for _, f := range a.files {
		concerned := len(changed) == 0 || slices.ContainsFunc(f.paths, func(path string) bool { return slices.Contains(changed, path) })
		if concerned && f.reload() && f.identity != "" {
			a.cache.forgive()
		}
	}
}

// fileFaults says what is wrong with the files that a faulty configuration
// names, so that all is reported at once. Nil stands for a configuration of
// which nothing could be read.
func fileFaults(cfg *config.Config) error {
	if cfg == nil {
		return nil
	}
	a := &app{cfg: cfg, logger: newLogger(io.Discard, cfg.Log)}
	rootsErr := a.connect(surroundings{})
	errs := []error{rootsErr, a.openHeader(nil), a.openKeys(nil), a.openCertificates(nil), a.openUsers(nil)}
	for _, name := range slices.Sorted(maps.Keys(cfg.Identities)) {
		if c := cfg.Identities[name].Credential; c.File != "" || c.TokenFile != "" || c.Access.TokenFile != "" {
			_, err := a.openCredential(name)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// openCredentials reads the identities' credentials.
func (a *app) openCredentials() (map[string]broker.Credential, error) {
	all := map[string]broker.Credential{}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(a.cfg.Identities)) {
		switch a.cfg.Identities[name].Credential.Kind {
		case config.ManagedIdentity, config.Password, config.DeviceCode, config.Browser:
			continue // no app proves itself
		}
		credential, err := a.openCredential(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if file, ok := credential.(*broker.CertificateFile); ok {
			a.expires[name] = file.Expires
		}
		all[name] = credential
	}
	return all, errors.Join(errs...)
}

func (a *app) openCredential(name string) (broker.Credential, error) {
	identity := a.cfg.Identities[name]
	id, c := identity.ID(a.cfg.Authority), identity.Credential.App()
	credential, err := a.open(id, c)
	if err != nil {
		return nil, atPath("identities."+name+".credential", err)
	}
	return credential, nil
}

func (a *app) open(id entra.IdentityID, c config.Credential) (broker.Credential, error) {
	switch {
	case c.Kind == config.WorkloadIdentity:
		return a.openToken(id, c.TokenFile)
	case c.Kind == config.KeyVaultSecret, c.Kind == config.KeyVaultCertificate:
		return a.openVaulted(id, &c)
	case c.Kind == config.Certificate:
		file, err := broker.OpenCertificate(broker.CertificateConfig{
			File: c.File, KeyFile: c.KeyFile, PasswordFile: c.PasswordFile, Password: c.Password, SendChain: c.SendChain,
		}, a.logger.Logger)
		if err == nil {
			a.hold(id, file.Reload, c.File, c.KeyFile, c.PasswordFile)
		}
		return file, err
	case c.File != "":
		file, err := broker.OpenSecretFile(c.File, a.logger.Logger)
		if err == nil {
			a.hold(id, file.Reload, c.File)
		}
		return file, err
	default:
		return broker.NewSecretEnv(c.Env, c.Secret)
	}
}

func (a *app) openToken(id entra.IdentityID, path string) (broker.Credential, error) {
	file, err := broker.OpenTokenFile(path, a.logger.Logger)
	if err == nil {
		a.hold(id, file.Reload, path)
	}
	return file, err
}

// openVaulted makes a credential that is in a vault. The vault is asked when it
// is needed.
func (a *app) openVaulted(id entra.IdentityID, c *config.Credential) (broker.Credential, error) {
	tokens, err := a.vaultReader(id, &c.Access)
	if err != nil {
		return nil, err
	}
	vault, err := broker.NewVault(broker.VaultConfig{
		URL: string(c.Vault), Resource: a.cfg.VaultResource(), Tokens: tokens, Tenant: c.Access.Tenant,
		Roots: a.roots.pool, Timeout: a.cfg.Limits.EntraTimeout, DialContext: a.dial,
	})
	switch {
	case err != nil:
		return nil, err
	case c.Kind == config.KeyVaultSecret:
		return broker.NewVaultSecret(vault, c.Name, a.logger.Logger)
	default:
		return broker.NewVaultCertificate(vault, c.Name, c.SendChain, a.logger.Logger)
	}
}

// vaultReader makes the source of the identity that reads a vault.
func (a *app) vaultReader(id entra.IdentityID, c *config.InnerCredential) (entra.Source, error) {
	if c.Kind == config.ManagedIdentity {
		return a.managed("", c.ClientID, c.ObjectID, c.ResourceID)
	}
	token, err := a.openToken(id, c.TokenFile)
	if err != nil {
		return nil, err
	}
	return broker.NewConfidential(broker.App{Authority: a.cfg.Authority, Tenant: c.Tenant, ClientID: c.ClientID, HTTP: a.entra}, token)
}

// openPassword makes the source of a user whose password we have.
func (a *app) openPassword(id *config.Identity, app broker.App) (entra.Source, error) {
	file, err := broker.OpenPasswordFile(id.Credential.PasswordFile, a.logger.Logger)
	if err != nil {
		return nil, err
	}
	a.hold(id.ID(a.cfg.Authority), file.Reload, id.Credential.PasswordFile)
	app.HTTP = a.people
	return broker.NewPassword(app, id.Credential.Username, file)
}

func (a *app) managed(tenant entra.Tenant, clientID, objectID, resourceID string) (*broker.ManagedIdentity, error) {
	return broker.NewManagedIdentity(broker.ManagedIdentityConfig{
		Tenant: tenant, ClientID: clientID, ObjectID: objectID, ResourceID: resourceID, Timeout: a.cfg.Limits.EntraTimeout, DialContext: a.dial,
	})
}

// openKeys reads the callers' keys and makes the guard that knows them.
func (a *app) openKeys(keys *guard.Keyring) error {
	cfg := guard.Config{Keys: keys, Elsewhere: a.madeKeys(), UIDs: map[int]string{}, Hosts: listenerHosts(a.cfg)}
	var files []guard.KeyFile
	var settings []string // that name the files
	if path := a.cfg.CallerKeyFile; path != "" {
		files, settings = append(files, guard.KeyFile{Caller: guard.Local, Path: path}), append(settings, "caller_key_file")
	}
	for i, c := range a.cfg.Callers {
		if c.KeyFile != "" {
			files, settings = append(files, guard.KeyFile{Caller: c.Name, Path: c.KeyFile}), append(settings, fmt.Sprintf("callers[%d].key_file", i))
		}
		if c.UID.Set {
			cfg.UIDs[c.UID.Number] = c.Name
		}
		cfg.Anonymous = cfg.Anonymous || c.Name == guard.Anonymous
	}
	if cfg.Keys == nil && len(files) > 0 {
		var err error
		if cfg.Keys, err = guard.OpenKeyring(a.logger.Logger, files...); err != nil {
			return keyFaults(err, files, settings)
		}
		var paths []string
		for _, file := range files {
			paths = append(paths, file.Path)
		}
		a.hold("", cfg.Keys.Reload, paths...)
	}
	a.guard = guard.New(cfg)
	return nil
}

// keyFaults puts the setting before each fault of a key file. The fault begins
// with the file's path.
func keyFaults(err error, files []guard.KeyFile, settings []string) error {
	all := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		all = joined.Unwrap()
	}
	for i, fault := range all {
		for j, file := range files {
			if strings.HasPrefix(entra.AsError(fault).Message(), file.Path+": ") {
				all[i] = atPath(settings[j], fault)
				break
			}
		}
	}
	return errors.Join(all...)
}

// listenerHosts are the names that the listeners go by in a Host header.
func listenerHosts(cfg *config.Config) []string {
	var hosts []string
	for _, l := range cfg.Listen.Callers {
		if host := l.Address.Host; host != "" {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// policyCallers are the named callers as policy has them.
func policyCallers(cfg *config.Config) []guard.Caller {
	var callers []guard.Caller
	for _, c := range cfg.Callers {
		var tenants []entra.Tenant
		for _, tenant := range c.Tenants {
			tenants = append(tenants, entra.Tenant(tenant))
		}
		callers = append(callers, guard.Caller{
			Name: c.Name, Routes: c.Routes, Scopes: c.Scopes, Tenants: tenants, Identities: c.Identities, Access: c.Access,
		})
	}
	return callers
}

// roots are the certificates that the authority and the upstreams are trusted by.
type roots struct {
	pool *x509.CertPool // nil: the system's
	sum  [sha256.Size]byte
}

// same reports whether both were made from the same file.
func (r *roots) same(other *roots) bool { return r.sum == other.sum }

// readRoots adds the certificates of a file to the system's.
func readRoots(path string) (*roots, error) {
	if path == "" {
		return new(roots), nil
	}
	pem, err := readSmall(path)
	if err != nil {
		return nil, atPath("ca_file", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, entra.Errorf(entra.Invalid, "", "ca_file: %s holds no PEM certificate", path)
	}
	return &roots{pool, sha256.Sum256(pem)}, nil
}

// maxSmall bounds a file of keys or certificates, in bytes. The system's own
// bundle of roots is a quarter of that.
const maxSmall = 1 << 20

// readSmall reads a regular file of bearable size. It looks before it opens:
// the opening of a named pipe would wait for its other end.
func readSmall(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, wrongUsage("%s: %w", path, withoutPath(err))
	case !info.Mode().IsRegular():
		return nil, wrongUsage("%s: not a regular file", path)
	case info.Size() > maxSmall:
		return nil, wrongUsage("%s: larger than %d bytes", path, maxSmall)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, wrongUsage("%s: %w", path, withoutPath(err))
	}
	return content, nil
}

// withoutPath drops what package os puts before its errors, since our text
// names the path already.
func withoutPath(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// atPath puts the configuration path before an error's text.
func atPath(path string, err error) error {
	e := *entra.AsError(err)
	if e.Kind == entra.Misconfigured {
		e.Kind = entra.Invalid // it is the configuration that names the file
	}
	return entra.Errorf(e.Kind, "", "%s: %s", path, e.Message())
}
