package cli

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tokenbroker/config"
)

// certificateOf finds the certificate to show for a handshake.
type certificateOf func(*tls.ClientHelloInfo) (*tls.Certificate, error)

// withTLS makes a listener speak TLS.
func withTLS(l net.Listener, certificate certificateOf) net.Listener {
	return tls.NewListener(l, &tls.Config{
		MinVersion: tls.VersionTLS12, GetCertificate: certificate,
		NextProtos: []string{"h2", "http/1.1"}, // net/http speaks both
	})
}

// certificateFile is a listener's certificate and its key, in files that may be
// replaced while we run. It is safe for concurrent use.
type certificateFile struct {
	config.TLS
	logger *slog.Logger
	good   atomic.Pointer[tls.Certificate] // now

	reloading sync.Mutex // held by the one Reload that runs; guards fault
	fault     string     // of the last reading
}

// openCertificateFile reads the files for the first time; then they must be
// good.
func openCertificateFile(at config.TLS, logger *slog.Logger) (*certificateFile, error) {
	f := &certificateFile{TLS: at, logger: logger}
	pair, err := f.read()
	if err != nil {
		return nil, err
	}
	f.put(pair)
	return f, nil
}

// Reload reads the files again, and reports whether they hold another
// certificate. Those that are broken, or of which only one is replaced yet, keep
// the one of before; that is logged once, until they are mended.
func (f *certificateFile) Reload() (changed bool) {
	f.reloading.Lock()
	defer f.reloading.Unlock()
	pair, err := f.read()
	if err != nil {
		if f.fault != err.Error() {
			f.logger.Warn("certificate of a listener not read again, the one of before is shown", "err", err)
		}
		f.fault = err.Error()
		return false
	}
	changed = !slices.EqualFunc(pair.Certificate, f.good.Load().Certificate, bytes.Equal)
	if changed || f.fault != "" {
		f.logger.Info("certificate of a listener read again", "file", f.CertFile, "expires", pair.Leaf.NotAfter)
	}
	f.fault = ""
	if changed {
		f.put(pair)
	}
	return changed
}

func (f *certificateFile) put(pair *tls.Certificate) {
	if now := time.Now(); now.After(pair.Leaf.NotAfter) || now.Before(pair.Leaf.NotBefore) {
		f.logger.Warn("certificate of a listener: callers refuse it, now is not within its time", "file", f.CertFile, "from", pair.Leaf.NotBefore, "to", pair.Leaf.NotAfter)
	}
	f.good.Store(pair)
}

// read reads both files. A certificate with a key that is not its own is none.
func (f *certificateFile) read() (*tls.Certificate, error) {
	cert, certErr := readSmall(f.CertFile)
	key, keyErr := readSmall(f.KeyFile)
	if err := errors.Join(certErr, keyErr); err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, wrongUsage("%s with key_file %s: %w; want the certificate and its own private key, both as PEM without a password", f.CertFile, f.KeyFile, err)
	}
	return &pair, nil
}

func (f *certificateFile) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return f.good.Load(), nil
}

// openCertificates reads the certificates of the listeners, or keeps those of
// before: the listeners are those of the start.
func (a *app) openCertificates(before *app) error {
	if before != nil {
		a.shown = before.shown
	} else if err := a.readCertificates(); err != nil {
		return err
	}
	for _, f := range a.shown {
		if f != nil {
			a.hold("", f.Reload, f.CertFile, f.KeyFile)
		}
	}
	return nil
}

func (a *app) readCertificates() error {
	var errs []error
	for i, l := range a.cfg.Listen.Callers {
		var file *certificateFile
		var err error
		at := fmt.Sprintf("listen.callers[%d].tls", i)
		switch {
		case l.TLS.CertFile != "" && l.TLS.KeyFile != "":
			file, err = openCertificateFile(l.TLS, a.logger.Logger)
		case l.TLS.CAOut != "":
			err = checkPlace(l.TLS.CAOut, a.logger.Logger)
			at += ".ca_out"
		}
		if err != nil {
			errs = append(errs, atPath(at, err))
		}
		a.shown = append(a.shown, file)
	}
	return errors.Join(errs...)
}

// secure makes the doors with TLS speak it. The certificates that are made have
// one authority, whose own is written where the programs that trust it look.
func (s *service) secure(cfg *config.Config) error {
	made, err := newAuthority(namesOf(cfg))
	if err != nil {
		return err
	}
	for i := range s.doors {
		d := &s.doors[i]
		switch {
		case !d.at.TLS.On:
			continue
		case d.shown != nil:
			d.Listener = withTLS(d.Listener, d.shown.certificate)
		default:
			d.Listener = withTLS(d.Listener, made.certificate)
		}
		if path := d.at.TLS.CAOut; path != "" {
			if err := writeWhole(path, made.pem(), 0o644); err != nil {
				return atPath("listen.callers", err)
			}
		}
	}
	return nil
}
