package config

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"tokenbroker/route"
)

// maxValues bounds what a file may hold with its aliases unfolded. A few
// lines of them can stand for billions of values.
const maxValues = 100_000

// document reads a YAML file into a [Config]. It keeps every scalar as the
// text that stands in the file (0660 is no number here), notes the line of
// every path, and goes on after a fault, so that all are found.
type document struct {
	name   string
	faults *faults
	left   int // how many values may still be read
}

// read parses the content. A file that is no YAML, or holds no settings, gives
// one fault and nothing else.
func (d *document) read(content []byte, into *Config) {
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var root, second yaml.Node
	switch err := decoder.Decode(&root); {
	case errors.Is(err, io.EOF):
		d.faults.addAt(origin{name: d.name}, "", "empty: it holds no settings")
		return
	case err != nil:
		d.syntax(err)
		return
	}
	switch err := decoder.Decode(&second); {
	case err == nil:
		d.fault(&second, "", "a second YAML document begins here; want one")
		return
	case !errors.Is(err, io.EOF):
		d.syntax(err)
		return
	}
	top := root.Content[0]
	if isNull(top) {
		d.faults.addAt(origin{name: d.name}, "", "empty: it holds no settings")
		return
	}
	d.left = maxValues
	d.value(top, reflect.ValueOf(into).Elem(), "")
}

// syntax reports what the YAML parser says, its line where ours stand.
func (d *document) syntax(err error) {
	at, text := origin{name: d.name}, strings.TrimPrefix(err.Error(), "yaml: ")
	if m := regexp.MustCompile(`^line (\d+): (.*)`).FindStringSubmatch(text); m != nil {
		at.line, _ = strconv.Atoi(m[1])
		text = m[2]
	}
	switch {
	case strings.HasPrefix(text, "unknown anchor"): // it quotes the value, which may be a secret
		text = "an alias to an anchor that is not there; a value that begins with * needs quotes"
	case text == "did not find expected alphabetic or numeric character": // of an anchor's name
		text = `an alias or an anchor without a name; a value that begins with * or & needs quotes, as in routes: ["*"]`
	}
	d.faults.addAt(at, "", "not YAML: %s", text)
}

// value reads a node into a setting.
func (d *document) value(n *yaml.Node, setting reflect.Value, path string) {
	if !d.spend(n, 1) {
		return
	}
	n = resolve(n)
	switch keys := fields(setting.Type()); {
	case n.Style&yaml.TaggedStyle != 0:
		d.fault(n, path, "YAML tags have no meaning here; a value that begins with ! needs quotes")
	case isNull(n):
		d.fault(n, path, "has no value; give it one, or remove the key")
	case n.Kind == yaml.ScalarNode:
		d.text(n, setting, path)
	case n.Kind == yaml.SequenceNode && setting.Kind() == reflect.Slice:
		d.list(n, setting, path)
	case n.Kind == yaml.MappingNode && setting.Kind() == reflect.Map:
		d.named(n, setting, path)
	case n.Kind == yaml.MappingNode && len(keys) > 0:
		d.section(n, setting, keys, path)
	default:
		d.fault(n, path, "want %s", wanted(setting))
	}
}

// spend counts values, and reports whether more may be read. It is also what
// ends a mapping that merges itself.
func (d *document) spend(n *yaml.Node, values int) bool {
	d.left -= values
	if d.left < 0 {
		d.fault(n, "", "more than %d values, with its aliases unfolded", maxValues)
	}
	return d.left >= 0
}

func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func (d *document) text(n *yaml.Node, setting reflect.Value, path string) {
	ok, err := setText(setting.Addr().Interface(), n.Value)
	if err != nil {
		d.fault(n, path, "%s", message(err))
	} else if !ok {
		d.fault(n, path, "want %s", wanted(setting))
	}
}

// list reads a list, which replaces the one that is the default.
func (d *document) list(n *yaml.Node, setting reflect.Value, path string) {
	setting.Set(reflect.MakeSlice(setting.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		at := element(path, i)
		d.faults.origins[at] = d.at(item)
		d.value(item, setting.Index(i), at)
	}
}

// named reads a mapping whose keys are names.
func (d *document) named(n *yaml.Node, setting reflect.Value, path string) {
	setting.Set(reflect.MakeMap(setting.Type()))
	for _, e := range d.entries(n, path) {
		at := join(path, shown(e.key.Value))
		if !route.IsName(e.key.Value) {
			d.fault(e.key, at, route.WantName)
			continue
		}
		d.faults.origins[at] = d.at(e.key)
		item := reflect.New(setting.Type().Elem()).Elem()
		d.value(e.value, item, at)
		setting.SetMapIndex(reflect.ValueOf(e.key.Value), item)
	}
}

// section reads a mapping whose keys are settings.
func (d *document) section(n *yaml.Node, setting reflect.Value, keys []reflect.StructField, path string) {
	for _, e := range d.entries(n, path) {
		at := join(path, shown(e.key.Value))
		i := slices.IndexFunc(keys, func(f reflect.StructField) bool { return f.Tag.Get("yaml") == e.key.Value })
		if i < 0 {
			d.fault(e.key, at, "no such key%s", suggestion(e.key.Value, keys))
			continue
		}
		d.faults.origins[at] = d.at(e.key)
		d.value(e.value, setting.FieldByIndex(keys[i].Index), at)
	}
}

type entry struct{ key, value *yaml.Node }

// entries lists what a mapping holds: its own entries, and what its merge key
// (<<) brings in beside them.
func (d *document) entries(n *yaml.Node, path string) []entry {
	var own, merged []entry
	lines := map[string]int{} // of the keys
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch first, twice := lines[key.Value]; {
		case key.Kind != yaml.ScalarNode:
			d.fault(key, path, "a key is one word, not a list, a mapping or an alias")
		case key.Tag == "!!merge":
			merged = append(merged, d.merged(value, path)...)
		case twice:
			d.fault(key, join(path, shown(key.Value)), "stands twice, first on line %d", first)
		default:
			lines[key.Value] = key.Line
			own = append(own, entry{key, value})
		}
	}
	if !d.spend(n, len(merged)) {
		return nil
	}
	for _, e := range merged {
		if _, beaten := lines[e.key.Value]; !beaten {
			lines[e.key.Value] = e.key.Line
			own = append(own, e)
		}
	}
	return own
}

// merged lists what the value of a merge key brings in: a mapping's entries,
// or those of a list of mappings, where the earlier ones win.
func (d *document) merged(value *yaml.Node, path string) []entry {
	n := resolve(value)
	switch {
	case !d.spend(n, 1):
		return nil
	case n.Kind == yaml.MappingNode:
		return d.entries(n, path)
	case n.Kind == yaml.SequenceNode && n == value: // an alias to a list is not what YAML means
		var all []entry
		for _, item := range n.Content {
			all = append(all, d.merged(item, path)...)
		}
		return all
	default:
		d.fault(n, join(path, "<<"), "want a mapping to merge, or a list of them")
		return nil
	}
}

func (d *document) at(n *yaml.Node) origin { return origin{d.name, n.Line} }

func (d *document) fault(n *yaml.Node, path, format string, args ...any) {
	d.faults.addAt(d.at(n), path, format, args...)
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// wanted says what has to stand where something else does.
func wanted(setting reflect.Value) string {
	switch {
	case setting.Kind() == reflect.Slice:
		return "a list"
	case setting.Kind() == reflect.Map, len(fields(setting.Type())) > 0:
		return "a mapping"
	default:
		return "one value, not a list or a mapping"
	}
}
