package setup

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf16"
)

// shQuote writes s as one word of a POSIX shell, which reads everything between
// single quotes as it stands (POSIX.1-2024, Shell Command Language §2.2.2).
func shQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// psQuote writes s as a PowerShell expression, in ASCII: Windows PowerShell
// reads a file without a byte-order mark in the machine's code page, in which a
// byte of a UTF-8 character may be a curly quote, and a curly quote ends a
// string as ' does.
func psQuote(s string) string {
	var b strings.Builder
	b.WriteByte('\'')
	for _, r := range s {
		switch {
		case r == '\'':
			b.WriteString("''")
		case r < 0x80:
			b.WriteRune(r)
		default:
			b.WriteByte('\'')
			for _, unit := range utf16.Encode([]rune{r}) {
				fmt.Fprintf(&b, " + [char]0x%04X", unit)
			}
			b.WriteString(" + '")
		}
	}
	b.WriteByte('\'')
	if strings.Contains(b.String(), " + [char]") {
		return "(" + b.String() + ")"
	}
	return b.String()
}

// hclQuote writes s as a quoted template of HCL without an interpolation.
func hclQuote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "${", "$${", "%{", "%%{").Replace(s) + `"`
}

// yamlQuote writes s as a double-quoted scalar: YAML 1.2 takes JSON's strings.
func yamlQuote(s string) string { return jsonText(s) }

// jsonText writes v in JSON, which cannot fail for strings and what holds them.
func jsonText(v any) string {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(v)
	return strings.TrimSuffix(b.String(), "\n")
}
