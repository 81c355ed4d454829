package cli

import (
	"crypto/x509"
	"errors"
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
		if file := cfg.Identities[name].Credential.File; file != "" {
			if _, err := broker.OpenSecretFile(file, silent); err != nil {
				errs = append(errs, atPath("identities."+name+".credential", err))
			}
		}
	}
	return errors.Join(errs...)
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
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, entra.Errorf(entra.Invalid, "", "ca_file: %w", err)
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

// atPath puts the configuration path before an error's text.
func atPath(path string, err error) error {
	e := *entra.AsError(err)
	if e.Kind == entra.Misconfigured {
		e.Kind = entra.Invalid // it is the configuration that names the file
	}
	return entra.Errorf(e.Kind, "", "%s: %s", path, e.Message())
}
