package cli

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tokenbroker/entra"
)

func TestKeyLeavesTheMachineOverTLSAlone(t *testing.T) {
	for _, tt := range []struct {
		url     string
		withKey bool
		ok      bool
	}{
		{"http://localhost:5178", true, true},
		{"http://127.0.0.1:5178", true, true},
		{"http://[::1]:5178", true, true},
		{"https://broker.example", true, true},
		{"http://broker.example", false, true},
		{"http://broker.example", true, false},
		{"http://localhost.evil.example", true, false},
		{"http://10.0.0.5:5178", true, false},
		{"http://user:sw0rdfish@localhost:5178", false, false},
		{"ftp://localhost", false, false},
		{"localhost:5178", false, false},
	} {
		err := checkURL(tt.url, tt.withKey)
		if (err == nil) != tt.ok || err != nil && strings.Contains(err.Error(), "sw0rdfish") {
			t.Errorf("%s, key %v: %v", tt.url, tt.withKey, err)
		}
	}
}

func TestDecodedTokenWritesNoLinesOfItsOwn(t *testing.T) {
	encode := base64.RawURLEncoding.EncodeToString
	forged := "https://api.security.microsoft.com\nnote         signature verified\x1b]0;title\a"
	quoted := strings.NewReplacer("\n", `\n`, "\x1b", "\\u001b", "\a", `\u0007`).Replace(forged)
	token := encode([]byte("{\n\"alg\":\"none\"}")) + "." + encode([]byte(`{"aud":"`+quoted+`","roles":["a\nopens        everything"]}`)) + ".x"
	var out bytes.Buffer
	if code := Main(t.Context(), System{Args: []string{"decode"}, In: strings.NewReader(token), Out: &out, Err: &out}); code != exitDone {
		t.Fatalf("exit code %d: %s", code, out.String())
	}
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(line, "note         signature") || strings.HasPrefix(line, "opens        every") || strings.ContainsAny(line, "\x1b\a") {
			t.Errorf("the token wrote %q", line)
		}
	}
}

func TestFilesAreReadWithABound(t *testing.T) {
	large := filepath.Join(t.TempDir(), "large")
	must(t, os.WriteFile(large, make([]byte, maxSmall+1), 0o600))
	for path, want := range map[string]string{
		t.TempDir():                           "not a regular file",
		os.DevNull:                            "not a regular file",
		large:                                 "larger than",
		filepath.Join(t.TempDir(), "no-file"): "no-file: ",
	} {
		if _, err := readSmall(path); entra.KindOf(err) != entra.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}
