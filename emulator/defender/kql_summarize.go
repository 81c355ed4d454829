package defenderemu

import (
	"cmp"
	"encoding/json"
	"slices"
)

// aggregate makes one cell of the rows of a group.
type aggregate func(group [][]any) any

// summarize reads [Name =] count() | dcount(c) | min(c) | max(c), … [by a, b].
func (p *kqlParser) summarize() (stage, error) {
	var aggregates []aggregate
	var made []column
	for p.tokens[0].text != "by" {
		a, c, err := p.aggregate()
		if err != nil {
			return nil, err
		}
		aggregates, made = append(aggregates, a), append(made, c)
		if !p.accept(",") {
			break
		}
	}
	var places []int
	var kept []column
	if p.accept("by") {
		var err error
		if places, kept, err = p.columnList(); err != nil {
			return nil, err
		}
	}
	p.columns = append(kept, made...)
	for i, c := range p.columns {
		if slices.ContainsFunc(p.columns[:i], func(before column) bool { return before.Name == c.Name }) {
			return nil, badQuery("column '%s' stands there twice", c.Name)
		}
	}
	return func(rows [][]any) [][]any {
		return summarize(rows, places, aggregates)
	}, nil
}

// summarize groups rows by the cells at places, in the order of their first row.
func summarize(rows [][]any, places []int, aggregates []aggregate) [][]any {
	var keys []string
	groups := map[string][][]any{}
	for _, row := range rows {
		key := keyOf(only(row, places))
		if groups[key] == nil {
			keys = append(keys, key)
		}
		groups[key] = append(groups[key], row)
	}
	if len(places) == 0 { // all rows are one group, even where there are none
		keys = []string{keyOf([]any{})}
	}
	return each(keys, func(key *string) []any {
		group := groups[*key]
		var cells []any
		if len(places) > 0 {
			cells = only(group[0], places)
		}
		return append(cells, each(aggregates, func(a *aggregate) any { return (*a)(group) })...)
	})
}

// keyOf makes cells comparable.
func keyOf(cells []any) string {
	key, _ := json.Marshal(cells) // cells are scalars: they cannot fail
	return string(key)
}

// aggregate reads one aggregate and the column that it makes.
func (p *kqlParser) aggregate() (aggregate, column, error) {
	t := p.next()
	name := ""
	if t.class == word && p.accept("=") {
		name = t.text
		t = p.next()
	}
	if err := p.expect("("); err != nil {
		return nil, column{}, err
	}
	if t.text == "count" {
		made := column{cmp.Or(name, "count_"), "Int64"}
		return func(group [][]any) any { return len(group) }, made, p.expect(")")
	}
	i, err := p.column()
	if err != nil {
		return nil, column{}, err
	}
	of := p.columns[i]
	made := column{name, of.Type}
	if name == "" {
		made.Name = t.text + "_" + of.Name
	}
	var a aggregate
	switch t.text {
	case "dcount":
		made.Type = "Int64"
		a = func(group [][]any) any {
			distinct := map[string]bool{}
			for _, row := range group {
				distinct[keyOf(row[i:i+1])] = true
			}
			return len(distinct)
		}
	case "min":
		a = func(group [][]any) any { return extreme(group, i, -1) }
	case "max":
		a = func(group [][]any) any { return extreme(group, i, 1) }
	default:
		return nil, column{}, badQuery("aggregate '%s' is not supported by this emulator, which has count, dcount, min and max", t.text)
	}
	return a, made, p.expect(")")
}

// extreme is the largest cell of a group, or with a sign of -1 the smallest.
func extreme(group [][]any, i, sign int) any {
	var best any
	for _, row := range group {
		if best == nil || sign*sorts(scalar(row[i]), scalar(best)) > 0 {
			best = row[i]
		}
	}
	return best
}
