package proxy

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/budget"
)

func TestPatienceIsTakenFromThePreferences(t *testing.T) {
	lines := func(lines ...string) []string { return lines }
	for _, tc := range []struct {
		name  string
		lines []string
		want  time.Duration
		rest  []string
	}{
		{"none", nil, 0, nil},
		{"others", lines("return=minimal, respond-async"), 0, lines("return=minimal, respond-async")},
		{"alone", lines("wait=10"), 10 * time.Second, nil},
		{"spelt otherwise", lines(` WAIT = "10" ; foo`), 10 * time.Second, nil},
		{"among others", lines("return=minimal,wait=10 , respond-async"), 10 * time.Second, lines("return=minimal, respond-async")},
		{"in another line", lines("return=minimal", "wait=10", "respond-async"), 10 * time.Second, lines("return=minimal", "respond-async")},
		{"twice: the first counts", lines("wait=10, wait=20", "wait=30"), 10 * time.Second, nil},
		{"of another name", lines("awaits=5, wait-not=6"), 0, lines("awaits=5, wait-not=6")},
		{"in a quoted string", lines(`x="a, wait=5, \", wait=6"`), 0, lines(`x="a, wait=5, \", wait=6"`)},
		{"too long", lines("wait=301"), budget.MaxPatience, nil},
		{"far too long", lines("wait=99999999999"), 0, nil},
		{"zero", lines("wait=0"), 0, nil},
		{"negative", lines("wait=-1"), 0, nil},
		{"a fraction", lines("wait=1.5"), 0, nil},
		{"no value", lines("wait"), 0, nil},
		{"a malformed one first", lines("wait=soon, wait=5"), 0, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := http.Header{}
			if tc.lines != nil {
				h["Prefer"] = tc.lines
			}
			got := takePatience(h)
			if diff := cmp.Diff(h["Prefer"], tc.rest); got != tc.want || diff != "" {
				t.Errorf("%v, want %v; what is left (-got +want):\n%s", got, tc.want, diff)
			}
		})
	}
}

// FuzzPrefer: the patience is bounded, nothing of it stays, and without one
// nothing is changed.
func FuzzPrefer(f *testing.F) {
	f.Add(`return=minimal, wait=10;x="a,b"`)
	f.Add(`x="\", wait=1`)
	f.Add(`,wait,=,wait="5",`)
	f.Fuzz(func(t *testing.T, line string) {
		h := http.Header{"Prefer": {line}}
		got := takePatience(h)
		if got < 0 || got > budget.MaxPatience {
			t.Fatalf("%q: %v", line, got)
		}
		rest := strings.Join(h["Prefer"], ",")
		if len(rest) > len(line) || got == 0 && !strings.Contains(strings.ToLower(line), "wait") && rest != line {
			t.Errorf("%q became %q", line, rest)
		}
		if again := takePatience(h); again != 0 {
			t.Errorf("%q: %v stayed in %q", line, again, rest)
		}
	})
}
