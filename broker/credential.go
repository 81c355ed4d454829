package broker

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"unicode"
	"unicode/utf8"

	"tokenbroker/entra"
)

const (
	opCredential  = "broker.credential" //nolint:gosec // the name of a place in the code
	maxCredential = 64 << 10            // bytes
)

// Credential is a client secret that may be replaced while we run.
type Credential interface {
	// Secret returns the secret as it is now.
	Secret() entra.Secret
	// String says where it comes from, for messages: "file /etc/tokenbroker/client-secret".
	String() string
}

// SecretFile is a client secret in a file. The file is read at every use: a
// kubelet swaps it by a link in the folder above, of which a watch on the file
// hears nothing.
type SecretFile struct {
	path   string
	logger *slog.Logger

	mu    sync.Mutex // guards what follows, and is held while reading, so that an older content never replaces a newer one
	held  entra.Secret
	fault string // why the file was no good the last time; empty: it was good
}

// OpenSecretFile reads the file for the first time; then it must be good.
func OpenSecretFile(path string, logger *slog.Logger) (*SecretFile, error) {
	secret, err := readCredential(path)
	if err != nil {
		return nil, err
	}
	return &SecretFile{path: path, logger: logger, held: secret}, nil
}

// Secret returns what the file holds. Of a file that has become bad, the last
// good content stays in use, and that is logged once.
func (f *SecretFile) Secret() entra.Secret {
	f.mu.Lock()
	defer f.mu.Unlock()
	secret, err := readCredential(f.path)
	if err != nil {
		if fault := err.Error(); fault != f.fault {
			f.fault = fault
			f.logger.Warn("client secret not read again, the one of before stays in use", "err", err)
		}
		return f.held
	}
	if f.fault != "" || !secret.Equal(f.held) {
		f.logger.Info("client secret read again", "file", f.path)
	}
	f.held, f.fault = secret, ""
	return f.held
}

// String names the file.
func (f *SecretFile) String() string { return "file " + f.path }

// SecretEnv is a client secret that an environment variable held at start.
type SecretEnv struct {
	name   string
	secret entra.Secret
}

// NewSecretEnv takes the value of the variable.
func NewSecretEnv(name string, value entra.Secret) (*SecretEnv, error) {
	e := &SecretEnv{name: name}
	secret, fault := vetCredential([]byte(value.Reveal()))
	if fault != "" {
		return nil, entra.Errorf(entra.Misconfigured, opCredential, "%s: %s", e, fault)
	}
	e.secret = secret
	return e, nil
}

// Secret returns the value.
func (e *SecretEnv) Secret() entra.Secret { return e.secret }

// String names the variable.
func (e *SecretEnv) String() string { return "environment variable " + e.name }

// readCredential reads a credential of one line from a regular file.
func readCredential(path string) (entra.Secret, error) {
	refuse := func(fault string) (entra.Secret, error) {
		return entra.Secret{}, entra.Errorf(entra.Misconfigured, opCredential, "file %s: %s", path, fault)
	}
	info, err := os.Stat(path) // before opening, which waits if it is a pipe
	switch {
	case err != nil:
		return refuse(fileFault(err))
	case info.IsDir():
		return refuse("is a folder: name the file in it")
	case !info.Mode().IsRegular():
		return refuse("is not a regular file, so that it cannot be read again: put the credential into one")
	}
	file, err := os.Open(path)
	if err != nil {
		return refuse(fileFault(err))
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxCredential+1))
	if err != nil {
		return refuse(fileFault(err))
	}
	secret, fault := vetCredential(content)
	if fault != "" {
		return refuse(fault)
	}
	return secret, nil
}

// fileFault puts what package os says into words with a remedy.
func fileFault(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "does not exist: mount it, or correct the path"
	case errors.Is(err, fs.ErrPermission):
		return "may not be read: give the user that the broker runs as permission to"
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err // our text names the path
	}
	return "cannot be read: " + err.Error()
}

// vetCredential takes a credential out of its file's content: without a byte
// order mark, and without the one line end that editors and echo put there.
// What else does not belong into a credential is a fault, in words that say
// nothing of the content.
func vetCredential(content []byte) (secret entra.Secret, fault string) {
	if len(content) > maxCredential {
		return entra.Secret{}, "is larger than 64 KiB: want the credential alone"
	}
	content = bytes.TrimPrefix(content, []byte("\xef\xbb\xbf"))
	if line, ok := bytes.CutSuffix(content, []byte("\n")); ok {
		content = bytes.TrimSuffix(line, []byte("\r"))
	}
	if len(bytes.TrimSpace(content)) == 0 {
		return entra.Secret{}, "is empty: put the credential there"
	}
	if !utf8.Valid(content) || bytes.ContainsFunc(content, isBinary) {
		return entra.Secret{}, "is binary: want the credential as plain text (UTF-8, not UTF-16)"
	}
	if bytes.ContainsAny(content, "\r\n") {
		return entra.Secret{}, "has several lines: want the credential alone"
	}
	return entra.NewSecret(string(content)), ""
}

// isBinary reports a control character that is no line end.
func isBinary(r rune) bool { return unicode.IsControl(r) && r != '\r' && r != '\n' }
