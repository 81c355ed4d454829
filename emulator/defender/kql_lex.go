package defenderemu

import "strings"

// kqlSigns are the signs of the language, longer ones first.
var kqlSigns = []string{"==", "!=", "=~", "!~", "<=", ">=", "<", ">", "=", "|", "(", ")", ",", "!", "~"}

// lexKQL cuts a query into tokens. The last one is endOfInput.
func lexKQL(s string) ([]token, error) {
	var tokens []token
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			i++
		case strings.HasPrefix(s[i:], "//"):
			i += max(strings.IndexByte(s[i:]+"\n", '\n'), 1)
		case c == '"' || c == '\'' || c == '@' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\''):
			text, length, ok := kqlString(s[i:])
			if !ok {
				return nil, badQuery("unterminated string at position %d", i)
			}
			tokens = append(tokens, token{quoted, text, i})
			i += length
		case isWordByte(c) || c == '-':
			n := 1
			for i+n < len(s) && (isWordByte(s[i+n]) || strings.IndexByte(".:-", s[i+n]) >= 0) {
				n++
			}
			tokens = append(tokens, token{word, s[i : i+n], i})
			i += n
		default:
			text := signAt(s[i:])
			if text == "" {
				return nil, badQuery("character %q at position %d is not understood by this emulator", c, i)
			}
			tokens = append(tokens, token{sign, text, i})
			i += len(text)
		}
	}
	return append(tokens, token{at: len(s)}), nil
}

func signAt(s string) string {
	for _, text := range kqlSigns {
		if strings.HasPrefix(s, text) {
			return text
		}
	}
	return ""
}

// kqlString reads a string: in either quotes, with backslashes, or verbatim
// after an @.
func kqlString(s string) (text string, length int, ok bool) {
	verbatim := s[0] == '@'
	i := 0
	if verbatim {
		i = 1
	}
	quote := s[i]
	var b strings.Builder
	for i++; i < len(s); i++ {
		switch c := s[i]; {
		case c == quote:
			return b.String(), i + 1, true
		case c == '\\' && !verbatim && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", 0, false
}

func badQuery(format string, args ...any) *refusal {
	return badRequest("BadRequest", "Query could not be run: "+format+".", args...)
}
