package defenderemu

import "slices"

// token is a word, a string or a sign of a $filter or of a hunting query.
type token struct {
	class tokenClass
	text  string // of a string: without the quotes
	at    int    // where it begins, in bytes
}

type tokenClass uint8

const (
	endOfInput tokenClass = iota
	word                  // a name, a keyword, a number, a time
	quoted                // a string
	sign                  // ( ) , : and in queries = < > | …
)

// cursor is where a parser stands in its tokens, the last of which is
// endOfInput.
type cursor struct{ tokens []token }

// next takes a token.
func (c *cursor) next() token {
	t := c.tokens[0]
	if t.class != endOfInput {
		c.tokens = c.tokens[1:]
	}
	return t
}

// accept takes the next token if it is one of these words or signs.
func (c *cursor) accept(texts ...string) bool {
	t := c.tokens[0]
	if t.class == quoted || t.class == endOfInput || !slices.Contains(texts, t.text) {
		return false
	}
	c.next()
	return true
}

// calls reports whether a word comes next that a parenthesis follows.
func (c *cursor) calls() bool {
	return c.tokens[0].class == word && c.tokens[1].class == sign && c.tokens[1].text == "("
}
