package browser

import (
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// accepted checks that the browser was sent back, to a page that says so and
// keeps nothing.
func accepted(b *tab, to string, page *network.Response, says string) {
	b.t.Helper()
	if page.Status != http.StatusOK || header(page, "Cache-Control") != "no-store" || header(page, "Referrer-Policy") != "no-referrer" || !strings.Contains(b.text("p"), says) {
		b.t.Errorf("the last page: %d %v %q", page.Status, page.Headers, b.text("p"))
	}
	if at := get(b, chromedp.Location()); at != to+"/" {
		b.t.Errorf("the browser ends at %s", at)
	}
	for _, entry := range get(b, chromedp.NavigationEntries()).Entries {
		if strings.Contains(entry.URL, "code=") || strings.Contains(entry.URL, "error=") {
			b.t.Errorf("the history has %s", entry.URL)
		}
	}
}

func header(page *network.Response, name string) string {
	value, _ := page.Headers[name].(string)
	return value
}

func TestSignIn(t *testing.T) {
	w := newWorld(t)
	login, page := w.login("--prompt", "consent")
	to, _ := w.redirect(page)
	b := w.tab()
	b.open(page)
	b.signIn(alice, w.password(alice))
	if asked := b.text("#consent"); !strings.Contains(asked, alice) || !strings.Contains(asked, "Incident.ReadWrite") {
		t.Errorf("asked to consent to %s", asked)
	}
	accepted(b, to, b.click("#consent button[value=accept]"), "You can close this window")
	w.signedIn(login, alice, aliceObject)

	// Who listened for the browser has gone, and the browser trusts the fake
	// Entra's key, not its authority.
	if conn, err := new(net.Dialer).DialContext(w.ctx, "tcp", strings.TrimPrefix(to, "http://")); err == nil {
		conn.Close()
		t.Errorf("somebody still listens at %s", to)
	}
	if _, err := chromedp.Run(b.ctx, chromedp.Navigate(w.fakes.Defender)); err == nil || !strings.Contains(err.Error(), "ERR_CERT_AUTHORITY_INVALID") {
		t.Errorf("the browser trusts too much: %v", err)
	}
}

func TestConsentDeclined(t *testing.T) {
	w := newWorld(t)
	login, page := w.login("--prompt", "consent")
	to, _ := w.redirect(page)
	b := w.tab()
	b.open(page)
	b.signIn(alice, w.password(alice))
	accepted(b, to, b.click("#consent button[value=cancel]"), "Nobody was signed in")
	w.signedOut(login, "declined: run: tokenbroker login me, and accept what is asked (AADSTS65004)")
}

func TestWrongPassword(t *testing.T) {
	w := newWorld(t)
	login, page := w.login()
	to, _ := w.redirect(page)
	b := w.tab()
	b.open(page)
	b.signIn(alice, "not-the-password")
	if said := b.text("#error"); !strings.Contains(said, "AADSTS50126") {
		t.Errorf("the page says %q", said)
	}
	b.write("#password input[name=passwd]", w.password(alice)) // the name still stands there
	accepted(b, to, b.click("#password button[value=next]"), "You can close this window")
	w.signedIn(login, alice, aliceObject)
}

// Other pages send the browser to the listener too: with an answer of their
// own, and with the right one once more.
func TestForgedAndReplayedAnswers(t *testing.T) {
	w := newWorld(t)
	login, page := w.login()
	to, state := w.redirect(page)
	refused := func(answer url.Values, why string) {
		t.Helper()
		b := w.tab()
		if got := b.open(to + "/?" + answer.Encode()); got.Status != http.StatusBadRequest || !strings.Contains(b.text("p"), why) {
			t.Errorf("%d %s, want 400 %s", got.Status, b.text("p"), why)
		}
	}
	refused(url.Values{"code": {"stolen"}, "state": {"forged"}}, "it is of another sign-in")
	refused(url.Values{"error": {"access_denied"}}, "it is of another sign-in")
	refused(url.Values{"code": {"stolen", "stolen"}, "state": {state}}, "there is no code in it")

	b := w.tab()
	b.open(page)
	w.faults(`{"hang": true}`) // so that the sign-in is under way for as long as we like
	last := b.signIn(alice, w.password(alice))
	accepted(b, to, last, "You can close this window")
	right, err := url.Parse(last.URL)
	w.must(err)
	if right.Query().Get("code") == "" || right.Query().Get("state") != state {
		t.Fatalf("the browser was sent to %s", last.URL)
	}
	refused(right.Query(), "the sign-in has had its answer")
	refused(url.Values{"code": {"stolen"}, "state": {state}}, "the sign-in has had its answer")
	w.faults(`{}`)
	w.signedIn(login, alice, aliceObject)
}

// Who signs in after somebody else is never served with what was theirs.
func TestAnotherUserSignsIn(t *testing.T) {
	w := newWorld(t)
	login, page := w.login()
	b := w.tab()
	b.open(page)
	b.signIn(alice, w.password(alice))
	w.signedIn(login, alice, aliceObject)

	login, page = w.login("--prompt", "select_account")
	to, _ := w.redirect(page)
	b.open(page)
	if offered := b.text("#account"); !strings.Contains(offered, alice) {
		t.Errorf("the browser has forgotten: %s", offered)
	}
	b.click(`#account button[value=""]`)
	accepted(b, to, b.signIn(bob, w.password(bob)), "You can close this window")
	w.signedIn(login, bob, bobObject)
}
