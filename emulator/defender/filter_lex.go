package defenderemu

import "strings"

// lexFilter cuts a $filter into tokens. The last one is endOfInput.
func lexFilter(s string) ([]token, error) {
	var tokens []token
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == ' ' || c == '\t':
			i++
		case c == '\'':
			text, length, ok := odataString(s[i:])
			if !ok {
				return nil, odataError("There is an unterminated string literal at position %d in '%s'.", i, s)
			}
			tokens = append(tokens, token{quoted, text, i})
			i += length
		case strings.IndexByte("(),:", c) >= 0:
			tokens = append(tokens, token{sign, s[i : i+1], i})
			i++
		case isWordByte(c) || c == '-':
			n := wordLength(s[i:])
			tokens = append(tokens, token{word, s[i : i+n], i})
			i += n
		default:
			return nil, odataError("Syntax error: character %q is not valid at position %d in '%s'.", c, i, s)
		}
	}
	return append(tokens, token{at: len(s)}), nil
}

// odataString reads a string in single quotes, in which two stand for one.
func odataString(s string) (text string, length int, ok bool) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		if s[i] != '\'' {
			b.WriteByte(s[i])
			continue
		}
		if i+1 < len(s) && s[i+1] == '\'' {
			b.WriteByte('\'')
			i++
			continue
		}
		return b.String(), i + 1, true
	}
	return "", 0, false
}

// wordLength is how far a word reaches. One that begins as a number may hold
// the signs of a time: 2026-01-02T03:04:05+01:00.
func wordLength(s string) int {
	signs := "_./-"
	if !isLetter(s[0]) {
		signs = "_./-:+"
	}
	n := 1
	for n < len(s) && (isWordByte(s[n]) || strings.IndexByte(signs, s[n]) >= 0) {
		n++
	}
	return n
}

func isLetter(c byte) bool   { return 'a' <= c|0x20 && c|0x20 <= 'z' }
func isDigit(c byte) bool    { return '0' <= c && c <= '9' }
func isWordByte(c byte) bool { return isLetter(c) || isDigit(c) || c == '_' }
