package defenderemu

import (
	"slices"
	"time"
)

// stage is one operator of a query, ready to run.
type stage func(rows [][]any) [][]any

// kqlParser reads a query of the Kusto Query Language, of which it knows what
// most hunting queries begin with: a table, and the operators in operators.
type kqlParser struct {
	cursor
	columns []column // as the operators so far leave them
	now     stamp
	depth   int
}

// hunt runs a query over what is no older than since, and returns the columns
// and rows of its result.
func hunt(t *data, now stamp, since time.Time, query string) ([]column, [][]any, error) {
	tokens, err := lexKQL(query)
	if err != nil {
		return nil, nil, err
	}
	p := &kqlParser{cursor: cursor{tokens}, now: now}
	source, err := p.source()
	if err != nil {
		return nil, nil, err
	}
	var stages []stage
	for p.tokens[0].class != endOfInput {
		s, err := p.operator()
		if err != nil {
			return nil, nil, err
		}
		stages = append(stages, s)
	}
	rows := source.rows(t)
	if source.columns[0].Type == "DateTime" {
		rows = where(rows, func(row *[]any) bool { return !(*row)[0].(stamp).Before(since) })
	}
	for _, s := range stages {
		rows = s(rows)
	}
	return p.columns, rows, nil
}

func (p *kqlParser) expect(text string) error {
	if !p.accept(text) {
		return badQuery("want %q at position %d", text, p.tokens[0].at)
	}
	return nil
}

// source reads the table that the query begins with.
func (p *kqlParser) source() (table, error) {
	t := p.next()
	source, ok := tableOf(t.text)
	if t.class != word || !ok {
		return table{}, badQuery("'%s' is no table that this emulator has: AlertInfo, AlertEvidence, DeviceInfo, DeviceLogonEvents, DeviceProcessEvents, "+
			"DeviceTvmSoftwareInventory, DeviceTvmSoftwareVulnerabilities", t.text)
	}
	p.columns = source.columns
	return source, nil
}

// operator reads | and one operator.
func (p *kqlParser) operator() (stage, error) {
	if err := p.expect("|"); err != nil {
		return nil, err
	}
	switch t := p.next(); t.text {
	case "where", "filter":
		return p.where()
	case "project":
		return p.project()
	case "distinct":
		return p.distinct()
	case "take", "limit":
		n, err := p.count()
		return func(rows [][]any) [][]any { return rows[:min(n, len(rows))] }, err
	case "top":
		return p.top()
	case "order", "sort":
		return p.order()
	case "count":
		p.columns = []column{{"Count", "Int64"}}
		return func(rows [][]any) [][]any { return [][]any{{len(rows)}} }, nil
	case "summarize":
		return p.summarize()
	default:
		return nil, badQuery("operator '%s' is not supported by this emulator, which has where, project, distinct, take, limit, top, order by, sort by, "+
			"count and summarize", t.text)
	}
}

// column reads the name of a column and returns its place.
func (p *kqlParser) column() (int, error) {
	t := p.next()
	i := p.find(t)
	if i < 0 {
		return 0, badQuery("failed to resolve scalar expression named '%s'", t.text)
	}
	return i, nil
}

// find is the place of the column that a token names, below zero for none.
func (p *kqlParser) find(t token) int {
	return slices.IndexFunc(p.columns, func(c column) bool { return t.class == word && c.Name == t.text })
}

// columnList reads names of columns, each with a new name before it if need be:
// a, b, New = c.
func (p *kqlParser) columnList() (places []int, kept []column, err error) {
	for {
		renamed := ""
		if p.tokens[0].class == word && p.tokens[1].text == "=" && p.tokens[1].class == sign {
			renamed = p.next().text
			p.next()
		}
		i, err := p.column()
		if err != nil {
			return nil, nil, err
		}
		c := p.columns[i]
		if renamed != "" {
			c.Name = renamed
		}
		if slices.ContainsFunc(kept, func(k column) bool { return k.Name == c.Name }) {
			return nil, nil, badQuery("column '%s' stands there twice", c.Name)
		}
		places, kept = append(places, i), append(kept, c)
		if !p.accept(",") {
			return places, kept, nil
		}
	}
}

// only returns the cells of a row at these places.
func only(row []any, places []int) []any {
	return each(places, func(i *int) any { return row[*i] })
}

func (p *kqlParser) project() (stage, error) {
	places, kept, err := p.columnList()
	if err != nil {
		return nil, err
	}
	p.columns = kept
	return func(rows [][]any) [][]any {
		return each(rows, func(row *[]any) []any { return only(*row, places) })
	}, nil
}

func (p *kqlParser) distinct() (stage, error) {
	places, kept, err := p.columnList()
	if err != nil {
		return nil, err
	}
	p.columns = kept
	return func(rows [][]any) [][]any {
		seen := map[string]bool{}
		distinct := [][]any{}
		for _, row := range rows {
			cells := only(row, places)
			if key := keyOf(cells); !seen[key] {
				seen[key] = true
				distinct = append(distinct, cells)
			}
		}
		return distinct
	}, nil
}

// sorting reads column [asc|desc]; Kusto sorts in descending order unless told.
func (p *kqlParser) sorting() (func(a, b []any) int, error) {
	i, err := p.column()
	if err != nil {
		return nil, err
	}
	sign := -1
	if p.accept("asc") {
		sign = 1
	} else {
		p.accept("desc")
	}
	return func(a, b []any) int { return sign * sorts(scalar(a[i]), scalar(b[i])) }, nil
}

func (p *kqlParser) top() (stage, error) {
	n, err := p.count()
	if err != nil {
		return nil, err
	}
	if err := p.expect("by"); err != nil {
		return nil, err
	}
	compare, err := p.sorting()
	return func(rows [][]any) [][]any {
		sorted := slices.SortedStableFunc(slices.Values(rows), compare)
		return sorted[:min(n, len(sorted))]
	}, err
}

func (p *kqlParser) order() (stage, error) {
	if err := p.expect("by"); err != nil {
		return nil, err
	}
	var keys []func(a, b []any) int
	for {
		key, err := p.sorting()
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
		if !p.accept(",") {
			break
		}
	}
	return func(rows [][]any) [][]any {
		return slices.SortedStableFunc(slices.Values(rows), func(a, b []any) int {
			for _, key := range keys {
				if c := key(a, b); c != 0 {
					return c
				}
			}
			return 0
		})
	}, nil
}
