//go:build unix

package cli

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	entraemu "tokenbroker/emulator/entra"
)

func TestCommandsOfSignIn(t *testing.T) {
	w := newWorld(t)
	d := w.daemon(strings.Replace(strings.Replace(usersApp, "log: {level: debug}", "", 1), "device-code", "browser, redirect_uri: 'https://127.0.0.1'", 1))
	address := "http://" + net.JoinHostPort("127.0.0.1", portOf(t, d.doors["four"]))
	run := func(in *os.File, args ...string) (int, string, *logBuffer) {
		out, errs := new(logBuffer), new(logBuffer)
		sys := System{Args: append(args, "--url", address), Out: out, Err: errs}
		if in != nil {
			sys.In = in
		}
		return Main(t.Context(), sys), out.String(), errs
	}
	for _, tt := range []struct {
		code int
		says string
		args []string
	}{
		{1, "nobody is signed in; run: tokenbroker login me", []string{"whoami", "me"}},
		{0, "IDENTITY\tTENANT\tUSER\tSIGNED IN\nme\t", []string{"whoami"}},
		{2, "nobody signs in to it", []string{"login", "default"}},
		{1, "nobody", []string{"login", "nobody"}},
		{2, "prompt", []string{"login", "me", "--prompt", "none"}},
		{2, "accepts 1 arg", []string{"login"}},
		{0, "me: nobody is signed in", []string{"logout", "me"}},
		{2, "nobody signs in to it", []string{"logout", "default"}},
	} {
		if code, out, errs := run(nil, tt.args...); code != tt.code || !strings.Contains(out+errs.String(), tt.says) {
			t.Errorf("%v: exit code %d, %s%s", tt.args, code, out, errs)
		}
	}

	typed, typing, err := os.Pipe()
	must(t, err)
	defer typing.Close()
	out, errs := new(logBuffer), new(logBuffer)
	ended := make(chan int, 1)
	go func() {
		ended <- Main(t.Context(), System{Args: []string{"login", "me", "--url", address, "-o", "json"}, In: typed, Out: out, Err: errs})
	}()
	var page string
	must(t, eventually("the page is shown", func() bool {
		_, rest, ok := strings.Cut(errs.String(), "\nhttps://")
		page, _, _ = strings.Cut("https://"+rest, "\n")
		return ok && strings.HasSuffix(errs.String(), "\n")
	}))
	back, err := w.person(t, entraemu.DefaultUser).SignIn(t.Context(), page)
	must(t, err)
	fmt.Fprintf(typing, "\nhttps://127.0.0.1/?code=x&state=y\n%s\n", back.URL)
	if code := <-ended; code != 0 || !strings.Contains(out.String(), `"username": "`+entraemu.DefaultUser+`"`) || !strings.Contains(errs.String(), "of another sign-in") {
		t.Errorf("exit code %d, %s%s", code, out, errs)
	}
	if code, out, _ := run(nil, "whoami", "me", "-o", "json"); code != 0 || !strings.Contains(out, entraemu.DefaultUser) {
		t.Errorf("whoami: exit code %d, %s", code, out)
	}
}

func portOf(t *testing.T, addr net.Addr) string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr.String())
	must(t, err)
	return port
}
