package route_test

import (
	"net/url"
	"strings"
	"testing"

	"tokenbroker/entra"
	"tokenbroker/route"
)

func TestPatternMatch(t *testing.T) {
	for _, tt := range []struct {
		pattern string
		matches []string
		not     []string
	}{
		{
			"/api/incidents",
			[]string{"/api/incidents", "/api/incidents/", "/API/Incidents", "/api/v1.0/incidents", "/api/incidents/$count", "/api/%69ncidents"},
			[]string{"/", "/api", "/api/incidents/1", "/api/incident", "/v1.0/incidents"},
		},
		{
			"/api/incidents/*",
			[]string{"/api/incidents/1", "/api/incidents/1/", "/api/v1.0/incidents/a%20b"},
			[]string{"/api/incidents", "/api/incidents/1/2"},
		},
		{
			"/api/incidents/**",
			[]string{"/api/incidents", "/api/incidents/", "/api/incidents/1", "/api/incidents/1/2/3"},
			[]string{"/api/incidentsandmore", "/api/alerts", "/api"},
		},
		{
			"/API/v1.0/Machines/*/Isolate/",
			[]string{"/api/machines/1/isolate", "/api/v1.0/machines/1/ISOLATE"},
			[]string{"/api/machines/isolate", "/api/machines/1/unisolate"},
		},
		{
			"/api/machines/findbyip(ip='10.1.2.3')",
			[]string{"/api/machines/findbyip(ip='10.1.2.3')", "/api/machines/FindByIP(ip=%2710.1.2.3%27)"},
			[]string{"/api/machines/findbyip(ip='10.1.2.4')"},
		},
		{
			"/api/machineactions/*/GetLiveResponseResultDownloadLink(*)",
			[]string{"/api/machineactions/1/getliveresponseresultdownloadlink(index=0)", "/api/machineactions/1/GetLiveResponseResultDownloadLink()"},
			[]string{"/api/machineactions/1/getliveresponseresultdownloadlink", "/api/machineactions/1/other(index=0)", "/api/machineactions/1/getliveresponseresultdownloadlink(index=0)x"},
		},
		{"/api/libraryfiles/Été 1.ps1", []string{"/api/libraryfiles/%C3%A9t%C3%A9%201.ps1"}, []string{"/api/libraryfiles/ete%201.ps1"}},
		{"/**", []string{"/", "/api", "/api/incidents/1"}, nil},
		{"/*", []string{"/api"}, []string{"/", "/api/incidents"}},
		{"/", []string{"/"}, []string{"/api"}},
	} {
		p := pattern(t, tt.pattern)
		if p.String() != tt.pattern {
			t.Errorf("%s: String is %q", tt.pattern, p)
		}
		for _, raw := range tt.matches {
			if !p.Match(path(t, raw)) {
				t.Errorf("%s does not match %s", tt.pattern, raw)
			}
		}
		for _, raw := range tt.not {
			if p.Match(path(t, raw)) {
				t.Errorf("%s matches %s", tt.pattern, raw)
			}
		}
	}
}

func TestParsePatternRefusesWhatNoPathMatches(t *testing.T) {
	for _, tt := range []struct{ pattern, why string }{
		{"", "leading slash"},
		{"api/incidents", "leading slash"},
		{"/api/**/run", "at the end only"},
		{"/api/**/**", "at the end only"},
		{"/api/inc*", "a whole segment"},
		{"/api/***", "a whole segment"},
		{"/api/find*(*)", "a whole segment"},
		{"/api/find(ip=*)", "a whole segment"},
		{"/api/../x", "dot segments"},
		{"/api//x", "empty segments"},
		{"/api/%2f", "escaped twice"},
		{"/api/a?b", "?, # and ;"},
		{`/api/a\b`, "backslashes"},
		{"/api/a\nb", "control characters"},
		{"/api/\xff", "not UTF-8"},
	} {
		_, err := route.ParsePattern(tt.pattern)
		if entra.KindOf(err) != entra.Invalid || !strings.Contains(err.Error(), tt.why) {
			t.Errorf("%q: got %v, want invalid with %q", tt.pattern, err, tt.why)
		}
	}
}

func TestZeroPathIsMatchedByNothing(t *testing.T) {
	if pattern(t, "/api").Match(route.Path{}) {
		t.Error("the zero path is matched")
	}
}

func FuzzParsePattern(f *testing.F) {
	for _, seed := range []string{"/", "/**", "/api/*/x", "/api/incidents/**", "/api/a*", "/É", "/api/%41", "/a b", "/{id}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := route.ParsePattern(s)
		if err != nil {
			return
		}
		if p.String() != s {
			t.Errorf("%q: String is %q", s, p)
		}
		if strings.Contains(s, "*") {
			return
		}
		escaped := (&url.URL{Path: s}).EscapedPath()
		if !p.Match(path(t, escaped)) {
			t.Errorf("%q does not match itself, %s", s, escaped)
		}
	})
}
