package bridge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	maxDepth = 256     // of nesting; columns of type dynamic have some levels
	maxWord  = 8 << 10 // bytes of a member's name or of a type's, as it is written

	odataType = "@odata.type"
)

var (
	errDepth = errors.New("nested too deep")
	errWord  = errors.New("a name in it is too long")
	errShape = errors.New("not the result of a hunting query")
)

// role is what a value is to the answer.
type role byte

const (
	other   role = iota // what is passed on as it is
	answer              // the whole
	schema              // the list of the columns
	column              // one of them
	kind                // the name of a column's type
	results             // the list of the rows
	data                // a row, and whatever is in it
)

// frame is a list or an object that has begun.
type frame struct {
	role   role
	isList bool
	some   bool // something of it was written
}

// state is what may come next.
type state byte

const (
	value      state = iota
	firstItem        // or the end of the list
	firstName        // or the end of the object
	nextName         // there was a comma
	colon            // there was a name
	inString         // the rest of one
	afterValue       // a comma, or the end of what it stands in
	over             // nothing
)

// translator writes the tokens of Graph's answer anew, in the shape of the old
// APIs. It is ready with began alone.
//
// Members can come in any order, and go out in that order, Stats last: there is
// nothing in Schema that the rows have to wait for. The annotations of OData are
// left out, which the MDE and XDR APIs do not have: in any object of an answer a
// name that ends in @odata.type is no data, but says what is ("OData JSON Format
// Version 4.0" §4.5.3).
type translator struct {
	began time.Time // when the query went out
	out   []byte    // to be passed on

	stack []frame
	state state
	next  role   // of the value to come
	drop  int    // the depth of the object whose member is being left out; zero: none is
	word  []byte // what has come of a name, or of a type's

	written  int // bytes, all in all
	rows     int
	size     int // of the rows, in bytes
	hasRows  bool
	hasStats bool
}

// token takes a token. Its text is taken for as long as the call lasts.
func (t *translator) token(tok token, text []byte) error {
	switch tok {
	case part, '"':
		return t.string(text, tok == '"')
	case scalar:
		if err := t.begin(); err != nil {
			return err
		}
		t.write(text)
		t.ended()
	case '{', '[':
		return t.open(tok == '[')
	case '}', ']':
		return t.close(tok == ']')
	case ':':
		if t.state != colon {
			return errJSON
		}
		t.state = value
	case ',':
		if t.state != afterValue {
			return errJSON
		}
		t.state = nextName
		if f := t.top(); f.isList {
			t.state, t.next = value, f.item()
		}
	}
	return nil
}

// begin readies for a value.
func (t *translator) begin() error {
	switch {
	case t.state != value && t.state != firstItem:
		return errJSON
	case len(t.stack) == 0 && t.next != answer:
		return errShape
	case len(t.stack) > 0 && t.top().isList:
		t.comma()
		if t.top().role == results {
			t.rows++
		}
	}
	return nil
}

// ended follows a value.
func (t *translator) ended() {
	t.state = afterValue
	if len(t.stack) == 0 {
		t.state = over
	}
	if t.drop == len(t.stack) {
		t.drop = 0
	}
}

func (t *translator) open(isList bool) error {
	if len(t.stack) == 0 && !isList {
		t.next = answer
	}
	if err := t.begin(); err != nil {
		return err
	}
	if len(t.stack) == maxDepth {
		return errDepth
	}
	f := frame{role: t.next, isList: isList}
	t.stack = append(t.stack, f)
	if !isList {
		t.state = firstName
		t.write([]byte{'{'})
		return nil
	}
	t.state, t.next = firstItem, f.item()
	t.write([]byte{'['})
	if f.role == results {
		t.hasRows, t.size = true, -t.written
	}
	return nil
}

func (t *translator) close(isList bool) error {
	first, end := firstName, byte('}')
	if isList {
		first, end = firstItem, ']'
	}
	if t.state != afterValue && t.state != first || len(t.stack) == 0 || t.top().isList != isList {
		return errJSON
	}
	switch f := t.top(); {
	case f.role == results && isList:
		t.size += t.written
	case f.role == answer && !t.hasRows:
		return errShape
	case f.role == answer && !t.hasStats:
		t.comma()
		t.write(t.stats())
	}
	t.write([]byte{end})
	t.stack = t.stack[:len(t.stack)-1]
	t.ended()
	return nil
}

// string takes a piece of a string: of a member's name or of a type's, which are
// looked at, or of any other, which goes out piece by piece.
func (t *translator) string(piece []byte, last bool) error {
	isName := t.state == firstName || t.state == nextName
	if isName || t.next == kind && t.state == value {
		if t.word = append(t.word, piece...); len(t.word) > maxWord {
			return errWord
		}
		if !last {
			return nil
		}
		raw := t.word
		t.word = t.word[:0]
		if isName {
			return t.name(raw)
		}
		t.write(typeName(raw))
		t.ended()
		return nil
	}
	if t.state != inString {
		if err := t.begin(); err != nil {
			return err
		}
		t.state = inString
	}
	t.write(piece)
	if last {
		t.ended()
	}
	return nil
}

// name takes the name of a member, with its quotes, and finds out what is to
// become of it.
func (t *translator) name(raw []byte) error {
	name, err := unquoted(raw)
	if err != nil {
		return errJSON
	}
	t.state, t.next = colon, other
	left := false // it is left out
	switch t.top().role {
	case answer:
		switch strings.ToLower(string(name)) {
		case "schema":
			raw, t.next = []byte(`"Schema"`), schema
		case "results":
			raw, t.next = []byte(`"Results"`), results
		case "stats":
			raw, t.hasStats = []byte(`"Stats"`), true
		}
		left = bytes.Contains(name, []byte("@odata."))
	case column:
		switch strings.ToLower(string(name)) { // Microsoft's samples have both
		case "name":
			raw = []byte(`"Name"`)
		case "type":
			raw, t.next = []byte(`"Type"`), kind
		}
		left = bytes.HasSuffix(name, []byte(odataType))
	case data:
		t.next = data
		left = bytes.HasSuffix(name, []byte(odataType))
	}
	if left {
		t.next, t.drop = other, len(t.stack)
		return nil
	}
	t.comma()
	t.write(raw)
	t.write([]byte{':'})
	return nil
}

// comma separates what comes from what was written before it.
func (t *translator) comma() {
	if f := t.top(); f.some {
		t.write([]byte{','})
	} else {
		f.some = true
	}
}

func (t *translator) write(b []byte) {
	if t.drop == 0 {
		t.out = append(t.out, b...)
		t.written += len(b)
	}
}

func (t *translator) top() *frame { return &t.stack[len(t.stack)-1] }

// item is the role of a list's elements.
func (f *frame) item() role {
	switch f.role {
	case schema:
		return column
	case results, data:
		return data
	default:
		return other
	}
}

// stats is the member that Graph has nothing for, as far as it is known here:
// how long the query took, the way to Graph included, and how much came. What it
// used of Graph's resources nobody knows.
func (t *translator) stats() []byte {
	return fmt.Appendf(nil, `"Stats":{"ExecutionTime":%.3f,"resource_usage":{},"dataset_statistics":[{"table_row_count":%d,"table_size":%d}]}`,
		time.Since(t.began).Seconds(), t.rows, t.size)
}

// unquoted is what a string says.
func unquoted(raw []byte) ([]byte, error) {
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1], nil
	}
	var s string
	err := json.Unmarshal(raw, &s)
	return []byte(s), err
}

// typeName is a column's type in the words of the old APIs, which are .NET's:
// Graph has those too, but the query language has its own, and OData prefixes.
// See "Scalar data types", learn.microsoft.com/kusto/query/scalar-data-types. A
// type of another name keeps it.
func typeName(raw []byte) []byte {
	spelt, err := unquoted(raw)
	if err != nil {
		return raw
	}
	name := strings.ToLower(string(spelt))
	for _, prefix := range []string{"#", "edm.", "system."} {
		name = strings.TrimPrefix(name, prefix)
	}
	switch name {
	case "string":
		return []byte(`"String"`)
	case "datetime", "date", "datetimeoffset":
		return []byte(`"DateTime"`)
	case "long", "int64":
		return []byte(`"Int64"`)
	case "int", "int32":
		return []byte(`"Int32"`)
	case "real", "double":
		return []byte(`"Double"`)
	case "bool", "boolean", "sbyte": // they have no other word for it
		return []byte(`"SByte"`)
	case "dynamic", "object":
		return []byte(`"Object"`)
	case "guid", "uuid", "uniqueid":
		return []byte(`"Guid"`)
	case "timespan", "time", "duration":
		return []byte(`"TimeSpan"`)
	case "decimal", "sqldecimal":
		return []byte(`"SqlDecimal"`)
	default:
		return raw
	}
}
