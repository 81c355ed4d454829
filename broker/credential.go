package broker

import (
	"bytes"
	"context"
	"log/slog"
	"unicode"
	"unicode/utf8"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/confidential"

	"tokenbroker/entra"
)

const opCredential = "broker.credential" //nolint:gosec // the name of a place in the code

// Credential is how an app proves itself: a [SecretFile], a [SecretEnv], a
// [CertificateFile], a [TokenFile], a [VaultSecret] or a [VaultCertificate]. It
// may be replaced while we run.
type Credential interface {
	// proof returns the credential as it is now.
	proof(ctx context.Context) (proof, error)
}

// proof is a credential for one exchange.
type proof struct {
	credential confidential.Credential
	options    []confidential.Option
	name       string // what it is, for messages: "file /etc/tokenbroker/client-secret"
	unknown    string // what to do where Entra does not know its key

	// renew looks at once whether there is a newer version; nil: there is none,
	// or proof has looked already.
	renew   func(ctx context.Context) (proof, error)
	version string
}

// SecretFile is a client secret in a file. Of a file that has become bad the
// last good content stays in use, and that is logged once.
type SecretFile struct{ *files[entra.Secret] }

// OpenSecretFile reads the file for the first time; then it must be good.
func OpenSecretFile(path string, logger *slog.Logger) (*SecretFile, error) {
	parse := func(contents [][]byte) (entra.Secret, error) { return parseCredential(path, contents[0]) }
	held, err := openFiles("client secret", logger, parse, path)
	if err != nil {
		return nil, err
	}
	return &SecretFile{held}, nil
}

func (f *SecretFile) proof(context.Context) (proof, error) {
	secret, _ := f.now() // a fault has been logged
	return secretProof(secret, f.String())
}

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

// String names the variable.
func (e *SecretEnv) String() string { return "environment variable " + e.name }

func (e *SecretEnv) proof(context.Context) (proof, error) { return secretProof(e.secret, e.String()) }

func secretProof(secret entra.Secret, name string) (proof, error) {
	cred, err := confidential.NewCredFromSecret(secret.Reveal())
	if err != nil {
		return proof{}, entra.Errorf(entra.Misconfigured, opCredential, "%s: holds no secret", name)
	}
	return proof{credential: cred, name: name}, nil
}

// parseCredential takes a credential out of the content of its file.
func parseCredential(path string, content []byte) (entra.Secret, error) {
	secret, fault := vetCredential(content)
	if fault != "" {
		return entra.Secret{}, refuse(path, fault)
	}
	return secret, nil
}

// vetCredential takes a credential of one line out of its bytes: without a
// byte order mark, and without the one line end that editors and echo put
// there. What else does not belong into a credential is a fault, in words that
// say nothing of the content.
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
