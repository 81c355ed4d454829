package config

import (
	"reflect"
	"strings"

	"tokenbroker/entra"
	"tokenbroker/route"
)

// nearest returns the name that s was probably meant to be; empty: none is
// near enough.
func nearest(s string, names []string) string {
	const longest = 64 // of the names, with some to spare
	if len(s) > longest {
		return ""
	}
	best, distance := "", 2+len(s)/4
	for _, name := range names {
		if d := edits(s, name); d < distance {
			best, distance = name, d
		}
	}
	return best
}

// edits counts the letters to insert, delete or replace between two words:
// their Levenshtein distance.
func edits(a, b string) int {
	row := make([]int, len(b)+1) // the distances of a's letters so far to each start of b
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// suggestion names the key that an unknown one was probably meant to be.
func suggestion(key string, keys []reflect.StructField) string {
	names := make([]string, len(keys))
	for i, f := range keys {
		names[i] = f.Tag.Get("yaml")
	}
	if near := nearest(key, names); near != "" {
		return "; did you mean " + near + "?"
	}
	return "; known here: " + strings.Join(names, ", ")
}

// shown writes a key of the file into a path: as it is, or quoted where it
// could be taken for something else.
func shown(key string) string {
	if route.IsName(strings.ReplaceAll(key, "_", "-")) {
		return key
	}
	return entra.Quote(key)
}
