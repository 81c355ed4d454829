package defender

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/template"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"tokenbroker/entra"
)

var update = flag.Bool("update", false, "write docs/defender.md anew")

const docFile = "../docs/defender.md"

// TestDocumentation holds docs/defender.md to the tables.
func TestDocumentation(t *testing.T) {
	catalogue, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := template.Must(template.ParseFiles("testdata/defender.md.tmpl")).Execute(&b, docPage{catalogue}); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(docFile, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(docFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(string(got), b.String()); diff != "" {
		t.Errorf("%s is not what the tables say; run: go test ./defender -run TestDocumentation -update\n%s", docFile, diff)
	}
	for _, e := range catalogue.Endpoints() {
		if n := strings.Count(string(got), "\n| [`"+e.String()+"`]("); n != 1 {
			t.Errorf("%s stands %d times in the list, want once", &e, n)
		}
	}
	for _, h := range catalogue.Hosts() {
		if h.MDCA == "" && !strings.Contains(string(got), "`"+h.Name+"`") {
			t.Errorf("%s is in no table", h.Name)
		}
	}
}

// docPage is what the page shows of the catalogue.
type docPage struct{ *Catalogue }

type docHost struct{ Clouds, Names, Route, XDR, MDE, Graph, Status string }

// Table lists the hosts: in one row those that differ by region alone.
func (p docPage) Table() []docHost {
	var all []docHost
	for _, h := range p.Hosts() {
		if h.MDCA != "" {
			continue
		}
		var clouds []string
		for _, c := range h.Clouds {
			clouds = append(clouds, string(c))
		}
		all = joined(all, docHost{
			Clouds: strings.Join(clouds, ", "), Names: "`" + h.Name + "`", Route: routeOf(h),
			XDR: audience(h.XDR), MDE: audience(h.MDE), Graph: audience(h.Graph), Status: h.Status + ": " + h.Source,
		})
	}
	return all
}

func joined(hosts []docHost, h docHost) []docHost {
	if i := len(hosts) - 1; i >= 0 {
		like := hosts[i]
		like.Names = h.Names
		if like == h {
			hosts[i].Names += ", " + h.Names
			return hosts
		}
	}
	return append(hosts, h)
}

func routeOf(h Host) string {
	switch {
	case h.Route == "":
		return "-"
	case h.Region != "":
		return "`" + h.Route + "`, with its `region`"
	default:
		return "`" + h.Route + "`"
	}
}

func audience(s entra.Scope) string {
	if s == "" {
		return "-"
	}
	return "`" + s.Audience() + "`"
}

// SignIn lists the clouds by the authority at which they sign in.
func (p docPage) SignIn() string {
	var all []string
	for _, c := range entra.Clouds() {
		at := " at `" + string(c.Authority()) + "`"
		if i := len(all) - 1; i >= 0 && strings.HasSuffix(all[i], at) {
			all[i] = strings.TrimSuffix(all[i], at) + " and " + string(c) + at
		} else {
			all = append(all, string(c)+at)
		}
	}
	return strings.Join(all, "; ")
}

// MDCA is the audience of Defender for Cloud Apps.
func (p docPage) MDCA() string {
	i := slices.IndexFunc(p.Hosts(), func(h Host) bool { return h.MDCA != "" })
	return audience(p.Hosts()[i].MDCA)
}

type docResource struct {
	Title, Names string
	API          API
}

// Resources lists the resource applications.
func (p docPage) Resources() []docResource {
	var all []docResource
	for _, r := range []docResource{
		{API: XDR, Title: "Microsoft Threat Protection"}, {API: MDE, Title: "WindowsDefenderATP"}, {API: Graph, Title: "Microsoft Graph"},
	} {
		names := []string{}
		for _, name := range aliases(r.API) {
			names = append(names, "`"+name+"`")
		}
		r.Names = strings.Join(names, ", ")
		all = append(all, r)
	}
	return all
}

type docShared struct{ Name, Figures, Endpoints string }

// Shared lists the ceilings that endpoints share.
func (p docPage) Shared() []docShared {
	var all []docShared
	for _, e := range p.Endpoints() {
		if e.Limit == "" {
			continue
		}
		i := slices.IndexFunc(all, func(s docShared) bool { return s.Name == e.Limit })
		if i < 0 {
			i, all = len(all), append(all, docShared{Name: e.Limit, Figures: figures(e.PerMinute, "a minute") + figures(e.PerHour, " an hour")})
		} else {
			all[i].Endpoints += ", "
		}
		all[i].Endpoints += "`" + e.String() + "`"
	}
	return all
}

func figures(n int, per string) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d %s", n, per)
}

// AtLeast names the endpoints whose ceiling is not told.
func (p docPage) AtLeast() string {
	return p.names(func(e *Endpoint) bool { return e.AtLeast > 0 })
}

func (p docPage) names(which func(*Endpoint) bool) string {
	var names []string
	for _, e := range p.Endpoints() {
		if which(&e) {
			names = append(names, "`"+e.String()+"`")
		}
	}
	return strings.Join(names, ", ")
}

// What ends.

func (p docPage) Notice() string { return RetirementNotice }
func (p docPage) Guide() string  { return RetirementGuide }
func (p docPage) Began() string  { return RetirementBegan().Format("2 January 2006") }
func (p docPage) Ends() string   { return RetirementEnds().Format("2 January 2006") }
func (p docPage) Count() int     { return len(p.Endpoints()) }

func (p docPage) Settled() string {
	return p.names(func(e *Endpoint) bool { _, settled := e.Retirement(); return settled })
}

func (p docPage) Unsettled() int { return p.unsettled(func(*Endpoint) bool { return true }) }

// Lost counts those that Graph has no counterpart of.
func (p docPage) Lost() int {
	return p.unsettled(func(e *Endpoint) bool { return e.Counterpart == "" })
}

func (p docPage) unsettled(which func(*Endpoint) bool) int {
	n := 0
	for _, e := range p.Endpoints() {
		if on, settled := e.Retirement(); !on.IsZero() && !settled && which(&e) {
			n++
		}
	}
	return n
}

type docCounterpart struct{ From, To, Permissions string }

// Counterparts lists what moves to where.
func (p docPage) Counterparts() []docCounterpart {
	var all []docCounterpart
	for _, e := range p.Endpoints() {
		for _, to := range p.Endpoints() {
			if e.Counterpart != "" && to.API == Graph && to.String() == e.Counterpart {
				all = append(all, docCounterpart{e.String(), to.String(), strings.Join(to.App, ", ")})
			}
		}
	}
	return all
}

type docAPI struct {
	Title  string
	Groups []docGroup
}

type docGroup struct {
	Name string
	Rows []docRow
}

type docRow struct{ Call, Effect, App, Delegated, Limit, Ends, Counterpart string }

// APIs lists the endpoints, by API and by what their paths begin with.
func (p docPage) APIs() []docAPI {
	const few, many = 3, 10 // a group of fewer is among the others; an API of no more has none
	all := []docAPI{{Title: "Microsoft Defender XDR"}, {Title: "Microsoft Defender for Endpoint"}, {Title: "Microsoft Graph security"}, {Title: "Microsoft Defender for Cloud Apps"}}
	for i, api := range apis() {
		groups, others := []docGroup{}, docGroup{Name: "Others"}
		for _, e := range p.Endpoints() {
			if e.API != api {
				continue
			}
			at := slices.IndexFunc(groups, func(g docGroup) bool { return strings.EqualFold(g.Name, collection(&e)) })
			if at < 0 {
				at, groups = len(groups), append(groups, docGroup{Name: collection(&e)})
			}
			groups[at].Rows = append(groups[at].Rows, rowOf(&e))
		}
		total := 0
		for _, g := range groups {
			total += len(g.Rows)
		}
		for _, g := range groups {
			if len(g.Rows) < few || total <= many {
				others.Rows = append(others.Rows, g.Rows...)
			} else {
				all[i].Groups = append(all[i].Groups, g)
			}
		}
		if len(all[i].Groups) == 0 {
			others.Name = ""
		}
		if len(others.Rows) > 0 {
			all[i].Groups = append(all[i].Groups, others)
		}
	}
	return all
}

// collection is what a path begins with, after what all paths of its API do.
func collection(e *Endpoint) string {
	path := strings.TrimPrefix(strings.TrimPrefix(e.Path, "/api/"), "/v1.0/security/")
	name, _, _ := strings.Cut(path, "/")
	return name
}

func rowOf(e *Endpoint) docRow {
	page, remark, _ := strings.Cut(e.Source, " ")
	limit := perMinute(e) + " / " + orDash(e.PerHour)
	if e.Limit != "" {
		limit += " \\*"
	}
	if limit == "- / -" {
		limit = "-"
	}
	row := docRow{
		Call: strings.TrimSpace("[`" + e.String() + "`](" + page + ") " + remark), Effect: e.Effect.String(),
		App: strings.Join(e.App, ", "), Delegated: cmp.Or(strings.Join(e.Delegated, ", "), "-"), Limit: limit, Ends: "-", Counterpart: "-",
	}
	if e.Counterpart != "" {
		row.Counterpart = "`" + e.Counterpart + "`"
	}
	switch on, settled := e.Retirement(); {
	case settled:
		row.Ends = on.Format(time.DateOnly)
	case !on.IsZero():
		row.Ends = "unsettled"
	}
	return row
}

func perMinute(e *Endpoint) string {
	if e.AtLeast > 0 {
		return strconv.Itoa(e.AtLeast) + "+"
	}
	return orDash(e.PerMinute)
}

func orDash(n int) string {
	if n == 0 {
		return "-"
	}
	return strconv.Itoa(n)
}
