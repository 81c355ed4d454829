package cli

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"tokenbroker/defender"
	"tokenbroker/entra"
	"tokenbroker/setup"
)

// report is what decode says of a token.
type report struct {
	Header      json.RawMessage `json:"header"`
	Claims      json.RawMessage `json:"claims"`
	Audience    entra.Audience  `json:"audience"`
	API         string          `json:"api"` // in words; empty: not one that the catalogue knows
	Tenant      string          `json:"tenant"`
	Issuer      string          `json:"issuer"`
	Version     string          `json:"version"`        // of the token's format: 1.0, 2.0; empty: it does not say
	Client      string          `json:"client"`         // the app that got it
	User        string          `json:"user,omitempty"` // by name, or by object id
	Kind        string          `json:"kind"`
	Permissions []string        `json:"permissions"`
	Times       []string        `json:"times"`
	Opens       []string        `json:"opens"`
	Missing     []lack          `json:"missing"`
	Routes      []routeOpened   `json:"routes,omitempty"` // where a configuration was named
	Advice      []string        `json:"advice,omitempty"`
}

// lack is a permission that a token does not have, and what it would open.
type lack struct {
	Permission string   `json:"permission"`
	Opens      []string `json:"opens"`
}

// inspect says what a token is good for, as far as the token itself tells.
func inspect(catalogue *defender.Catalogue, jwt entra.JWT, now time.Time) *report {
	c := jwt.Claims
	r := &report{
		Header: jwt.Header, Claims: jwt.Payload, Audience: c.Audience, Tenant: c.Tenant, Issuer: c.Issuer, Version: c.Version, Client: c.Client(),
		Kind: "application (roles)", Permissions: c.Permissions(), Times: times(&c, now),
		Opens: []string{}, Missing: []lack{},
	}
	if c.Delegated() {
		r.Kind, r.User = "delegated (scp)", cmp.Or(c.User, preferredName(jwt), c.Object)
	}
	var closed []defender.Endpoint
	for _, e := range catalogue.Endpoints() {
		if !catalogue.Opens(c.Audience, e.API) {
			continue
		}
		r.API = string(e.API)
		if defender.Missing(&e, &c) == nil {
			r.Opens = append(r.Opens, e.String())
		} else {
			closed = append(closed, e)
		}
	}
	for _, n := range setup.Least(closed, c.Delegated()) {
		r.Missing = append(r.Missing, lack{n.Name, n.Opens})
	}
	slices.SortStableFunc(r.Missing, func(a, b lack) int { return len(b.Opens) - len(a.Opens) })
	r.Advice = advice(jwt, r, closed, now)
	return r
}

// preferredName is what version 2 of a token calls its user.
func preferredName(jwt entra.JWT) string {
	var claims struct {
		Name string `json:"preferred_username"`
	}
	_ = json.Unmarshal(jwt.Payload, &claims) // of another type it is no name
	return claims.Name
}

// advice names what is likely wrong with a token.
func advice(jwt entra.JWT, r *report, closed []defender.Endpoint, now time.Time) []string {
	c := &jwt.Claims
	var lines []string
	if hasNonce(jwt) {
		lines = append(lines, "it is one of Microsoft Graph's own (nonce in its header): nobody but Graph can verify it")
	}
	if exp := c.Expires.Time(); !exp.IsZero() && !now.Before(exp) {
		lines = append(lines, "it has expired")
	}
	if nbf := c.NotBefore.Time(); now.Add(time.Minute).Before(nbf) {
		lines = append(lines, "it is not valid yet: is this machine's clock right?")
	}
	switch {
	case r.Client == "":
		lines = append(lines, "it names no client (appid, azp): it is no access token; an ID token opens no API")
	case r.API == "":
		lines = append(lines, "its audience is no Defender API that the catalogue knows")
	case len(r.Permissions) == 0:
		lines = append(lines, "it has no permissions: add them to the app registration under this API, then grant admin consent")
	case len(r.Opens) == 0:
		lines = append(lines, "its permissions open no endpoint of this API")
	}
	if c.Delegated() {
		lines = append(lines, forApplications(closed)...)
	}
	return lines
}

// issuedBy names the issuer, which has one name in tokens of version 1 and
// another in those of version 2, whichever endpoint gave them.
func issuedBy(issuer, version string) string {
	if version != "" {
		version = " (version " + version + ")"
	}
	return orElse(issuer, "not named") + version
}

// hasNonce reports whether the header has what Graph puts there, by which the
// signature that others see is not the one that Graph checks.
func hasNonce(jwt entra.JWT) bool {
	var header map[string]json.RawMessage
	_ = json.Unmarshal(jwt.Header, &header) // what is no object has none
	_, ok := header["nonce"]
	return ok
}

// forApplications names the endpoints that no user's token opens.
func forApplications(closed []defender.Endpoint) []string {
	var names []string
	for _, e := range closed {
		if len(e.Delegated) == 0 {
			names = append(names, e.String())
		}
	}
	if len(names) == 0 {
		return nil
	}
	return []string{some(names) + ": for applications, no user's token opens that"}
}

func times(c *entra.Claims, now time.Time) []string {
	var lines []string
	for _, t := range []struct {
		name string
		at   entra.Epoch
	}{{"issued", c.IssuedAt}, {"valid from", c.NotBefore}, {"expires", c.Expires}} {
		if t.at != 0 {
			lines = append(lines, fmt.Sprintf("%s %s (%s)", t.name, t.at.Time().Format(time.RFC3339), relative(t.at.Time().Sub(now))))
		}
	}
	return lines
}

func relative(d time.Duration) string {
	if d < 0 {
		return (-d).Round(time.Second).String() + " ago"
	}
	return "in " + d.Round(time.Second).String()
}

func (r *report) write(w io.Writer) error {
	w = &printable{w}
	var header, claims bytes.Buffer
	_ = json.Compact(&header, r.Header) // both are JSON, ParseJWT has seen to it
	_ = json.Indent(&claims, r.Claims, "", "  ")
	fmt.Fprintf(w, "header       %s\nclaims       %s\n\n", field(header.String()), claims.String())
	line := func(name, value string) { fmt.Fprintf(w, "%-12s %s\n", name, field(value)) }
	line("audience", strings.Join(r.Audience, ", "))
	line("api", orElse(r.API, "unknown"))
	line("tenant", orElse(r.Tenant, "not named"))
	line("issuer", issuedBy(r.Issuer, r.Version))
	line("client", orElse(r.Client, "not named"))
	if r.User != "" {
		line("user", r.User)
	}
	line("kind", r.Kind)
	line("permissions", orElse(strings.Join(r.Permissions, " "), "none"))
	for _, t := range r.Times {
		line("time", t)
	}
	for i := range r.Routes {
		line("route", r.Routes[i].String())
	}
	for _, endpoint := range r.Opens {
		line("opens", endpoint)
	}
	for _, m := range r.Missing {
		line("missing", m.Permission+" (for "+some(m.Opens)+")")
	}
	for _, note := range r.Advice {
		line("note", note)
	}
	return nil
}
