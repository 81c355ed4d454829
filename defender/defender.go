// Package defender is the catalogue of the Microsoft Defender APIs: which hosts
// stand in which cloud, which resource application a token for a path must be
// for, which permissions open an endpoint, what it may be asked how often, what a
// call of it does, and until when there is an endpoint at all.
//
// The two tables, endpoints.tsv and hosts.tsv, are embedded; each row names the
// page that it was read from. Nothing here asks the network.
package defender

import (
	"cmp"
	"time"
)

// API is one of the APIs that the catalogue knows. It decides the resource
// application, and with it the audience of the tokens.
type API string

// The APIs. XDR and MDE share a host, api.security.microsoft.com, and differ in
// their resource applications.
const (
	XDR   API = "XDR"   // Microsoft Defender XDR: incidents and advanced hunting
	MDE   API = "MDE"   // Microsoft Defender for Endpoint
	Graph API = "GRAPH" // Microsoft Graph security
	MDCA  API = "MDCA"  // Microsoft Defender for Cloud Apps
)

// apis lists the APIs. XDR comes before MDE, whose host has XDR's name.
func apis() []API { return []API{XDR, MDE, Graph, MDCA} }

// Effect says what a call does, whatever its method: hunting is a POST that
// only reads. The zero value is the one that is handled with the most care.
type Effect uint8

const (
	// Action reaches a machine, or makes something that a second call would
	// make twice. It is never sent again, and never let through read-only.
	Action Effect = iota
	// Write changes what Defender has on record, or reveals what was collected
	// from a machine: its investigation package, the output of live response.
	// It is not let through read-only; after a refusal it may be sent again.
	Write
	// Read is what read-only lets through.
	Read
)

// String is the effect's name in the catalogue.
func (e Effect) String() string {
	switch e {
	case Read:
		return "read"
	case Write:
		return "write"
	default:
		return "action"
	}
}

// Endpoint is one row of the catalogue. The permissions are alternatives: any
// one of them opens the endpoint.
type Endpoint struct {
	API       API
	Method    string
	Path      string   // with placeholders: /api/incidents/{id}
	App       []string // application permissions
	Delegated []string // delegated permissions; empty: for applications only
	PerMinute int      // documented ceiling of calls per application and tenant; zero: none is documented
	PerHour   int      // likewise
	// AtLeast is how many calls a minute every tenant may make. The ceiling lies
	// there or higher, by the tenant's size, and is not told: whoever keeps below
	// it has to learn it from the answers. Zero: nothing of the kind is documented.
	AtLeast int
	// Limit names the ceilings where endpoints share them, as those of Graph's
	// alerts do. Empty: they are the endpoint's own. See Budget.
	Limit  string
	Effect Effect
	// Retires is the day on which the endpoint ends, at midnight UTC. Zero: none
	// is settled; see Retirement.
	Retires time.Time
	// Counterpart is the endpoint of Graph that does the same: the String of one
	// of the catalogue. Empty: there is none.
	Counterpart string
	Source      string // the page that the row was read from
}

// Budget names what the API counts calls of the endpoint against, for an
// application and a tenant. It is the same for endpoints that share ceilings.
func (e *Endpoint) Budget() string {
	return cmp.Or(e.Limit, string(e.API)+" "+e.String())
}

// String is the endpoint's name in logs and messages: GET /api/incidents/{id}.
func (e *Endpoint) String() string { return e.Method + " " + e.Path }
