package cli

import (
	"crypto/x509"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"

	"tokenbroker/broker"
	"tokenbroker/config"
	"tokenbroker/entra"
	"tokenbroker/guard"
)

// fileFaults says what is wrong with the files that a faulty configuration
// names, so that all is reported at once. Nil stands for a configuration of
// which nothing could be read.
func fileFaults(cfg *config.Config) error {
	if cfg == nil {
		return nil
	}
	silent := slog.New(slog.DiscardHandler)
	_, rootsErr := readRoots(cfg.CAFile)
	_, keysErr := callerKeys(cfg, silent)
	errs := []error{rootsErr, keysErr}
	for _, name := range slices.Sorted(maps.Keys(cfg.Identities)) {
		if c := cfg.Identities[name].Credential; c.File != "" || c.TokenFile != "" {
			_, err := openCredential(name, c, silent)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// openCredential reads an identity's credential and returns what makes its
// flow.
func openCredential(name string, c config.Credential, logger *slog.Logger) (newFlow func(broker.App) (entra.Source, error), err error) {
	var secret broker.Credential
	switch {
	case c.Kind == config.WorkloadIdentity:
		file, err := broker.OpenTokenFile(c.TokenFile)
		if err != nil {
			return nil, atPath("identities."+name+".credential", err)
		}
		return func(app broker.App) (entra.Source, error) { return broker.NewFederated(app, file) }, nil
	case c.File != "":
		secret, err = broker.OpenSecretFile(c.File, logger)
	default:
		secret, err = broker.NewSecretEnv(c.Env, c.Secret)
	}
	if err != nil {
		return nil, atPath("identities."+name+".credential", err)
	}
	return func(app broker.App) (entra.Source, error) { return broker.NewConfidential(app, secret) }, nil
}

func callerKeys(cfg *config.Config, logger *slog.Logger) (func() []entra.Secret, error) {
	if cfg.CallerKeyFile == "" {
		return nil, nil
	}
	file, err := guard.OpenKeyFile(cfg.CallerKeyFile, logger)
	if err != nil {
		return nil, atPath("caller_key_file", err)
	}
	return file.Keys, nil
}

// readRoots adds the certificates of a file to the system's.
func readRoots(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	pem, err := readSmall(path)
	if err != nil {
		return nil, atPath("ca_file", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, entra.Errorf(entra.Invalid, "", "ca_file: %s holds no PEM certificate", path)
	}
	return roots, nil
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
