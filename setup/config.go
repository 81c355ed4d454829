package setup

import (
	"slices"
	"strings"

	"tokenbroker/entra"
)

// id is what only the one who runs a script learns.
type id uint8

const (
	none id = iota
	tenantID
	clientID
)

// line is a line of the configuration, and the id at its end.
type line struct {
	text string
	id   id
}

// Config returns the broker's configuration for the application that a script
// has made. A managed identity has a client id too.
func (p *Plan) Config(tenant entra.Tenant, client string) string {
	ids := map[id]string{tenantID: string(tenant), clientID: client}
	var b strings.Builder
	for _, l := range p.config("") {
		b.WriteString(l.text + ids[l.id] + "\n")
	}
	return b.String()
}

// Check is the command that proves it all.
func (p *Plan) Check() string { return "tokenbroker check --config tokenbroker.yaml --live" }

func (p *Plan) config(f Format) []line {
	comment := "# The broker's configuration for this app registration. Prove it with:"
	if f != "" {
		comment = "# Written by " + f.FileName() + ". Prove it with:"
	}
	lines := []line{
		{text: comment},
		{text: "#   " + p.Check()},
		{text: "cloud: " + string(p.want.Cloud)},
		{text: "identities:"},
		{text: "  default:"},
		{text: "    tenant: ", id: tenantID},
	}
	if _, managed := p.want.Credential.(ManagedIdentity); !managed {
		lines = append(lines, line{text: "    client_id: ", id: clientID})
	}
	if len(p.want.Tenants) > 0 {
		lines = append(lines, line{text: "    tenants:"})
		for _, t := range p.want.Tenants {
			lines = append(lines, line{text: "      - " + string(t)})
		}
	}
	lines = append(lines, line{text: "    credential:"})
	for _, l := range p.want.Credential.config() {
		lines = append(lines, line{text: "      " + l.text, id: l.id})
	}
	routes := p.routes()
	if len(routes) > 0 {
		lines = append(lines, line{text: "routes:"})
	}
	for _, name := range routes {
		lines = append(lines, line{text: "  " + name + ": {}"})
	}
	return lines
}

// routes lists the built-in routes that lead to what is wanted. One that is
// named in the configuration is checked with it.
func (p *Plan) routes() []string {
	var names []string
	for _, n := range p.apis {
		for _, b := range p.catalogue.Builtin(p.want.Cloud, "") {
			if b.Host.Scope(n.API) != "" {
				if !slices.Contains(names, b.Name) {
					names = append(names, b.Name)
				}
				break
			}
		}
	}
	return names
}
