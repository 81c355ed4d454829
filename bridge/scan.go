package bridge

import (
	"encoding/json"
	"errors"
)

// token is what a scanner finds: the byte itself of structure, or one of these.
type token byte

const (
	nothing token = 0   // all was read, and more has to come
	part    token = 's' // a piece of a string, its opening quote included
	text    token = '"' // the last piece of one, with the closing quote
	scalar  token = '1' // a number, true, false or null: whole
)

// maxScalar bounds what is no string, in bytes. A decimal has 34 digits.
const maxScalar = 512

var errJSON = errors.New("not JSON (RFC 8259)")

// scanner cuts JSON that comes in pieces into tokens. It knows which tokens are
// well-formed, not where they may stand. The zero value is at the beginning.
type scanner struct {
	inString bool
	escape   int    // how many bytes of an escape are to come; -1: the one that says so
	scalar   []byte // what has come of one
}

// next returns the first token of b, b[from:to]; of a scalar the text is kept
// apart. Space before a token is passed over.
func (s *scanner) next(b []byte) (tok token, from, to int, err error) {
	if s.inString {
		tok, to, err = s.string(b, 0)
		return tok, 0, to, err
	}
	n := 0
	for n < len(b) {
		c := b[n]
		switch c {
		case ' ', '\t', '\r', '\n', '{', '}', '[', ']', ':', ',', '"':
			if len(s.scalar) > 0 {
				return scalar, n, n, s.check()
			}
		default:
			if len(s.scalar) == maxScalar {
				return nothing, n, n, errJSON
			}
			s.scalar = append(s.scalar, c)
			n++
			continue
		}
		n++
		switch c {
		case '"':
			s.inString = true
			tok, to, err = s.string(b, n)
			return tok, n - 1, to, err
		case '{', '}', '[', ']', ':', ',':
			return token(c), n - 1, n, nil
		}
	}
	return nothing, n, n, nil
}

// end returns the scalar that the end of the text ends, if there is one.
func (s *scanner) end() (token, error) {
	if len(s.scalar) == 0 {
		return nothing, nil
	}
	return scalar, s.check()
}

// check refuses a scalar that is none.
func (s *scanner) check() error {
	if !json.Valid(s.scalar) {
		return errJSON
	}
	return nil
}

// string returns the piece of a string that b holds.
func (s *scanner) string(b []byte, n int) (token, int, error) {
	for ; n < len(b); n++ {
		switch c := b[n]; {
		case s.escape < 0:
			switch c {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
				s.escape = 0
			case 'u':
				s.escape = 4
			default:
				return nothing, n, errJSON
			}
		case s.escape > 0:
			if !isHex(c) {
				return nothing, n, errJSON
			}
			s.escape--
		case c == '"':
			s.inString = false
			return text, n + 1, nil
		case c == '\\':
			s.escape = -1
		case c < ' ':
			return nothing, n, errJSON
		}
	}
	return part, n, nil
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}
