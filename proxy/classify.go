package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"

	"tokenbroker/entra"
)

// classify says what became of an exchange with an upstream. The text holds
// addresses and certificates' names, never what the upstream sent: net/http
// quotes a malformed answer in its errors.
func classify(ctx context.Context, host string, err error) *entra.Error {
	const op = "proxy.send"
	if e, ok := errors.AsType[*entra.Error](err); ok { // checkTunnel's
		return e
	}
	if errors.Is(context.Cause(ctx), errSentOnce) {
		return entra.Errorf(entra.Upstream, op, "upstream %s: dropped the action after it was sent; it may have been carried out, look before you repeat it", host)
	}
	if ctx.Err() != nil {
		return entra.AsError(context.Cause(ctx))
	}
	if late, ok := errors.AsType[net.Error](err); ok && late.Timeout() {
		return entra.Errorf(entra.Timeout, op, "upstream %s: %w", host, err)
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return entra.Errorf(entra.Upstream, op, "upstream %s: %w: name the issuer's certificate in ca_file", host, err)
	}
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return entra.Errorf(entra.Upstream, op, "upstream %s: %w", host, err)
	}
	return entra.Errorf(entra.Upstream, op, "upstream %s: the connection broke off, or what came was no HTTP", host)
}
