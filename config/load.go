package config

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"

	"tokenbroker/defender"
)

// maxFile bounds a configuration file, in bytes.
const maxFile = 1 << 20

// Options say where settings come from. A variable beats the file, the file
// beats the default.
type Options struct {
	Catalogue *defender.Catalogue // for the built-in routes and the scopes of hosts
	File      string              // the YAML file; empty: none
	Env       []string            // as [os.Environ] has it
	Again     bool                // it was read before: now File has to be a regular file, since to open a pipe may wait for ever

	goos string // the system that it is for, as [runtime.GOOS] has it
}

// Load reads and checks the settings. Its error holds everything that is wrong,
// joined, each fault an [*entra.Error] of kind [entra.Invalid] on a line of its
// own. Beside an error the Config holds what could be read, so that the files it
// names can be looked at too; it is nil where nothing could.
func Load(opts Options) (*Config, error) {
	var content []byte
	if opts.File != "" {
		var err error
		if content, err = readFile(opts.File, opts.Again); err != nil {
			return nil, err
		}
	}
	opts.goos = runtime.GOOS
	return load(opts, content)
}

// readFile reads the file as a whole. The first time it may be a pipe.
func readFile(name string, again bool) ([]byte, error) {
	open := os.Open
	if again {
		open = openRegular
	}
	file, err := open(name)
	switch {
	case errors.Is(err, errIrregular):
		return nil, invalid("%s: %w; anything else is read at the start only", name, err)
	case err != nil:
		return nil, invalid("%s: %w", name, cause(err))
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.IsDir() {
		return nil, invalid("%s: a directory; want a YAML file", name)
	}
	content, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, invalid("%s: %w", name, cause(err))
	}
	if len(content) > maxFile {
		return nil, invalid("%s: larger than %d bytes", name, maxFile)
	}
	return content, nil
}

// cause drops the operation and the path that package os puts before its
// error, since our text names the path.
func cause(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// loader is what the steps of [Load] work on.
type loader struct {
	opts   Options
	env    map[string]string
	cfg    *Config
	faults *faults
	routes []string // the names of all routes, open or not
}

func load(opts Options, content []byte) (*Config, error) {
	l := &loader{
		opts:   opts,
		env:    make(map[string]string, len(opts.Env)),
		cfg:    new(Config),
		faults: &faults{origins: map[string]origin{}, paths: map[string]bool{}},
	}
	for _, entry := range opts.Env {
		name, value, _ := strings.Cut(entry, "=")
		l.env[name] = value
	}

	all := settings(l.cfg)
	for _, s := range all {
		if text, ok := s.tag.Lookup("default"); ok {
			l.set(s, text, origin{})
		}
	}
	if opts.File != "" {
		d := document{name: opts.File, faults: l.faults}
		d.read(content, l.cfg)
		if l.faults.has("") {
			return nil, l.faults.err() // no settings in it to check
		}
	}
	l.environment(all)
	l.checkBounds(all)

	l.chooseIdentities()
	if l.cfg.Authority == "" {
		l.cfg.Authority = l.cfg.Cloud.Authority()
	}
	l.makeTable(l.checkIdentities())
	l.checkScopes()
	l.checkForeignAudiences()
	l.checkDefaultRoute()
	l.checkListen()
	l.checkCallers()
	l.checkTokens()
	l.checkProtocols()
	l.checkIdentityHeader()
	l.checkWritten()
	l.checkClouds()
	l.noteClosed()
	return l.cfg, l.faults.err()
}

// set makes a setting anew: a later layer beats an earlier one.
func (l *loader) set(s setting, text string, at origin) {
	l.faults.override(s.path, at)
	if err := s.set(text); err != nil {
		l.faults.add(s.path, "%s", message(err))
	}
}

// checkBounds holds the numbers to the bounds in their tags.
func (l *loader) checkBounds(all []setting) {
	for _, s := range all {
		_, bounded := s.tag.Lookup("min")
		if bounded && (s.value.Int() < s.bound("min") || s.value.Int() > s.bound("max")) {
			l.faults.add(s.path, "out of bounds; want %s to %s", s.tag.Get("min"), s.tag.Get("max"))
		}
	}
}

func (l *loader) warn(text string) { l.cfg.Warnings = append(l.cfg.Warnings, text) }
