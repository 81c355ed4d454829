package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"tokenbroker/entra"
)

// faults collects everything that is wrong, each fault under the path of its
// setting, so that all of it can be told at once.
type faults struct {
	origins map[string]origin // by path, of what was set
	found   []fault
	paths   map[string]bool // of the faults found
}

// maxFaults bounds how many faults are told. Who has more has taken another
// file for the configuration.
const maxFaults = 50

// origin is where a setting was made.
type origin struct {
	name string // of the file or the variable; empty: nowhere
	line int    // of the file; 0: it is a variable
}

type fault struct {
	path string
	origin
	text string
}

// add notes a fault of the setting at path, and where it was made: if it was
// not, where the section stands that lacks it. Only the first fault of a
// setting counts; the next ones follow from it.
func (f *faults) add(path, format string, args ...any) {
	f.addAt(f.origin(path), path, format, args...)
}

// addAt is add where the origin is known.
func (f *faults) addAt(at origin, path, format string, args ...any) {
	if f.has(path) {
		return
	}
	f.paths[path] = true
	f.found = append(f.found, fault{path, at, fmt.Sprintf(format, args...)})
}

// has reports whether the setting has a fault.
func (f *faults) has(path string) bool { return f.paths[path] }

// below reports whether something inside the section or the list has a fault.
func (f *faults) below(path string) bool {
	return slices.ContainsFunc(f.found, func(one fault) bool {
		rest, ok := strings.CutPrefix(one.path, path)
		return ok && rest != "" && strings.ContainsRune(".[", rune(rest[0]))
	})
}

// within reports whether the setting, or something inside it, has a fault.
func (f *faults) within(path string) bool { return f.has(path) || f.below(path) }

func (f *faults) origin(path string) origin {
	for {
		if at, ok := f.origins[path]; ok || path == "" {
			return at
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
}

// override notes that a setting was made anew, with all that was in it.
func (f *faults) override(path string, at origin) {
	for old := range f.origins {
		if strings.HasPrefix(old, path+"[") {
			delete(f.origins, old)
		}
	}
	f.origins[path] = at
}

// err returns all faults, in the order of the file's lines, one error each.
func (f *faults) err() error {
	slices.SortStableFunc(f.found, func(a, b fault) int { return cmp.Compare(a.line, b.line) })
	var errs []error
	for i, one := range f.found {
		if i == maxFaults {
			errs = append(errs, invalid("and %d more", len(f.found)-i))
			break
		}
		errs = append(errs, invalid("%s", one))
	}
	return errors.Join(errs...)
}

// String is the fault on one line: config.yaml:12: cache.size: what is wrong.
func (f fault) String() string {
	s := f.text
	if f.path != "" {
		s = f.path + ": " + s
	}
	switch {
	case f.name == "":
		return s
	case f.line > 0:
		return f.name + ":" + strconv.Itoa(f.line) + ": " + s
	default:
		return f.name + ": " + s
	}
}

// message is the text of an error for a fault: without the place in our code.
func message(err error) string { return entra.AsError(err).Message() }

// join is the path of a key below path.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// element is the path of an element of the list at path.
func element(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }
