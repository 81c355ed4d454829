package entraemu

import (
	"context"
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"tokenbroker/entra"
)

// Person goes through the sign-in pages as somebody at a browser does.
type Person struct {
	HTTP     *http.Client // gets to the fake; with a Jar the browser is remembered
	User     string
	Password string
	MFACode  string // empty: the right one

	DeviceCode   string // what to type in on the page that asks for a device's code
	Organisation bool   // consents for everybody, where that is offered
	Declines     string // the page to cancel on: account, password, mfa or consent
}

var (
	formStart  = regexp.MustCompile(`<form id="(\w+)" method="post"(?: action="([^"]*)")?>`)
	hiddenPart = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)
	errorPart  = regexp.MustCompile(`<p(?: id="error" role="alert")?>(AADSTS\d+: [^<\n]*)`)
	donePart   = regexp.MustCompile(`<p id="done">`)
)

// SignIn opens a page, and answers until the browser is sent on: to the app's
// redirect URI, by the request that it returns and has not made, or, for a
// device, to nowhere. What a page says is wrong is an error.
func (p *Person) SignIn(ctx context.Context, page string) (*http.Request, error) {
	browser := *p.HTTP
	browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
	for err == nil {
		var resp *http.Response
		if resp, err = browser.Do(req); err != nil {
			break
		}
		var body []byte
		body, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			break
		}
		if to, redirected := resp.Header["Location"]; redirected {
			return http.NewRequestWithContext(ctx, http.MethodGet, to[0], nil)
		}
		if donePart.Match(body) {
			return nil, nil
		}
		var step string
		if req, step, err = p.answer(req, string(body)); step == "answer" {
			return req, err
		}
	}
	return nil, entra.Errorf(entra.KindOf(err), "emulator.person", "sign in: %w", err)
}

// answer fills in the form of a page that was got by a request.
func (p *Person) answer(got *http.Request, page string) (req *http.Request, step string, err error) {
	start := formStart.FindStringSubmatch(page)
	if wrong := errorPart.FindStringSubmatch(page); wrong != nil || start == nil {
		text := "no form and no error"
		if wrong != nil {
			text = html.UnescapeString(wrong[1])
		}
		return nil, "", entra.Errorf(entra.Denied, "emulator.person", "the page says: %s", text)
	}
	form := url.Values{}
	for _, hidden := range hiddenPart.FindAllStringSubmatch(page, -1) {
		form.Add(html.UnescapeString(hidden[1]), html.UnescapeString(hidden[2]))
	}
	p.fill(start[1], form, page)
	action, err := got.URL.Parse(html.UnescapeString(start[2]))
	if err != nil {
		return nil, "", err
	}
	req, err = http.NewRequestWithContext(got.Context(), http.MethodPost, action.String(), strings.NewReader(form.Encode())) //nolint:gosec // where the pages of the fake lead
	if err == nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return req, start[1], err
}

// fill answers what a step asks.
func (p *Person) fill(step string, form url.Values, page string) {
	switch step {
	case "account":
		if strings.Contains(html.UnescapeString(page), `<button name="login" value="`+p.User+`">`) {
			form.Set("login", p.User)
		}
	case "password":
		form.Set("login", p.User)
		form.Set("passwd", p.Password)
	case "mfa":
		form.Set("otc", MFACode)
		if p.MFACode != "" {
			form.Set("otc", p.MFACode)
		}
	case "consent":
		if p.Organisation {
			form.Set("organisation", "yes")
		}
	case "device":
		form.Set("code", p.DeviceCode)
	}
	if step == p.Declines {
		form.Set("answer", "cancel")
	}
}
