package defender

import (
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"tokenbroker/entra"
)

// The tables: a line of column names, then a row a line, cells separated by
// tabs, the entries of a list by semicolons.
var (
	//go:embed endpoints.tsv
	endpointsTSV string
	//go:embed hosts.tsv
	hostsTSV string
)

const (
	opLoad = "defender.load"

	endpointColumns = "api method path app_permissions delegated_permissions source per_minute per_hour at_least limit effect retires counterpart"
	hostColumns     = "clouds host authority route region xdr_scope mde_scope graph_scope mdca_scope status source"
)

// readTable turns each row of a table into a T.
func readTable[T any](name, text, columns string, read func(row []string) (T, error)) ([]T, error) {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	want := strings.Fields(columns)
	if got := strings.Split(lines[0], "\t"); strings.Join(got, " ") != columns {
		return nil, entra.Errorf(entra.Internal, opLoad, "%s: columns %q, want %q", name, got, want)
	}
	items := make([]T, 0, len(lines)-1)
	for i, line := range lines[1:] {
		row := strings.Split(line, "\t")
		if len(row) != len(want) {
			return nil, entra.Errorf(entra.Internal, opLoad, "%s line %d: %d cells, want %d", name, i+2, len(row), len(want))
		}
		item, err := read(row)
		if err != nil {
			return nil, entra.Errorf(entra.Internal, opLoad, "%s line %d: %w", name, i+2, err)
		}
		items = append(items, item)
	}
	return items, nil
}

func readEndpoint(row []string) (Endpoint, error) {
	e := Endpoint{
		API:         API(row[0]),
		Method:      row[1],
		Path:        row[2],
		App:         list(row[3]),
		Delegated:   list(row[4]),
		Source:      row[5],
		Limit:       row[9],
		Counterpart: row[12],
	}
	if !slices.Contains(apis(), e.API) {
		return e, fmt.Errorf("api %q: want XDR, MDE, GRAPH or MDCA", row[0])
	}
	if !strings.HasPrefix(e.Path, "/") {
		return e, fmt.Errorf("path %q: want a leading slash", e.Path)
	}
	if len(e.App) == 0 {
		return e, fmt.Errorf("%s: no application permission opens it", &e)
	}
	for i, number := range []*int{&e.PerMinute, &e.PerHour, &e.AtLeast} {
		var err error
		if *number, err = ceiling(row[6+i]); err != nil {
			return e, err
		}
	}
	var err error
	if e.Effect, err = parseEffect(row[10]); err != nil {
		return e, err
	}
	if row[11] != "" {
		if e.Retires, err = time.Parse(time.DateOnly, row[11]); err != nil {
			return e, err
		}
	}
	return e, nil
}

func readHost(row []string) (Host, error) {
	h := Host{Name: row[1], Route: row[3], Region: row[4], Status: row[9], Source: row[10]}
	for _, name := range list(row[0]) {
		cloud, err := entra.ParseCloud(name)
		if err != nil {
			return h, err
		}
		h.Clouds = append(h.Clouds, cloud)
	}
	var err error
	if h.Authority, err = entra.ParseAuthority(row[2]); err != nil {
		return h, err
	}
	for i, scope := range []*entra.Scope{&h.XDR, &h.MDE, &h.Graph, &h.MDCA} {
		cell := row[5+i]
		if cell == "" {
			continue
		}
		if *scope, err = entra.ParseScope(cell); err != nil {
			return h, err
		}
	}
	if len(h.Clouds) == 0 || len(h.Scopes()) == 0 {
		return h, fmt.Errorf("host %q: want a cloud and a scope", h.Name)
	}
	return h, nil
}

// list cuts a cell at its semicolons; an empty cell is an empty list.
func list(cell string) []string {
	if cell == "" {
		return nil
	}
	return strings.Split(cell, ";")
}

// ceiling reads a number of calls; an empty cell means that none is documented.
func ceiling(cell string) (int, error) {
	if cell == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(cell)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("ceiling %q: want a positive number, or nothing", cell)
	}
	return n, nil
}

func parseEffect(cell string) (Effect, error) {
	for _, e := range []Effect{Read, Write, Action} {
		if e.String() == cell {
			return e, nil
		}
	}
	return Action, fmt.Errorf("effect %q: want read, write or action", cell)
}
