package defenderemu

import (
	"cmp"
	"strings"
	"time"
)

// maxQuery bounds a hunting query, in bytes.
const maxQuery = 10_000

// runQuery hunts, in the shape of the MDE and XDR APIs.
func runQuery(c *call) (answer, error) {
	began := time.Now()
	var in struct {
		Query string `json:"Query"`
	}
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	columns, rows, err := c.hunt(in.Query, time.Time{})
	if err != nil {
		return answer{}, err
	}
	results := objects(columns, rows)
	stats := object{
		{"ExecutionTime", time.Since(began).Seconds()},
		{"resource_usage", map[string]any{"cpu": map[string]string{"total cpu": "00:00:00.0156250"}, "memory": map[string]int{"peak_per_node": 236822432}}},
		{"dataset_statistics", []object{{{"table_row_count", len(results)}, {"table_size", 64 * len(results) * len(columns)}}}},
	}
	return answer{body: object{{"Stats", stats}, {"Schema", columns}, {"Results", results}}}, nil
}

// objects names the cells of rows.
func objects(columns []column, rows [][]any) []object {
	return each(rows, func(row *[]any) object {
		var o object
		for i, c := range columns {
			o = append(o, member{c.Name, (*row)[i]})
		}
		return o
	})
}

// hunt runs a query over what is no older than since.
func (c *call) hunt(query string, since time.Time) ([]column, [][]any, error) {
	switch {
	case strings.TrimSpace(query) == "":
		return nil, nil, missing("Query")
	case len(query) > maxQuery:
		return nil, nil, badQuery("it is longer than %d characters", maxQuery)
	}
	return hunt(c.data, c.now, since, query)
}

// runGraphQuery hunts, in Graph's shape: lower case, and with a Timespan that
// bounds how far back the query looks.
func runGraphQuery(c *call) (answer, error) {
	var in struct {
		Query    string `json:"Query"`
		Lower    string `json:"query"`
		Timespan string `json:"Timespan"`
	}
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	var since time.Time
	if in.Timespan != "" {
		d, ok := duration(in.Timespan)
		if !ok {
			return answer{}, badRequest("BadRequest", "Timespan is %q: this emulator understands durations such as P30D or PT12H.", in.Timespan)
		}
		since = c.now.Add(-d)
	}
	columns, rows, err := c.hunt(cmp.Or(in.Query, in.Lower), since)
	if err != nil {
		return answer{}, err
	}
	schema := each(columns, func(c *column) object { return object{{"name", c.Name}, {"type", c.Type}} })
	return answer{body: object{{"@odata.context", c.context("microsoft.graph.security.huntingQueryResults")}, {"schema", schema}, {"results", objects(columns, rows)}}}, nil
}

// duration reads the ISO 8601 durations of one unit: P30D, PT12H, PT30M.
func duration(s string) (time.Duration, bool) {
	if clock, ok := strings.CutPrefix(s, "PT"); ok && !strings.HasSuffix(clock, "D") {
		return timespan(strings.ToLower(clock))
	}
	days, ok := strings.CutPrefix(s, "P")
	if !ok || !strings.HasSuffix(days, "D") {
		return 0, false
	}
	return timespan(strings.ToLower(days))
}
