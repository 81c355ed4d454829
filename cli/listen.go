package cli

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"strconv"
	"syscall"

	"tokenbroker/config"
	"tokenbroker/entra"
)

// listen opens an address. The name localhost is both loopback addresses.
func listen(ctx context.Context, address config.Address, mode fs.FileMode, logger *slog.Logger) ([]net.Listener, error) {
	switch {
	case address.Socket != "":
		return one(listenUnix(ctx, address.Socket, mode))
	case address.Host != "localhost":
		return one(listenTCP(ctx, "tcp", address.String()))
	}
	four, err := listenTCP(ctx, "tcp4", loopback("127.0.0.1", address.Port))
	if err != nil {
		return nil, err
	}
	// Port 0 means any: then both addresses get the same one.
	six, err := listenTCP(ctx, "tcp6", loopback("::1", four.Addr().(*net.TCPAddr).AddrPort().Port()))
	switch {
	case err == nil:
		return []net.Listener{four, six}, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, errors.Join(err, four.Close())
	}
	// Many containers have no IPv6 at all; a caller there cannot try it either.
	logger.Info("no IPv6 loopback here, listening on 127.0.0.1 alone", "address", address.String())
	return []net.Listener{four}, nil
}

func one(l net.Listener, err error) ([]net.Listener, error) {
	if err != nil {
		return nil, err
	}
	return []net.Listener{l}, nil
}

func loopback(host string, port uint16) string {
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

func listenTCP(ctx context.Context, network, address string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, network, address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, entra.Errorf(entra.Misconfigured, "cli.listen", "address %s: taken by another program; stop it or choose another port: %w", address, syscall.EADDRINUSE)
	}
	if err != nil {
		return nil, entra.Errorf(entra.Misconfigured, "cli.listen", "address %s: cannot listen: %w", address, err)
	}
	return l, nil
}

// listenUnix makes a socket whose mode is right from its first moment. A
// socket that a killed broker left behind is replaced; one that answers is not.
func listenUnix(ctx context.Context, path string, mode fs.FileMode) (net.Listener, error) {
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&fs.ModeSocket == 0 {
			return nil, entra.Errorf(entra.Misconfigured, "cli.listen", "socket %s: a file of that name is there and is no socket", path)
		}
		if conn, err := new(net.Dialer).DialContext(ctx, "unix", path); err == nil {
			_ = conn.Close()
			return nil, entra.Errorf(entra.Misconfigured, "cli.listen", "socket %s: another program answers there; stop it or choose another path", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, entra.Errorf(entra.Misconfigured, "cli.listen", "socket %s: left by another program and not removable: %w", path, err)
		}
	}
	// Until its mode is set the socket is ours alone: nobody can connect before
	// the mode holds.
	restore := keepPrivate()
	l, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	restore()
	if err != nil {
		return nil, entra.Errorf(entra.Misconfigured, "cli.listen", "socket %s: cannot listen: %w", path, err)
	}
	if err := os.Chmod(path, mode); err != nil {
		return nil, errors.Join(entra.Errorf(entra.Misconfigured, "cli.listen", "socket %s: %w", path, err), l.Close())
	}
	return l, nil
}
