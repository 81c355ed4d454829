package defenderemu

import (
	"net/http"
	"strconv"
	"strings"

	"tokenbroker/defender"
)

// The sizes of a stream's parts, in bytes: rows are about as large as those of
// the exports, and so many are written at once.
const (
	streamRow   = 1 << 10
	streamPiece = 32 << 10
)

// stream sends rows of so many bytes, give or take a few, made as they go. Each
// page but the last has a link to the next, and no row is on two of them.
func (c *call) stream(w http.ResponseWriter, f Fault) {
	q, err := parseQuery(c.URL.RawQuery)
	if err != nil {
		encode(c.endpoint.API, correlate(c.Request), answer{}, err).write(w)
		return
	}
	head, tail := c.streamEnds()
	if page := q.offset; page+1 < f.Pages {
		tail = `],"@odata.nextLink":"` + c.nextLink(skipToken{page + 1}) + `"}`
	}
	w.Header().Set("Content-Type", "application/json; odata.metadata=minimal; charset=utf-8")
	pad := `","pad":"` + strings.Repeat("x", streamRow) + `"}`
	b := make([]byte, 0, streamPiece+2*streamRow)
	b = append(b, head...)
	for row, made := 0, int64(0); made < f.Bytes; row++ {
		before := len(b)
		if row > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"id":"`...)
		b = strconv.AppendInt(append(strconv.AppendInt(b, int64(q.offset), 10), '-'), int64(row), 10)
		b = append(b, pad...)
		made += int64(len(b) - before)
		if len(b) < streamPiece {
			continue
		}
		if _, err := w.Write(b); err != nil {
			return // the caller has left
		}
		b = b[:0]
	}
	_, _ = w.Write(append(b, tail...))
}

// streamEnds are what stands around the rows, in the API's shape.
func (c *call) streamEnds() (head, tail string) {
	switch {
	case c.endpoint.Method == http.MethodGet:
		return `{"@odata.context":"` + c.context("Collection(Edm.ComplexType)") + `","value":[`, "]}"
	case c.endpoint.API == defender.Graph:
		return `{"schema":[{"name":"id","type":"String"},{"name":"pad","type":"String"}],"results":[`, "]}"
	default:
		return `{"Schema":[{"Name":"id","Type":"String"},{"Name":"pad","Type":"String"}],"Results":[`, "]}"
	}
}
