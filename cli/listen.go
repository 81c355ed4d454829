package cli

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"strconv"

	"tokenbroker/config"
	"tokenbroker/entra"
)

// listen opens an address. The name localhost is both loopback addresses.
func listen(ctx context.Context, address config.Address, mode fs.FileMode, logger *slog.Logger) ([]net.Listener, error) {
	switch {
	case address.Socket != "":
		return one(listenUnix(ctx, address.Socket, mode, logger))
	case address.Host != "localhost":
		return one(listenTCP(ctx, "tcp", address.String()))
	}
	four, six, err := listenLoopback(ctx, address.Port)
	// Port 0 means any: then both addresses get the same one, unless it is taken
	// on the second.
	for tries := 0; err != nil && address.Port == 0 && errors.Is(err, errAddrInUse) && tries < 10; tries++ {
		four, six, err = listenLoopback(ctx, address.Port)
	}
	switch {
	case err != nil:
		return nil, err
	case six == nil:
		// Many containers have no IPv6 at all; a caller there cannot try it either.
		logger.Info("no IPv6 loopback here, listening on 127.0.0.1 alone", "address", address.String())
		return []net.Listener{four}, nil
	}
	return []net.Listener{four, six}, nil
}

// listenLoopback listens on both loopback addresses; six is nil where the
// machine has no IPv6. A second address that is somebody else's is an error:
// callers that try it first would show that program their keys.
func listenLoopback(ctx context.Context, port uint16) (four, six net.Listener, err error) {
	if four, err = listenTCP(ctx, "tcp4", loopback("127.0.0.1", port)); err != nil {
		return nil, nil, err
	}
	six, err = listenTCP(ctx, "tcp6", loopback("::1", four.Addr().(*net.TCPAddr).AddrPort().Port()))
	_, noAddress := errors.AsType[*net.AddrError](err)
	switch {
	case err == nil:
		return four, six, nil
	case noAddress, errors.Is(err, errAddrNotAvailable), errors.Is(err, errNoSuchFamily):
		return four, nil, nil
	}
	return nil, nil, errors.Join(err, four.Close())
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
	switch {
	case errors.Is(err, errAddrInUse):
		return nil, entra.Errorf(entra.Misconfigured, "cli.listen", "address %s: taken by another program; stop it or choose another port (%w)", address, errAddrInUse)
	case errors.Is(err, errAddrNotAvailable):
		return nil, entra.Errorf(entra.Misconfigured, "cli.listen", "address %s: not one of this machine; correct it, or give the machine that address (%w)", address, errAddrNotAvailable)
	case err != nil:
		return nil, entra.Errorf(entra.Misconfigured, "cli.listen", "address %s: cannot listen: %w", address, err)
	}
	return l, nil
}
