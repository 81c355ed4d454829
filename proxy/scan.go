package proxy

import (
	"bytes"
	"io"
)

// maxLink bounds a link as it stands in the JSON, in bytes. A longer one is
// passed on as it is.
const maxLink = 64 << 10

// The ends of the member names whose values are links, in lower case, with the
// quote that closes the name.
const (
	nextLink  = `@odata.nextlink"`
	deltaLink = `@odata.deltalink"`
)

// linkReader passes JSON on and rewrites the links in it. It holds back
// nothing but the one link that it is reading.
//
// The JSON is not parsed; it need not be. Behind a name's last letter an
// unescaped quote closes a string: in JSON no letter k stands before a string.
// So `@odata.nextLink"` is the end of a string wherever it occurs, of a
// member's name if a colon follows, and a link quoted inside a string value
// ends in `\"` and is not met. This finds links at any depth, as expanded
// collections ("alerts@odata.nextLink") and $batch answers have them, at the
// price of a search for "@". A name spelt with escapes is not found.
type linkReader struct {
	body    io.ReadCloser
	rewrite func(raw []byte) []byte // a link as it stands between its quotes, to what shall stand there

	find    linkFinder
	holding bool   // inside a link
	held    []byte // what has come of it
	escaped bool   // held ends in a backslash that escapes what follows
	out     []byte // to be passed on, before anything else
	in      []byte // read but not looked at, after out
	err     error  // of body, to be returned after in
}

// Close closes the body.
func (l *linkReader) Close() error { return l.body.Close() }

// Read passes on what there is, and waits for the body only when it has
// nothing else to give.
func (l *linkReader) Read(p []byte) (n int, err error) {
	for n < len(p) {
		switch {
		case len(l.out) > 0:
			c := copy(p[n:], l.out)
			l.out = l.out[c:]
			n += c
		case len(l.in) > 0 && l.holding:
			l.in = l.in[l.hold(l.in):]
		case len(l.in) > 0:
			window := l.in[:min(len(l.in), len(p)-n)]
			c := copy(p[n:], window[:l.pass(window)])
			l.in = l.in[c:]
			n += c
		case n > 0:
			return n, nil
		case l.err != nil && l.holding: // the link never ended
			l.release(l.held)
		case l.err != nil:
			return 0, l.err
		default:
			var c int
			c, l.err = l.body.Read(p)
			if !l.holding {
				n = l.pass(p[:c])
			}
			// p belongs to the caller: what is not passed on yet moves out of it.
			l.in = append([]byte(nil), p[n:c]...)
		}
	}
	return n, nil
}

// pass returns how much of b is passed on as it is: all of it, or up to the
// quote that opens a link, and then holding is set.
func (l *linkReader) pass(b []byte) int {
	n, found := l.find.next(b)
	l.holding = found
	return n
}

// hold takes the link's bytes off b, returns how many they were, and ends the
// holding with the link, or where it has become too long.
func (l *linkReader) hold(b []byte) int {
	for i, c := range b {
		switch {
		case l.escaped:
			l.escaped = false
		case c == '\\':
			l.escaped = true
		case c == '"':
			l.release(l.rewrite(append(l.held, b[:i]...)))
			return i
		}
		if len(l.held)+i >= maxLink {
			l.release(append(l.held, b[:i+1]...))
			return i + 1
		}
	}
	l.held = append(l.held, b...)
	return len(b)
}

func (l *linkReader) release(out []byte) {
	l.out, l.held, l.holding, l.escaped = out, nil, false, false
}

// linkFinder finds where links begin, in a text that comes in pieces. The zero
// value is at the text's beginning.
type linkFinder struct {
	name string // the name that is being matched, empty: none
	at   int    // how much of it has been met; len(name)+1: the colon too
}

// next looks for the quote that opens a link. It returns the length of b up to
// and with that quote, or all of b.
func (f *linkFinder) next(b []byte) (n int, found bool) {
	for n < len(b) {
		if f.name == "" {
			i := bytes.IndexByte(b[n:], '@')
			if i < 0 {
				return len(b), false
			}
			n += i + 1
			if n < len(b) && b[n]|0x20 != nextLink[1] {
				continue // a mail address, say: there are millions
			}
			f.name, f.at = nextLink, 1
			continue
		}
		found = f.step(b[n])
		n++
		if found {
			return n, true
		}
	}
	return n, false
}

// step takes one byte after an "@", and reports whether it opens a link.
func (f *linkFinder) step(c byte) (opens bool) {
	if 'A' <= c && c <= 'Z' {
		c |= 0x20
	}
	isSpace := c == ' ' || c == '\t' || c == '\n' || c == '\r'
	const fork = len("@odata.")
	if f.at == fork && c == deltaLink[fork] {
		f.name = deltaLink
	}
	switch {
	case f.at < len(f.name) && c == f.name[f.at]:
		f.at++
	case f.at == len(f.name) && c == ':':
		f.at++
	case f.at >= len(f.name) && isSpace:
	case f.at > len(f.name) && c == '"':
		f.name = ""
		return true
	case c == '@':
		f.name, f.at = nextLink, 1
	default:
		f.name = ""
	}
	return false
}
