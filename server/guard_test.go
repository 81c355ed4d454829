package server_test

import (
	"net/http"
	"strings"
	"testing"

	"tokenbroker/guard"
	"tokenbroker/server"
)

// A mount with a guard of its own asks for what that wants, the others for what
// the listener's does; also of two mounts at one path.
func TestMountWithItsOwnGuard(t *testing.T) {
	own := at("/own", echo, http.MethodGet)
	own.Guard = keyed()
	b := run(t, server.Config{}, only(own, at("/own", accept, http.MethodPost), at("/open", echo)))
	for _, tt := range []struct {
		method, path, key string
		status            int
	}{
		{"GET", "/own", "", 401},
		{"GET", "/own", "another-key-0123456789", 401},
		{"GET", "/own", key, 200},
		{"POST", "/own", "", 202},
		{"GET", "/open", "", 200},
		{"GET", "/elsewhere", "", 404},
		{"GET", "/own?x=" + key, "", 403},
	} {
		if got := b.do(t, tt.method, tt.path, "X-Broker-Key: "+tt.key); got.StatusCode != tt.status {
			t.Errorf("%s %s with %q: status %d, want %d", tt.method, tt.path, tt.key, got.StatusCode, tt.status)
		}
	}
	b.stop()
	if err := b.drained(t); err != nil {
		t.Error(err)
	}
}

// The mount's guard also says what is not written down there.
func TestMountWithItsOwnGuardKeepsItsKeys(t *testing.T) {
	own := at("/own/*", echo)
	own.Guard = keyed()
	b := runOn(t, guard.New(guard.Config{}), server.Config{}, only(own), listen(t, "tcp4", "127.0.0.1:0"), listen(t, "tcp4", "127.0.0.1:0"))
	b.do(t, "GET", "/own/"+key, "X-Broker-Key: "+key)
	if line := b.log.next(t, "request"); strings.Contains(line["path"].(string), key) {
		t.Errorf("logged: %v", line)
	}
}
