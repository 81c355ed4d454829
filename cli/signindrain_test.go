package cli

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tokenbroker/config"
	entraemu "tokenbroker/emulator/entra"
	"tokenbroker/server"
)

// inService is a running broker behind its own listener, which can be reloaded and
// stopped.
type inService struct {
	*running
	w    *world
	srv  *server.Server
	at   *http.Client
	stop func()
	over chan struct{} // closed at its end
}

// serving serves a broker's callers on the world's network, as if they came from
// this machine.
func (w *world) serving(settings string) *inService {
	w.t.Helper()
	b := &inService{running: w.start(settings), w: w, over: make(chan struct{})}
	b.srv = server.New(server.Config{Logger: b.logger.Logger, Grace: time.Minute})
	b.put(b.app)
	l, err := w.network.Listen("broker")
	must(w.t, err)
	ctx, stop := context.WithCancel(w.t.Context())
	b.stop = stop
	go func() {
		defer close(b.over)
		if err := b.srv.Serve(ctx, []net.Listener{l}); err != nil {
			w.t.Error(err)
		}
	}()
	transport := &http.Transport{DialContext: w.network.DialContext, DisableKeepAlives: true}
	b.at = &http.Client{Transport: transport}
	w.t.Cleanup(func() { stop(); <-b.over })
	return b
}

// put puts a configuration into service.
func (b *inService) put(a *app) {
	b.t.Helper()
	own := b.srv.Handler(a.guard, a.mounts(b.srv)...)
	must(b.t, b.srv.Swap(server.Generation{Handlers: []http.Handler{http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		r.RemoteAddr, r.Host = "127.0.0.1:40000", "localhost:5178"
		own.ServeHTTP(rw, r)
	})}}))
	b.app = a
}

// reload puts other settings into service.
func (b *inService) reload(settings string) {
	b.t.Helper()
	file := b.w.write("tokenbroker.yaml", strings.ReplaceAll("ca_file: 'DIR/ca.pem'\n"+settings, "DIR", b.w.dir))
	cfg, err := config.Load(config.Options{Catalogue: catalogue(b.t), File: file})
	must(b.t, err)
	next, err := build(cfg, surroundings{catalogue: catalogue(b.t), logger: b.logger, before: b.app, dial: b.w.network.DialContext})
	must(b.t, err)
	next.mux.Replace(next.flows)
	b.put(next)
}

// Who signs in may never come, and would have everybody wait for the end. The
// others get what they came for.
func TestDrainEndsASignInAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := w.serving(usersApp)
		w.entra.SetFaults(entraemu.Faults{DelayMS: 5000})
		var others sync.WaitGroup
		others.Go(func() {
			resp, err := b.at.Get("http://broker/token?route=defender")
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if body := text(t, resp); resp.StatusCode != http.StatusOK {
				t.Errorf("a request in flight: %d %s", resp.StatusCode, body)
			}
		})
		u := begin(t, b.at, "identity=me")
		synctest.Wait()
		stopped := time.Now()
		b.stop()
		last := u.end()
		problem, _ := last.Problem.(map[string]any)
		if problem["detail"] != `identity "me": the broker stops; sign in again when it is back` || problem["status"] != 503.0 {
			t.Errorf("the last line is %+v", last)
		}
		if took := time.Since(stopped); took > time.Second {
			t.Errorf("it ended %v after the drain began", took)
		}
		others.Wait()
		<-b.over
		if took := time.Since(stopped); took > 10*time.Second {
			t.Errorf("the drain took %v", took)
		}
	})
}

// A sign-in goes on through a reload, and what comes of it is there afterwards,
// whatever became of the rest of the settings.
func TestSignInGoesOnThroughAReload(t *testing.T) {
	const elsewhere = "{kind: device-code, redirect_uri: 'http://localhost:8400'}"
	for name, settings := range map[string]string{
		"of something else":      strings.Replace(usersApp, "defender: {}", "defender: {access: read-only}", 1),
		"of the redirect URI":    strings.Replace(usersApp, "{kind: device-code}", elsewhere, 1),
		"and a timeout of Entra": usersApp + "limits: {entra_timeout: 20s}\n",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				b := w.serving(usersApp)
				u := begin(t, b.at, "identity=me")
				b.reload(settings)
				must(t, w.entra.Approve(u.prompt.UserCode, entraemu.DefaultUser))
				if got := u.end(); got.Account == nil || got.Account.Username != entraemu.DefaultUser {
					t.Fatalf("got %+v", got)
				}
				resp, err := b.at.Get("http://broker/token?route=mine")
				must(t, err)
				defer resp.Body.Close()
				if body := text(t, resp); resp.StatusCode != http.StatusOK {
					t.Errorf("after the reload: %d %s", resp.StatusCode, body)
				}
			})
		})
	}
}

// An address that is pasted finds the sign-in that it is for through a reload.
func TestPastedAddressFindsItsSignInThroughAReload(t *testing.T) {
	w := newWorld(t)
	b := w.serving(usersApp)
	u := begin(t, b.at, "identity=me&browser=true")
	b.reload(strings.Replace(usersApp, "defender: {}", "defender: {access: read-only}", 1))
	req, err := w.person(t, entraemu.DefaultUser).SignIn(t.Context(), u.prompt.URL)
	must(t, err)
	resp, err := b.at.PostForm("http://broker/login/answer", map[string][]string{"identity": {"me"}, "url": {req.URL.String()}})
	must(t, err)
	defer resp.Body.Close()
	if body := text(t, resp); resp.StatusCode != http.StatusOK {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if got := u.end(); got.Account == nil {
		t.Errorf("got %+v", got)
	}
}
