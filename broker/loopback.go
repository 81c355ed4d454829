package broker

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"tokenbroker/entra"
)

const (
	pageTimeout = 5 * time.Second // of a request of the browser
	lastPage    = time.Second     // the browser has to read the page when all is over
	maxAddress  = 16 << 10        // bytes; a code has one or two KiB
)

// redirect is where Entra sends the browser of who has signed in.
type redirect struct{ url.URL }

// parseRedirect accepts a URI that a code may be sent to: https, or http on
// this machine.
func parseRedirect(uri string) (redirect, error) {
	u, err := url.Parse(uri)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return redirect{}, entra.Errorf(entra.Invalid, opUser, "redirect_uri: want http://localhost, or another URL that the app is registered with")
	}
	to := redirect{*u}
	if u.Scheme != "https" && !to.loopback() {
		return redirect{}, entra.Errorf(entra.Invalid, opUser, "redirect_uri %s: want http://localhost, or https: what is sent there signs in", entra.Quote(uri))
	}
	return to, nil
}

// loopback reports whether we can listen there (RFC 8252 §7.3). For https we
// would need a certificate that the browser trusts.
func (r *redirect) loopback() bool {
	switch r.Hostname() {
	case "localhost", "127.0.0.1", "::1":
		return r.Scheme == "http"
	}
	return false
}

// listen takes the answers that come to the redirect URI, if we can listen
// there, until stop is called. It returns the URI with its port: of a loopback
// address Entra accepts any.
func (r *redirect) listen(ctx context.Context, into *answers) (to string, stop func(), err error) {
	if !r.loopback() {
		return r.String(), func() {}, nil
	}
	host := r.Hostname()
	if host == "localhost" {
		host = "127.0.0.1" // browsers try it too where they begin with ::1
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(host, cmp.Or(r.Port(), "0")))
	if err != nil {
		return "", nil, entra.Errorf(entra.Misconfigured, opUser, "redirect_uri %s: nobody can listen there: %w", r, cause(err))
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	at := r.URL
	at.Host = net.JoinHostPort(r.Hostname(), port)
	server := &http.Server{
		Handler: into.page(cmp.Or(r.Path, "/")), ReadTimeout: pageTimeout, WriteTimeout: pageTimeout, MaxHeaderBytes: maxAddress,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0), // what other programs send to the port
	}
	server.SetKeepAlivesEnabled(false)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener) // ends with stop
	}()
	return at.String(), func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastPage)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			_ = server.Close()
		}
		<-served
	}, nil
}

// cause is what the system says, without the address.
func cause(err error) error {
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e.Err
	}
	return err
}

// answers takes what the browser of who signs in is sent back with: the first
// that has our state (RFC 6749 §10.12).
type answers struct {
	state entra.Secret
	first chan answer // has room for it
	taken atomic.Bool
}

// answer is a code, or why there is none.
type answer struct {
	code    entra.Secret
	refusal refusal
}

func newAnswers() *answers {
	return &answers{state: entra.NewSecret(rand.Text()), first: make(chan answer, 1)}
}

// take takes an answer from the query of the redirect URI, or says why it is
// none.
func (a *answers) take(query url.Values) (got answer, fault string) {
	switch state, codes, errs := query["state"], query["code"], query["error"]; {
	case len(state) != 1 || !a.state.Equal(entra.NewSecret(state[0])):
		return got, "it is of another sign-in, or not whole"
	case len(codes)+len(errs) != 1 || query.Get("code")+query.Get("error") == "":
		return got, "there is no code in it"
	case len(codes) == 1:
		got.code = entra.NewSecret(codes[0])
	default:
		body, _ := json.Marshal(map[string]string{"error": errs[0], "error_description": query.Get("error_description")})
		got.refusal = vet(body)
	}
	if !a.taken.CompareAndSwap(false, true) {
		return got, "the sign-in has had its answer"
	}
	a.first <- got
	return got, ""
}

// paste takes the address that the browser ended at.
func (a *answers) paste(address string) error {
	const want = "want all of the address that the browser ended at, with code= and state= in it"
	if len(address) > maxAddress {
		return entra.Errorf(entra.Invalid, opUser, "pasted: longer than %d bytes; %s", maxAddress, want)
	}
	at, err := url.Parse(strings.TrimSpace(address))
	if err != nil {
		return entra.Errorf(entra.Invalid, opUser, "pasted: not an address; %s", want) // without the text: there may be a code in it
	}
	if _, fault := a.take(at.Query()); fault != "" {
		return entra.Errorf(entra.Invalid, opUser, "pasted: %s; %s", fault, want)
	}
	return nil
}

// page takes the answer of a browser that was sent to the path.
func (a *answers) page(path string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != path || r.Method != http.MethodGet {
			http.NotFound(w, r)
			return
		}
		status, text, script := http.StatusOK, "You can close this window: the sign-in goes on where it was begun.", "<script>"+forget+"</script>\n"
		switch got, fault := a.take(r.URL.Query()); {
		case fault != "": // the address stays: it may have to be pasted elsewhere
			status, text, script = http.StatusBadRequest, "This is no answer to the sign-in: "+fault+".", ""
		case got.code.IsZero():
			text = "Nobody was signed in. You can close this window: what to do is said where the sign-in was begun."
		}
		header := w.Header()
		header.Set("Content-Type", "text/html; charset=utf-8")
		header.Set("Content-Security-Policy", "default-src 'none'; script-src '"+forgetHash()+"'")
		header.Set("Referrer-Policy", "no-referrer") // the address has the code in it
		header.Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "<!DOCTYPE html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>tokenbroker</title>\n<p>"+text+"\n"+script)
	})
}

// forget takes the code and the state out of the address bar and the tab's
// history. A redirect would come to a listener that may be gone by then.
const forget = `history.replaceState(null, "", location.pathname)`

// forgetHash lets that script run and no other (CSP Level 3 §2.3.1).
func forgetHash() string {
	sum := sha256.Sum256([]byte(forget))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}
