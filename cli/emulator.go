package cli

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"tokenbroker/defender"
	"tokenbroker/emulator"
	defenderemu "tokenbroker/emulator/defender"
	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/entra"
)

// emulatorConfig says where the emulator listens and what it expects.
type emulatorConfig struct {
	entraAddr, defenderAddr string
	secret                  entra.Secret // the client secret; zero: a random one
	limits                  bool         // whether the documented ceilings are enforced
	machines                int          // how many there are; zero: the emulator's own number
	pageSize                int          // of a list of the fake Defender; zero: as the real one's
}

// fakes are a running emulator.
type fakes struct {
	ca       *emulator.CA
	entra    fakeServer
	defender fakeServer
	tenant   string
	clientID string
	secret   entra.Secret
	users    []entraemu.User // who can sign in
}

// fakeServer is one of its two servers.
type fakeServer struct {
	url    string
	server *http.Server
	ended  *sync.WaitGroup
}

// startEmulator starts a fake Entra and a fake Defender whose tokens it
// issues, over TLS by a certificate authority made now.
func startEmulator(ctx context.Context, cfg emulatorConfig) (*fakes, error) {
	ca, err := emulator.NewCA()
	if err != nil {
		return nil, err
	}
	world := entraemu.Default()
	if !cfg.secret.IsZero() {
		world.Apps[0].Secrets = []entraemu.Secret{{Value: cfg.secret}}
	}
	authority, err := entraemu.New(world)
	if err != nil {
		return nil, err
	}
	catalogue, err := defender.Load()
	if err != nil {
		return nil, err
	}
	apis, err := defenderemu.New(defenderemu.Config{Catalogue: catalogue, Verify: authority.Verify, Limits: cfg.limits, PageSize: cfg.pageSize, Machines: cfg.machines})
	if err != nil {
		return nil, err
	}
	f := &fakes{
		ca: ca, tenant: entraemu.DefaultTenant, clientID: entraemu.DefaultClient,
		secret: world.Apps[0].Secrets[0].Value, users: world.Users,
	}
	if f.entra, err = startFake(ctx, ca, cfg.entraAddr, authority, nil); err != nil {
		return nil, atPath("--entra", err)
	}
	if f.defender, err = startFake(ctx, ca, cfg.defenderAddr, apis, apis.ConnState); err != nil {
		return nil, errors.Join(atPath("--defender", err), f.entra.close())
	}
	return f, nil
}

// startFake serves the handler over TLS. It tells watch, if not nil, of every
// connection.
func startFake(ctx context.Context, ca *emulator.CA, address string, handler http.Handler, watch func(net.Conn, http.ConnState)) (fakeServer, error) {
	l, err := listenTCP(ctx, "tcp", address)
	if err != nil {
		return fakeServer{}, err
	}
	host, _, _ := net.SplitHostPort(l.Addr().String())
	fake := fakeServer{
		url: "https://" + l.Addr().String(),
		server: &http.Server{
			Handler:           handler,
			TLSConfig:         ca.ServerTLS("localhost", "127.0.0.1", host),
			ReadHeaderTimeout: 5 * time.Second,
			ConnState:         watch,
		},
		ended: new(sync.WaitGroup),
	}
	fake.ended.Go(func() { _ = fake.server.ServeTLS(l, "", "") })
	return fake, nil
}

// close cuts every connection.
func (f fakeServer) close() error {
	err := f.server.Close()
	f.ended.Wait()
	return err
}

func (f *fakes) close() { _ = errors.Join(f.entra.close(), f.defender.close()) }
