package browser

import (
	"context"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// tab is one of the browser's, with the cookies of the others.
type tab struct {
	t   *testing.T
	ctx context.Context // chromedp's handle
}

func (w *world) tab() *tab {
	w.t.Helper()
	ctx, cancel := chromedp.NewContext(w.browser)
	w.t.Cleanup(cancel)
	w.must(chromedp.Do(ctx))
	return &tab{w.t, ctx}
}

// get has the tab do something.
func get[T any](b *tab, action chromedp.Action[T]) T {
	b.t.Helper()
	value, err := chromedp.Run(b.ctx, action)
	if err != nil {
		b.t.Fatal(err)
	}
	return value
}

// open goes to an address.
func (b *tab) open(address string) *network.Response {
	b.t.Helper()
	return get(b, chromedp.NavigateResponse(address))
}

// follow does what leads to another page, and returns that.
func (b *tab) follow(step chromedp.Action[chromedp.Void]) *network.Response {
	b.t.Helper()
	page, err := chromedp.RunResponse(b.ctx, step)
	if err != nil {
		b.t.Fatal(err)
	}
	return page
}

// click clicks on what leads to another page, and returns that.
func (b *tab) click(selector string) *network.Response {
	b.t.Helper()
	return b.follow(chromedp.Click(chromedp.CSS(selector)))
}

// write types into a field.
func (b *tab) write(selector, text string) {
	b.t.Helper()
	get(b, chromedp.SendKeys(chromedp.CSS(selector), text))
}

// text is what stands there.
func (b *tab) text(selector string) string {
	b.t.Helper()
	return get(b, chromedp.Text(chromedp.CSS(selector)))
}

// signIn fills in the fake Entra's form, and returns the page after that.
func (b *tab) signIn(user, password string) *network.Response {
	b.t.Helper()
	b.write("#password input[name=login]", user)
	b.write("#password input[name=passwd]", password)
	return b.click("#password button[value=next]")
}
