package config

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// prefix begins the name of every variable that is ours.
const prefix = "TOKENBROKER_"

// variable is the name of the variable of a setting: cache.size is
// TOKENBROKER_CACHE_SIZE.
func variable(path string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

// environment takes the settings that are set as variables. One that is set
// to nothing counts as not set, since that is what an empty substitution
// leaves behind.
func (l *loader) environment(all []setting) {
	names, bare := make([]string, len(all)), make([]string, len(all))
	for i, s := range all {
		names[i] = variable(s.path)
		bare[i] = strings.TrimPrefix(names[i], prefix)
		if text := l.env[names[i]]; text != "" {
			l.set(s, text, origin{name: names[i]})
		}
	}
	// Kubernetes puts such variables into every container of a namespace that
	// has a Service named tokenbroker, or tokenbroker-something.
	service := regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)
	for _, name := range slices.Sorted(maps.Keys(l.env)) {
		switch {
		case !strings.HasPrefix(name, prefix), slices.Contains(names, name):
		case service.MatchString(name):
			l.cfg.Notes = append(l.cfg.Notes, name+": ignored: Kubernetes sets it for a Service")
		default:
			text := name + ": no such setting, ignored"
			if near := nearest(strings.TrimPrefix(name, prefix), bare); near != "" {
				text += "; did you mean " + prefix + near + "?"
			}
			l.warn(text)
		}
	}
}
