package broker

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	msal "github.com/AzureAD/microsoft-authentication-library-for-go/apps/errors"

	"tokenbroker/entra"
)

// UseProxy puts a client of [NewClient] behind a proxy, as the environment
// would, of which net/http reads the proxy only once in a process.
func UseProxy(c *http.Client, proxy string) {
	c.Transport.(*pinned).next.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse(proxy) }
}

// ClassifyBody classifies an answer with that status and body.
func ClassifyBody(status int, body string) *entra.Error {
	x := exchange{id: "00000000-0000-4000-8000-000000000000", authority: "https://login.example", tenant: "contoso.example"}
	return x.classify(context.Background(), fmt.Errorf("wrapped: %w", msal.CallErr{
		Resp: &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))},
		Err:  errors.New(body),
	}))
}

// Secret is what the file holds now.
func (f *SecretFile) Secret() entra.Secret {
	secret, _ := f.now()
	return secret
}

// ReadSet reads files of one generation.
var ReadSet = readSet

// ParsePair takes a key and its certificates out of the content of two files,
// and returns the certificates.
func ParsePair(file, keyFile []byte, password string) ([]*x509.Certificate, error) {
	c := CertificateConfig{File: "file", Password: entra.NewSecret(password)}
	if len(keyFile) > 0 {
		c.KeyFile = "key-file"
	}
	pair, err := c.parse([][]byte{file, keyFile, nil})
	if err != nil {
		return nil, err
	}
	return pair.certificates(), nil
}

// FileFault is there for the one fault that no test run by root meets.
var FileFault = fileFault

// InExchange returns the context of an exchange in the tenant.
func InExchange(ctx context.Context, tenant entra.Tenant) context.Context {
	return exchange{tenant: tenant}.in(ctx)
}

// HasProxy reports whether the identity's endpoint could be asked by a proxy.
func HasProxy(m *ManagedIdentity) bool { return m.http.Transport.(*http.Transport).Proxy != nil }
