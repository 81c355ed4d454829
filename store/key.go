package store

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"os"

	"tokenbroker/entra"
)

const (
	minRaw     = 32      // bytes of a key that is no text
	minText    = 43      // characters of one that is: 32 bytes in base64, unpadded
	minVariety = 8       // different bytes; random ones have more, a row of zeros does not
	maxKeyFile = 4 << 10 // bytes
)

const keyRemedy = "make one with: tokenbroker key new"

// readKey reads a key file. It looks before it opens: the opening of a named
// pipe would wait for its other end.
func readKey(path string) (entra.Secret, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return entra.Secret{}, fileError(entra.Invalid, path, "%w; %s", withoutPath(err), keyRemedy)
	case !info.Mode().IsRegular():
		return entra.Secret{}, fileError(entra.Invalid, path, "not a regular file; %s", keyRemedy)
	case info.Size() > maxKeyFile:
		return entra.Secret{}, fileError(entra.Invalid, path, "larger than %d bytes, so not a key; %s", maxKeyFile, keyRemedy)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return entra.Secret{}, fileError(entra.Invalid, path, "%w", withoutPath(err))
	}
	defer clear(content)
	key, fault := parseKey(content)
	if fault != "" {
		return entra.Secret{}, fileError(entra.Invalid, path, "%s; %s", fault, keyRemedy)
	}
	return key, nil
}

// parseKey takes the content of a key file for a key, as [OpenFile] says, or
// tells why it cannot.
func parseKey(content []byte) (key entra.Secret, fault string) {
	if line := bytes.TrimRight(content, "\r\n"); isText(line) {
		content = line
		if len(line) < minText {
			return key, "shorter than 43 characters"
		}
		if bytes.ContainsAny(line, " \t\r\n") {
			return key, "more than one word or line"
		}
	}
	if len(content) < minRaw {
		return key, "shorter than 32 bytes"
	}
	var seen [256]bool
	variety := 0
	for _, b := range content {
		if !seen[b] {
			seen[b] = true
			variety++
		}
	}
	if variety < minVariety {
		return key, "not random"
	}
	return entra.NewSecret(string(content)), ""
}

// isText reports whether all is printable ASCII or white space. 32 random bytes
// are not, but once in a hundred million million.
func isText(content []byte) bool {
	return !bytes.ContainsFunc(content, func(r rune) bool {
		return (r < ' ' || r > '~') && r != '\t' && r != '\r' && r != '\n'
	})
}

// newKey makes 256 random bits, as text.
func newKey() string {
	bits := make([]byte, minRaw)
	_, _ = rand.Read(bits) // never fails, as its documentation says
	return base64.RawURLEncoding.EncodeToString(bits)
}
