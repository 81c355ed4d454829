package proxy

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"tokenbroker/budget"
)

// takePatience reads the preference "wait" of RFC 7240 §4.3, how long the caller
// is willing to wait, and takes it out of what goes on to the upstream: it is
// meant for who keeps the line. Of several the first counts (§2), and one that
// is malformed is as good as none. Other preferences stay as they were written.
func takePatience(h http.Header) time.Duration {
	var patience time.Duration
	seen := false
	var rest []string
	for _, line := range h["Prefer"] {
		kept, taken := []string{}, false
		for _, preference := range splitList(line) {
			wait, ok := cutWait(preference)
			if !ok {
				kept = append(kept, preference)
				continue
			}
			taken = true
			if !seen {
				seen, patience = true, wait
			}
		}
		switch {
		case !taken:
			rest = append(rest, line)
		case len(kept) > 0:
			rest = append(rest, strings.TrimSpace(strings.Join(kept, ",")))
		}
	}
	if seen {
		delete(h, "Prefer")
		if len(rest) > 0 {
			h["Prefer"] = rest
		}
	}
	return patience
}

// cutWait reads one preference; ok: it is "wait". Parameters after a semicolon
// mean nothing with it.
func cutWait(preference string) (patience time.Duration, ok bool) {
	named, _, _ := strings.Cut(preference, ";")
	name, value, _ := strings.Cut(named, "=")
	if !strings.EqualFold(strings.TrimSpace(name), "wait") {
		return 0, false
	}
	value = strings.TrimSpace(value)
	if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
		value = value[1 : len(value)-1]
	}
	seconds, err := strconv.ParseUint(value, 10, 31)
	if err != nil {
		return 0, true
	}
	return min(time.Duration(seconds)*time.Second, budget.MaxPatience), true
}

// splitList cuts a list at its commas, not at those inside a quoted string.
func splitList(line string) []string {
	var all []string
	quoted, from := false, 0
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			all = append(all, line[from:i])
			from = i + 1
		}
	}
	return append(all, line[from:])
}
