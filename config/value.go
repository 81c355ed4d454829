package config

import (
	"errors"
	"io/fs"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"tokenbroker/entra"
	"tokenbroker/route"
)

// Size is a number of bytes.
type Size int64

// setText gives a setting the value that a text stands for, whether the text
// came from the file, a variable or a default: there is one spelling for all.
// The setting is a pointer. It reports false for a type that is no text.
func setText(setting any, text string) (ok bool, err error) {
	switch p := setting.(type) {
	case *string:
		*p, err = parseLine(text)
	case *bool:
		*p, err = parseBool(text)
	case *int:
		*p, err = parseInt(text)
	case *time.Duration:
		*p, err = parseDuration(text)
	case *Size:
		*p, err = parseSize(text)
	case *Address:
		*p, err = parseAddress(text)
	case *Listener:
		*p = Listener{}
		p.Address, err = parseAddress(text)
	case *fs.FileMode:
		*p, err = parseMode(text)
	case *UID:
		*p, err = parseUID(text)
	case *CredentialKind:
		*p, err = oneOf("kind", text, credentialKinds()...)
	case *Store:
		*p = Store{}
		p.Kind, err = oneOf("store", text, InMemory, InKeychain)
	case *Rate:
		var word string
		word, err = oneOf("rate", text, "catalogue", "off")
		*p = Rate{Off: word == "off"}
	case *Sidecar:
		p.On, err = parseBool(text)
	case *VaultURL:
		*p, err = unlessEmpty(text, parseVault)
	case *LogFormat:
		*p, err = oneOf("format", text, LogJSON, LogText)
	case *slog.Level:
		*p, err = parseLevel(text)
	case *Method:
		*p, err = oneOf[Method]("method", text, http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut,
			http.MethodPatch, http.MethodDelete, http.MethodOptions)
	case **url.URL:
		*p, err = parseUpstream(text)
	case *route.Access:
		*p, err = route.ParseAccess(text)
	case *route.Bridge:
		*p, err = route.ParseBridge(text)
	case *route.Pattern:
		*p, err = route.ParsePattern(text)
	case *entra.Cloud:
		*p, err = entra.ParseCloud(text)
	case *entra.Authority:
		*p, err = unlessEmpty(text, entra.ParseAuthority)
	case *entra.Tenant:
		*p, err = unlessEmpty(text, entra.ParseTenant)
	case *entra.Scope:
		*p, err = unlessEmpty(text, entra.ParseScope)
	default:
		return false, nil
	}
	return true, err
}

// unlessEmpty leaves a setting unset where its text is "".
func unlessEmpty[T ~string](text string, parse func(string) (T, error)) (T, error) {
	if text == "" {
		return "", nil
	}
	return parse(text)
}

// oneOf accepts the text if it is one of the values.
func oneOf[T ~string](what, text string, values ...T) (T, error) {
	if i := slices.Index(values, T(text)); i >= 0 {
		return values[i], nil
	}
	names := make([]string, len(values))
	for i, v := range values {
		names[i] = string(v)
	}
	return "", invalid("%s %s: not one of %s", what, entra.Quote(text), strings.Join(names, ", "))
}

// parseLine accepts any text on one line: a file's name with a line break at
// its end is a slip of the YAML.
func parseLine(text string) (string, error) {
	if strings.ContainsFunc(text, unicode.IsControl) {
		return "", invalid("has a line break or another control character in it")
	}
	return text, nil
}

func parseBool(text string) (bool, error) {
	if text != "true" && text != "false" {
		return false, invalid("%s: want true or false", entra.Quote(text))
	}
	return text == "true", nil
}

func parseInt(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, invalid("%s: want a whole number", entra.Quote(text))
	}
	return n, nil
}

func parseDuration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, invalid("%s: want a duration with its unit, as in 5s, 250ms or 2m30s", entra.Quote(text))
	}
	return d, nil
}

// parseSize accepts a whole number of bytes, or of a unit: powers of 1000 (kB,
// MB, GB) or of 1024 (KiB, MiB, GiB).
func parseSize(text string) (Size, error) {
	digits := strings.TrimRightFunc(text, unicode.IsLetter)
	var unit int64
	switch text[len(digits):] {
	case "", "B":
		unit = 1
	case "kB":
		unit = 1e3
	case "MB":
		unit = 1e6
	case "GB":
		unit = 1e9
	case "KiB":
		unit = 1 << 10
	case "MiB":
		unit = 1 << 20
	case "GiB":
		unit = 1 << 30
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange), err == nil && unit > 0 && n > math.MaxInt64/unit:
		return 0, invalid("%s: more bytes than can be counted", entra.Quote(text))
	case err != nil, unit == 0:
		return 0, invalid("%s: want a size in bytes, as in 32MiB, 10MB or 65536", entra.Quote(text))
	}
	return Size(n * unit), nil
}

// parseMode accepts the mode of a socket's file, in octal. Its owner, the
// broker, needs the file; others never get it.
func parseMode(text string) (fs.FileMode, error) {
	n, err := strconv.ParseUint(text, 8, 32)
	switch mode := fs.FileMode(n); {
	case err != nil || n > 0o777 || mode&0o600 != 0o600:
		return 0, invalid("mode %s: want an octal file mode such as 0660 or 0600", entra.Quote(text))
	case mode&0o007 != 0:
		return 0, invalid("mode %s: every local user could call; want none for others, as in 0660", entra.Quote(text))
	default:
		return mode, nil
	}
}

func parseLevel(text string) (slog.Level, error) {
	name, err := oneOf("level", text, "debug", "info", "warn", "error")
	if err != nil {
		return 0, err
	}
	var level slog.Level
	return level, level.UnmarshalText([]byte(name))
}

// parseUpstream accepts an https URL that calls can be appended to.
func parseUpstream(text string) (*url.URL, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // not set
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "":
		return nil, invalid("want a URL such as https://api.security.microsoft.com") // without the text: it may hold a password
	case u.User != nil:
		return nil, invalid("has a user name or a password in it; the broker adds a token, nothing else")
	case u.Scheme != "https":
		return nil, invalid("%s: want https, the calls carry tokens", entra.Quote(text))
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, invalid("%s: want it without query and fragment", entra.Quote(text))
	case u.Port() != "" && !isPort(u.Port()):
		return nil, invalid("%s: want a port from 1 to 65535", entra.Quote(text))
	}
	u.Host = strings.ToLower(u.Host)
	if u.Path == "/" {
		u.Path = ""
	}
	return u, nil
}

// isPort reports whether s is a port in decimal, without a sign or a name.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

// invalid is the fault of a value; where it stands is added by who read it.
func invalid(format string, args ...any) *entra.Error {
	return entra.Errorf(entra.Invalid, "", format, args...)
}
