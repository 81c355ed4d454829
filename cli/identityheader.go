package cli

import (
	"encoding/base64"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"strings"

	"tokenbroker/entra"
	"tokenbroker/guard"
	"tokenbroker/server"
)

// identityHeader is the key that the App Service protocol demands where no
// caller keys are configured. It is the broker's from its start to its end.
type identityHeader struct {
	path  string
	keys  *guard.Keyring
	fresh entra.Secret // what the file gets; zero: the key is the one that it has
}

// openIdentityHeader makes a key for the file, or takes the one that a broker
// before has left there. It writes nothing yet, and refuses a file that is not
// for us to replace.
func openIdentityHeader(path string, logger *slog.Logger) (*identityHeader, error) {
	if err := checkPlace(path, logger); err != nil {
		return nil, err
	}
	key, err := keyLeftAt(path, logger)
	if err != nil {
		return nil, err
	}
	h := &identityHeader{path: path}
	if key.IsZero() {
		key = entra.NewSecret(newKeyText())
		h.fresh = key
	}
	h.keys = guard.NewKeyring(map[string][]entra.Secret{guard.Local: {key}})
	return h, nil
}

// keyLeftAt returns the key in the file of a broker before; zero: there is
// none, or others may have read it.
func keyLeftAt(path string, logger *slog.Logger) (key entra.Secret, err error) {
	const remedy = "remove it, or name another file"
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return key, nil
	case err != nil:
		return key, wrongUsage("%s: %w", path, withoutPath(err))
	case !info.Mode().IsRegular():
		return key, wrongUsage("%s: is there and no regular file; %s", path, remedy)
	case !ours(info):
		return key, wrongUsage("%s: belongs to another user, who could know the key; %s", path, remedy)
	}
	content, err := readSmall(path)
	if err != nil {
		return key, err
	}
	text := strings.TrimSpace(string(content))
	switch {
	case text == "":
		return key, nil
	case !isMadeKey(text):
		return key, wrongUsage("%s: holds something else than one key that a broker has made; %s", path, remedy)
	case !private(info):
		logger.Warn("others could read the key in the file, so it gets a new one", "file", path)
		return key, nil
	}
	return entra.NewSecret(text), nil
}

// isMadeKey reports whether a text is what newKeyText makes.
func isMadeKey(text string) bool {
	bits, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimPrefix(text, keyPrefix))
	return err == nil && len(bits) == keyBytes && strings.HasPrefix(text, keyPrefix)
}

// write puts a key that was made into its file. A nil one has none.
func (h *identityHeader) write() error {
	if h == nil || h.fresh.IsZero() {
		return nil
	}
	return writeWhole(h.path, []byte(h.fresh.Reveal()+"\n"), 0o600) //nolint:forbidigo // the file is how programs get it
}

// openHeader makes the key of identity_header_file, or keeps that of before: it
// is that of the start.
func (a *app) openHeader(before *app) (err error) {
	if before != nil {
		a.header = before.header
		return nil
	}
	if a.cfg.IdentityHeaderFile == "" || asksProof(a.cfg) || !a.cfg.Protocols.AppService {
		return nil
	}
	if a.header, err = openIdentityHeader(a.cfg.IdentityHeaderFile, a.logger.Logger); err != nil {
		return atPath("identity_header_file", err)
	}
	return nil
}

// madeKeys are the keys made at the start, where they count; nil: they do not.
func (a *app) madeKeys() *guard.Keyring {
	if a.header == nil || asksProof(a.cfg) {
		return nil
	}
	return a.header.keys
}

// appServiceOff says why the App Service protocol is not served although it is
// set; nil: it is. It never goes without a key: a program that reaches the
// listener, such as one that fetches whatever URL it is told to, is stopped by
// that alone.
func (a *app) appServiceOff() *entra.Error {
	if !a.guard.Open() || a.header != nil {
		return nil
	}
	return entra.Errorf(entra.Denied, "cli.appservice", "the App Service protocol is off: it demands a caller key and none is configured; set caller_key_file, or identity_header_file and restart")
}

// keyed is the mount of the App Service protocol: it demands a key although the
// listener may be open, and where there is none it refuses and says so.
func (a *app) keyed(m server.Mount) server.Mount {
	if off := a.appServiceOff(); off != nil {
		m.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.WriteError(w, r, off) })
	} else if keys := a.madeKeys(); keys != nil {
		m.Guard = guard.New(guard.Config{Keys: keys, Hosts: listenerHosts(a.cfg)})
	}
	return m
}
