package defenderemu

import (
	"cmp"
	"strings"
	"time"
)

// stampLayout has the seven digits of a second that the API writes.
const stampLayout = "2006-01-02T15:04:05.0000000Z"

// stamp is a point in time as the API writes it. The zero stamp is null.
type stamp struct{ time.Time }

// MarshalJSON implements [encoding/json.Marshaler].
func (s stamp) MarshalJSON() ([]byte, error) {
	if s.IsZero() {
		return []byte("null"), nil
	}
	return s.UTC().AppendFormat(nil, `"`+stampLayout+`"`), nil
}

// after is the stamp moved by d.
func (s stamp) after(d time.Duration) stamp { return stamp{s.Add(d)} }

// optional is a text that may be absent: the empty one is null.
type optional string

// MarshalJSON implements [encoding/json.Marshaler].
func (o optional) MarshalJSON() ([]byte, error) {
	if o == "" {
		return []byte("null"), nil
	}
	return marshal(string(o))
}

// scalar brings a value to one of the types that can be compared: string,
// float64, bool, [time.Time], or nil for null. Anything else stays as it is.
func scalar(v any) any {
	switch v := v.(type) {
	case int:
		return float64(v)
	case int64:
		return float64(v)
	case optional:
		if v == "" {
			return nil
		}
		return string(v)
	case stamp:
		if v.IsZero() {
			return nil
		}
		return v.Time
	}
	return v
}

// order compares two scalars. It is false where they have no order: of
// different types, or null.
func order(a, b any) (int, bool) {
	switch a := a.(type) {
	case string:
		if b, ok := b.(string); ok {
			return strings.Compare(a, b), true
		}
	case float64:
		if b, ok := b.(float64); ok {
			return cmp.Compare(a, b), true
		}
	case bool:
		if b, ok := b.(bool); ok {
			return cmp.Compare(ordinal(a), ordinal(b)), true
		}
	case time.Time:
		if b, ok := b.(time.Time); ok {
			return a.Compare(b), true
		}
	}
	return 0, false
}

func ordinal(b bool) int {
	if b {
		return 1
	}
	return 0
}

// sorts orders two scalars for a sorted list, null first.
func sorts(a, b any) int {
	if c, ok := order(a, b); ok {
		return c
	}
	return cmp.Compare(ordinal(a != nil), ordinal(b != nil))
}

// same reports whether two scalars are equal; null equals null.
func same(a, b any) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	c, ok := order(a, b)
	return ok && c == 0
}
