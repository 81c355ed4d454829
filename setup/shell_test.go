package setup_test

import (
	"fmt"
	"slices"
	"strings"
)

// command is a simple command of a shell script: with its quotes taken away,
// its expansions written ${name}.
type command struct {
	assigns  map[string]string
	words    []string
	redirect string
	bare     []string // expansions outside quotes, which would be split
}

// parseShell reads the part of the shell's language that the scripts are
// written in (POSIX.1-2024, Shell Command Language §2.10), and returns the
// simple commands, those of substitutions among them. It is not lenient: what
// it does not know is a fault.
func parseShell(text string) ([]command, error) {
	p := &shell{text: text}
	err := p.list()
	if err == nil && p.at < len(p.text) {
		err = fmt.Errorf("%q is not expected here", p.rest())
	}
	if err != nil {
		return nil, fmt.Errorf("line %d: %w", 1+strings.Count(text[:p.at], "\n"), err)
	}
	return p.commands, nil
}

type shell struct {
	text     string
	at       int
	commands []command
}

func (p *shell) rest() string { return strings.SplitN(p.text[p.at:], "\n", 2)[0] }

func (p *shell) has(prefix string) bool { return strings.HasPrefix(p.text[p.at:], prefix) }

func (p *shell) take(prefix string) bool {
	if p.has(prefix) {
		p.at += len(prefix)
		return true
	}
	return false
}

// blanks skips spaces, continued lines, and comments where a word could begin.
func (p *shell) blanks() {
	for p.take(" ") || p.take("\t") || p.take("\\\n") {
	}
	if p.has("#") {
		p.at += len(p.rest())
	}
}

func (p *shell) lines() {
	for p.blanks(); p.take("\n") || p.take(";"); p.blanks() {
	}
}

// keyword takes a reserved word where a command could begin.
func (p *shell) keyword(word string) bool {
	if !p.has(word) {
		return false
	}
	if after := p.at + len(word); after < len(p.text) && !strings.ContainsRune(" \t\n;", rune(p.text[after])) {
		return false
	}
	p.at += len(word)
	return true
}

// list reads commands until something that ends a list.
func (p *shell) list() error {
	for p.lines(); p.at < len(p.text) && !p.ends(); p.lines() {
		if err := p.andOr(); err != nil {
			return err
		}
		if p.blanks(); p.at < len(p.text) && !p.has("\n") && !p.has(";") && !p.ends() {
			return fmt.Errorf("%q after a command", p.rest())
		}
	}
	return nil
}

func (p *shell) ends() bool {
	return p.has(")") || p.has("}") || slices.ContainsFunc([]string{"then", "elif", "else", "fi", "do", "done"}, func(word string) bool {
		start := p.at
		found := p.keyword(word)
		p.at = start
		return found
	})
}

func (p *shell) andOr() error {
	for {
		if err := p.command(); err != nil {
			return err
		}
		if p.blanks(); !p.take("&&") && !p.take("||") && !p.take("|") {
			return nil
		}
		p.lines()
	}
}

func (p *shell) command() error {
	p.blanks()
	switch {
	case p.keyword("if"):
		return p.conditional()
	case p.keyword("until"), p.keyword("while"):
		return p.sequence("do", "done")
	case p.keyword("{"):
		if err := p.list(); err != nil {
			return err
		}
		if !p.take("}") {
			return fmt.Errorf("want }, got %q", p.rest())
		}
		return nil
	}
	name := p.at
	for p.at < len(p.text) && (p.text[p.at] == '_' || p.text[p.at] >= 'a' && p.text[p.at] <= 'z') {
		p.at++
	}
	if p.at > name && p.take("() {") {
		p.at--
		return p.command()
	}
	p.at = name
	return p.simple()
}

func (p *shell) conditional() error {
	if err := p.list(); err != nil {
		return err
	}
	if !p.keyword("then") {
		return fmt.Errorf("want then, got %q", p.rest())
	}
	if err := p.list(); err != nil {
		return err
	}
	switch {
	case p.keyword("elif"):
		return p.conditional()
	case p.keyword("else"):
		if err := p.list(); err != nil {
			return err
		}
	}
	if !p.keyword("fi") {
		return fmt.Errorf("want fi, got %q", p.rest())
	}
	return nil
}

func (p *shell) sequence(words ...string) error {
	for _, word := range words {
		if err := p.list(); err != nil {
			return err
		}
		if !p.keyword(word) {
			return fmt.Errorf("want %s, got %q", word, p.rest())
		}
	}
	return nil
}

func (p *shell) simple() error {
	c := command{assigns: map[string]string{}}
	for p.blanks(); p.at < len(p.text) && !strings.ContainsRune("\n;|&)}", rune(p.text[p.at])); p.blanks() {
		if p.take("1>&2") || p.take("3>&1") || p.take(">&2") || p.take(">&3") {
			continue
		}
		if p.take(">") {
			target, err := p.word(&c)
			if err != nil {
				return err
			}
			c.redirect = target
			continue
		}
		start, bare := p.at, len(c.bare)
		word, err := p.word(&c)
		if err != nil {
			return err
		}
		name, _, assigned := strings.Cut(p.text[start:p.at], "=")
		if assigned && len(c.words) == 0 && isName(name) {
			c.assigns[name] = strings.TrimPrefix(word, name+"=")
			c.bare = c.bare[:bare] // an assignment's value is not split
			continue
		}
		c.words = append(c.words, word)
	}
	if len(c.words) == 0 && len(c.assigns) == 0 {
		return fmt.Errorf("want a command, got %q", p.rest())
	}
	p.commands = append(p.commands, c)
	return nil
}

// word reads a word, with its quotes taken away.
func (p *shell) word(c *command) (string, error) {
	var b strings.Builder
	for quoted := false; p.at < len(p.text); {
		switch char := p.text[p.at]; {
		case char == '"':
			quoted = !quoted
			p.at++
		case char == '$':
			expansion, err := p.expansion()
			if err != nil {
				return "", err
			}
			if !quoted {
				c.bare = append(c.bare, expansion)
			}
			b.WriteString(expansion)
		case char == '`':
			return "", fmt.Errorf("a backquote outside single quotes: %q", p.rest())
		case quoted && char == '\\' && p.at+1 < len(p.text) && strings.ContainsRune("$`\"\\", rune(p.text[p.at+1])):
			b.WriteByte(p.text[p.at+1])
			p.at += 2
		case quoted:
			b.WriteByte(char)
			p.at++
		case char == '\'':
			text, _, closed := strings.Cut(p.text[p.at+1:], "'")
			if !closed {
				return "", fmt.Errorf("a quote without an end: %q", p.rest())
			}
			b.WriteString(text)
			p.at += len(text) + 2
		case char == '\\':
			if p.at+1 == len(p.text) || p.text[p.at+1] != '\'' {
				return "", fmt.Errorf("a backslash before something else than a quote: %q", p.rest())
			}
			b.WriteByte('\'')
			p.at += 2
		case strings.ContainsRune(" \t\n;|&)>", rune(char)):
			return b.String(), nil
		case strings.ContainsRune("(<*?~!", rune(char)):
			return "", fmt.Errorf("%q outside quotes", p.rest())
		default:
			b.WriteByte(char)
			p.at++
		}
	}
	return b.String(), nil
}

// expansion reads what begins with a dollar sign.
func (p *shell) expansion() (string, error) {
	p.at++
	switch {
	case p.take("(("):
		text, _, closed := strings.Cut(p.text[p.at:], "))")
		if !closed {
			return "", fmt.Errorf("arithmetic without an end: %q", p.rest())
		}
		p.at += len(text) + 2
		return "${((" + text + "))}", nil
	case p.take("("):
		if err := p.list(); err != nil {
			return "", err
		}
		if !p.take(")") {
			return "", fmt.Errorf("want ), got %q", p.rest())
		}
		return "${()}", nil
	case p.take("{"):
		text, _, closed := strings.Cut(p.text[p.at:], "}")
		if !closed {
			return "", fmt.Errorf("want }, got %q", p.rest())
		}
		p.at += len(text) + 1
		return "${" + text + "}", nil
	case p.has("1"), p.has("2"), p.has("@"), p.has("*"):
		p.at++
		return "${" + p.text[p.at-1:p.at] + "}", nil
	}
	start := p.at
	for p.at < len(p.text) && isName(p.text[start:p.at+1]) {
		p.at++
	}
	if p.at == start {
		return "", fmt.Errorf("a dollar sign of nothing: %q", p.rest())
	}
	return "${" + p.text[start:p.at] + "}", nil
}

func isName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
	}) && (s[0] < '0' || s[0] > '9')
}
