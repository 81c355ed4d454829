package defenderemu

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// query holds the options of a list, as the caller asked for them.
type query struct {
	filter, orderBy   string
	selected          []string // empty: all properties
	expanded          []string
	top, skip, offset int // top: -1 for none; offset: where the page begins, of a $skiptoken
	paged             bool
	count             bool
	values            url.Values // every parameter, by its name in lower case
}

// options are the query options of OData that the API knows.
var options = []string{"$filter", "$orderby", "$select", "$expand", "$top", "$skip", "$count", "$skiptoken", "$deltatoken"}

// parseQuery reads the query. Names are not case-sensitive, since links to the
// next page come back in lower case.
func parseQuery(raw string) (query, error) {
	parsed, err := url.ParseQuery(raw)
	if err != nil {
		return query{}, badRequest("BadRequest", "The query string is malformed.")
	}
	q := query{top: -1, values: url.Values{}}
	for name, values := range parsed {
		lower := strings.ToLower(name)
		if strings.HasPrefix(lower, "$") && !slices.Contains(options, lower) {
			return query{}, odataError("The query parameter '%s' is not supported.", name)
		}
		q.values[lower] = append(q.values[lower], values...)
	}
	for _, option := range options {
		if len(q.values[option]) > 1 {
			return query{}, odataError("Query option '%s' was specified more than once, but it must be specified at most once.", option)
		}
	}
	return q, q.read()
}

// read takes the options out of the values.
func (q *query) read() (err error) {
	q.filter, q.orderBy = q.values.Get("$filter"), q.values.Get("$orderby")
	q.selected, q.expanded = names(q.values.Get("$select")), names(q.values.Get("$expand"))
	if q.top, err = q.number("$top", -1); err != nil {
		return err
	}
	if q.skip, err = q.number("$skip", 0); err != nil {
		return err
	}
	switch v := q.values.Get("$count"); v {
	case "true":
		q.count = true
	case "", "false":
	default:
		return odataError("Invalid value '%s' for $count query option found. Valid values are 'true', 'false'.", v)
	}
	if token := q.values.Get("$skiptoken"); token != "" {
		q.paged = true
		if q.offset, err = readSkipToken(token); err != nil {
			return err
		}
	}
	return nil
}

// number reads a parameter that is a count.
func (q *query) number(name string, absent int) (int, error) {
	if !q.values.Has(name) {
		return absent, nil
	}
	n, err := strconv.ParseUint(q.values.Get(name), 10, 31)
	if err != nil {
		return 0, odataError("Invalid value '%s' for %s query option found. The %s query option requires a non-negative integer value.", q.values.Get(name), name, name)
	}
	return int(n), nil
}

// names splits a list such as that of $select.
func names(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}

// skipToken is what a $skiptoken holds; it is opaque to the caller.
type skipToken struct {
	Offset int `json:"offset"`
}

// String is the token as it stands in a link. JSON in letters and digits never
// makes base64 with a + or a /, so it needs no escaping.
func (t skipToken) String() string {
	return base64.StdEncoding.EncodeToString([]byte(`{"offset":` + strconv.Itoa(t.Offset) + `}`))
}

func readSkipToken(s string) (int, error) {
	b, err := base64.StdEncoding.DecodeString(s)
	t := skipToken{Offset: -1}
	if err == nil {
		err = json.Unmarshal(b, &t)
	}
	if err != nil || t.Offset < 0 {
		return 0, badRequest("BadRequest", "The value of $skiptoken is not one that this API gave out.")
	}
	return t.Offset, nil
}
