package defenderemu

import (
	"cmp"
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// listing describes a collection to list. The zero value of each field but the
// first stands for what most of MDE's collections do.
type listing struct {
	of     string // the collection's name in @odata.context
	page   int    // rows of a page where the caller does not say; zero: 10,000
	maxTop int    // the largest $top; zero: 10,000
	// pageSize is the largest value of the parameter of that name, which the
	// exports have; zero: the collection has no such parameter.
	pageSize int
	// pagedTop is Graph's way: $top is the size of a page. Elsewhere it is that
	// of the whole answer, which then has no link to a next page.
	pagedTop bool
	expand   string // the property that $expand may name; empty: none
}

// usual is the size of a page, and the largest $top, where nothing else is
// documented.
const usual = 10_000

// envelope is the body of a list.
type envelope struct {
	Context  string `json:"@odata.context"`
	Count    *int   `json:"@odata.count,omitempty"`
	Value    any    `json:"value"`
	NextLink string `json:"@odata.nextLink,omitempty"`
	Delta    string `json:"@odata.deltaLink,omitempty"`
}

// list answers with the rows that the query asks for. Whatever finish does to a
// row happens to the copies that are sent.
func list[T any](c *call, l listing, rows []T, finish ...func(row *T, expanded bool)) (answer, error) {
	q, err := parseQuery(c.URL.RawQuery)
	if err != nil {
		return answer{}, err
	}
	size, whole, err := l.size(c, &q)
	if err != nil {
		return answer{}, err
	}
	rows, err = choose(rows, &q)
	if err != nil {
		return answer{}, err
	}
	if strings.HasSuffix(strings.ToLower(c.URL.Path), "/$count") {
		return answer{body: json.RawMessage(strconv.Itoa(len(rows)))}, nil
	}
	if len(rows) == 0 {
		if _, absent := c.server.faults.take(EmptyNotFound, c.Request); absent {
			return answer{}, notFound("No %s were found", l.of)
		}
	}
	body := envelope{Context: c.context(l.of)}
	if q.count {
		total := len(rows)
		body.Count = &total
	}
	from := min(q.skip, len(rows))
	if q.paged {
		from = min(q.offset, len(rows))
	}
	to := min(from+size, len(rows))
	if to < len(rows) && to > from && !whole {
		body.NextLink = c.nextLink(skipToken{to})
	} else if _, ok := c.server.faults.take(DeltaLink, c.Request); ok {
		body.Delta = c.deltaLink()
	}
	page := append([]T{}, rows[from:to]...)
	for i := range page {
		for _, f := range finish {
			f(&page[i], len(q.expanded) > 0)
		}
	}
	body.Value, err = project(page, q.selected)
	return answer{body: body}, err
}

// size returns how many rows an answer has at most, and whether it is whole
// with them: without a link to the next page.
func (l *listing) size(c *call, q *query) (rows int, whole bool, err error) {
	for _, name := range q.expanded {
		if name != l.expand {
			return 0, false, odataError("The property '%s' cannot be used in the $expand query option.", name)
		}
	}
	rows = cmp.Or(l.page, usual)
	if l.pageSize > 0 {
		if rows, err = q.number("pagesize", l.page); err != nil {
			return 0, false, err
		}
		if rows > l.pageSize || rows == 0 {
			return 0, false, badRequest("BadRequest", "pageSize is %d: want 1 to %d.", rows, l.pageSize)
		}
	}
	if c.server.cfg.PageSize > 0 {
		rows = min(rows, c.server.cfg.PageSize)
	}
	if q.top < 0 {
		return rows, false, nil
	}
	if most := cmp.Or(l.maxTop, usual); q.top > most {
		return 0, false, odataError("The limit of '%d' for Top query has been exceeded. The value from the incoming request is '%d'.", most, q.top)
	}
	_, paged := c.server.faults.take(PagedTop, c.Request)
	return q.top, !l.pagedTop && !paged, nil
}

// choose filters and sorts rows. It leaves them as they are: what comes back is
// a slice of its own, or rows itself.
func choose[T any](rows []T, q *query) ([]T, error) {
	row := reflect.TypeFor[T]()
	if q.filter != "" {
		holds, err := parseFilter(q.filter, row)
		if err != nil {
			return nil, err
		}
		rows = where(rows, func(r *T) bool { return holds(reflect.ValueOf(r).Elem()) })
	}
	if q.orderBy == "" {
		return rows, nil
	}
	compare, err := parseOrder(q.orderBy, row)
	if err != nil {
		return nil, err
	}
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, func(a, b T) int { return compare(reflect.ValueOf(&a).Elem(), reflect.ValueOf(&b).Elem()) })
	return rows, nil
}

// parseOrder reads a $orderby: property [asc|desc], …
func parseOrder(source string, row reflect.Type) (func(a, b reflect.Value) int, error) {
	var keys []func(a, b reflect.Value) int
	for part := range strings.SplitSeq(source, ",") {
		fields := strings.Fields(part)
		if len(fields) == 0 || len(fields) > 2 || len(fields) == 2 && fields[1] != "asc" && fields[1] != "desc" {
			return nil, odataError("Syntax error in the $orderby query option: '%s'.", source)
		}
		p, err := propertyOf(row, fields[0])
		if err != nil {
			return nil, err
		}
		if kindOf(p.kind) == "" {
			return nil, odataError("The property '%s' cannot be used in the $orderby query option.", fields[0])
		}
		sign := 1
		if len(fields) == 2 && fields[1] == "desc" {
			sign = -1
		}
		keys = append(keys, func(a, b reflect.Value) int { return sign * sorts(p.scalar(a), p.scalar(b)) })
	}
	return func(a, b reflect.Value) int {
		for _, key := range keys {
			if c := key(a, b); c != 0 {
				return c
			}
		}
		return 0
	}, nil
}

// project keeps the properties that $select names, in the order of the type.
func project[T any](rows []T, names []string) (any, error) {
	if len(names) == 0 {
		return rows, nil
	}
	row := reflect.TypeFor[T]()
	for _, name := range names {
		if _, ok := fieldOf(row, name); !ok {
			return nil, odataError("Could not find a property named '%s' on type '%s'.", name, typeName(row))
		}
	}
	return each(rows, func(r *T) object {
		var o object
		for i := range row.NumField() {
			if name := jsonName(row.Field(i)); slices.Contains(names, name) {
				o = append(o, member{name, reflect.ValueOf(r).Elem().Field(i).Interface()})
			}
		}
		return o
	}), nil
}

// object is a JSON object that keeps its order.
type object []member

type member struct {
	name  string
	value any
}

// MarshalJSON implements [encoding/json.Marshaler].
func (o object) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, m := range o {
		if i > 0 {
			b = append(b, ',')
		}
		name, err := marshal(m.name)
		if err != nil {
			return nil, err
		}
		value, err := marshal(m.value)
		if err != nil {
			return nil, err
		}
		b = append(append(append(b, name...), ':'), value...)
	}
	return append(b, '}'), nil
}
