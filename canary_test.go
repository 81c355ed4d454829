package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// canaries are what must not be said: how it would be written, in lower case,
// and what that is.
type canaries map[string]string

// add adds a secret. Of a token, the signature alone is as telling as the whole:
// who has it needs only the claims, which are no secret.
func (c canaries) add(what, secret string) {
	for _, f := range forms(secret) {
		if written := strings.ToLower(f.written); c[written] == "" {
			c[written] = what + ", " + f.name
		}
	}
	if parts := strings.Split(secret, "."); len(parts) == 3 {
		c.add("the signature of "+what, parts[2])
	}
}

// in lists which canaries sing in a text, letter case aside.
func (c canaries) in(text string) []string {
	text = strings.ToLower(text)
	var found []string
	for written, what := range c {
		if strings.Contains(text, written) {
			found = append(found, what)
		}
	}
	slices.Sort(found)
	return found
}

// form is a way to write a secret.
type form struct{ name, written string }

// forms are the ways in which a secret is likely to be written.
func forms(secret string) []form {
	all := []form{
		{"plain", secret},
		{"hex", hex.EncodeToString([]byte(secret))},
		{"bytes", strings.Trim(fmt.Sprintf("%d", []byte(secret)), "[]")},
		{"URL, query", url.QueryEscape(secret)},
		{"URL, path", url.PathEscape(secret)},
		{"quoted", unquoted(strconv.Quote(secret))},
		{"quoted in ASCII", unquoted(strconv.QuoteToASCII(secret))},
	}
	for _, f := range slices.Clone(all) {
		all = append(all, form{f.name + ", in JSON", inJSON(f.written, false)}, form{f.name + ", in HTML-safe JSON", inJSON(f.written, true)})
	}
	// In base64, what a text becomes depends on what stands around it.
	for before := range 3 {
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			encoded := encoding.EncodeToString(append(make([]byte, before), secret...))
			if (before+len(secret))%3 != 0 {
				encoded = encoded[:len(encoded)-1]
			}
			all = append(all, form{"base64 after " + strconv.Itoa(before) + " bytes", encoded[(before*8+5)/6:]})
		}
	}
	return all
}

func inJSON(s string, htmlSafe bool) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(htmlSafe)
	_ = encoder.Encode(s) // a string in memory
	return unquoted(strings.TrimSpace(b.String()))
}

func unquoted(s string) string { return s[1 : len(s)-1] }

// TestCanariesAreHeard shows that the check below can fail: it plants a secret
// in each of the ways that it knows, and in some that come about by themselves.
func TestCanariesAreHeard(t *testing.T) {
	t.Parallel()
	const secret = clientSecret
	jwt := "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"
	hidden := canaries{}
	hidden.add("the secret", secret)
	hidden.add("a token", jwt)

	logLine, err := json.Marshal(map[string]string{"err": fmt.Sprintf("server said %q", secret)})
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{
		"log line":   string(logLine),
		"form":       url.Values{"client_secret": {secret}}.Encode(),
		"basic":      "Basic " + base64.StdEncoding.EncodeToString([]byte("id:"+secret+"!")),
		"basic, URL": "Basic " + base64.URLEncoding.EncodeToString([]byte("id"+secret)),
		"hex":        fmt.Sprintf("%X", secret),
		"bytes":      fmt.Sprintf("%d", []byte("x"+secret)),
		"struct":     fmt.Sprintf("%+v %#v", struct{ S string }{secret}, []string{"a"}),
		"Go syntax":  fmt.Sprintf("%#v", struct{ S string }{secret}),
		"header":     "Authorization: Bearer " + jwt,
		"signature":  "..." + jwt[strings.LastIndexByte(jwt, '.')+1:] + "...",
	}
	for _, f := range forms(secret) {
		texts["form: "+f.name] = "before " + f.written + " after"
	}
	for where, text := range texts {
		if len(hidden.in(text)) == 0 {
			t.Errorf("%s: not heard in %s", where, text)
		}
	}
	for _, innocent := range []string{"", "REDACTED", jwt[:strings.LastIndexByte(jwt, '.')], secret[:len(secret)-1]} {
		if found := hidden.in(innocent); len(found) > 0 {
			t.Errorf("heard %v in %q", found, innocent)
		}
	}
}
