package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tokenbroker/entra"
)

// The variables that stand for flags of the commands.
const (
	envConfig  = "TOKENBROKER_CONFIG"
	envURL     = "TOKENBROKER_URL"
	envSocket  = "TOKENBROKER_SOCKET"
	envKeyFile = "TOKENBROKER_KEY_FILE"
)

// client speaks to a running broker.
type client struct {
	url     string // http://localhost:5178
	socket  string // a Unix socket; empty: by TCP
	keyFile string // empty: no key
	direct  bool   // whether the command also works without a broker
}

// clientFlags adds the flags by which a command finds the running broker.
func clientFlags(cmd *cobra.Command, sys System) *client {
	flags := cmd.Flags()
	c := &client{direct: flags.Lookup("direct") != nil}
	flags.StringVar(&c.url, "url", orElse(sys.Getenv(envURL), "http://localhost:5178"), "the running broker (or "+envURL+")")
	flags.StringVar(&c.socket, "socket", sys.Getenv(envSocket), "the running broker's Unix socket (or "+envSocket+")")
	flags.StringVar(&c.keyFile, "key-file", sys.Getenv(envKeyFile), "file with the caller key, where the broker asks for one (or "+envKeyFile+")")
	cmd.MarkFlagsMutuallyExclusive("url", "socket")
	return c
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// post sends a form and decodes the JSON answer.
func (c *client) post(ctx context.Context, path string, form url.Values, answer any) error {
	return c.ask(ctx, http.MethodPost, path, form, answer)
}

// ask sends a form, of a GET in the query, and decodes the JSON answer.
func (c *client) ask(ctx context.Context, method, path string, form url.Values, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	resp, err := c.send(ctx, method, path, form)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return c.unreachable(err)
	}
	if err := json.Unmarshal(body, answer); err != nil {
		return c.strange()
	}
	return nil
}

const maxAnswer = 1 << 20 // bytes of a broker's answer

// strange is what is said of an answer that is no broker's.
func (c *client) strange() error {
	return entra.Errorf(entra.Upstream, "", "%s: does not answer like a broker", c.where())
}

// send sends a form, of a GET in the query, and returns an answer that is no
// refusal. Its body is the caller's to close.
func (c *client) send(ctx context.Context, method, path string, form url.Values) (*http.Response, error) {
	if err := checkURL(c.url, c.keyFile != "" && c.socket == ""); err != nil {
		return nil, err
	}
	target, body := strings.TrimSuffix(c.url, "/")+path, form.Encode()
	if method == http.MethodGet && body != "" {
		target, body = target+"?"+body, ""
	}
	req, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	if err != nil {
		return nil, wrongUsage("--url %q: %w", c.url, err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if c.keyFile != "" {
		key, err := readKey(c.keyFile)
		if err != nil {
			return nil, err
		}
		req.Header.Set("X-Broker-Key", key)
	}
	resp, err := c.http().Do(req)
	if err != nil {
		return nil, c.unreachable(err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, c.unreachable(err)
	}
	return nil, refusal(resp, said)
}

// checkURL checks the value of --url. A key goes to another machine over TLS
// alone.
func checkURL(s string, withKey bool) error {
	base, err := url.Parse(s)
	if strings.Contains(s, "@") { // a password may stand before it: not to be repeated
		return wrongUsage("--url: has an @ in it; want http://host:port, without a user")
	}
	if err != nil || base.Hostname() == "" || base.Scheme != "http" && base.Scheme != "https" {
		return wrongUsage("--url %q: want http://host:port", s)
	}
	addr, err := netip.ParseAddr(base.Hostname())
	local := base.Hostname() == "localhost" || err == nil && addr.IsLoopback()
	if withKey && base.Scheme == "http" && !local {
		return wrongUsage("--url %q: want https, the caller key would go over the network as it is", s)
	}
	return nil
}

// readKey reads a file that may be the broker's own: of several keys, the first
// is ours, and comments are none.
func readKey(path string) (string, error) {
	content, err := readSmall(path)
	if err != nil {
		return "", atPath("--key-file", err)
	}
	for line := range strings.Lines(string(content)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			return line, nil
		}
	}
	return "", wrongUsage("--key-file: no key in %s", path)
}

func (c *client) http() *http.Client {
	transport := &http.Transport{DisableKeepAlives: true} // and no proxy: the broker is on this machine
	if c.socket != "" {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", c.socket)
		}
	}
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the key stays here
	}
}

func (c *client) where() string {
	if c.socket != "" {
		return "broker at " + c.socket
	}
	return "broker at " + c.url
}

func (c *client) unreachable(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	remedy := "is it running (tokenbroker serve)?"
	if c.direct {
		remedy = "is it running (tokenbroker serve), or did you mean --direct?"
	}
	return entra.Errorf(entra.Unavailable, "", "%s: %w; %s", c.where(), err, remedy)
}

// refusal reads the broker's problem details (RFC 9457). What was asked wrong
// is wrong usage here too.
func refusal(resp *http.Response, body []byte) error {
	var p struct {
		Detail        string `json:"detail"`
		Kind          string `json:"kind"`
		Code          string `json:"code"`
		AADSTS        int    `json:"aadsts"`
		CorrelationID string `json:"correlation_id"`
	}
	if json.Unmarshal(body, &p) != nil || p.Detail == "" {
		p.Detail = "the broker answered " + resp.Status
	}
	e := entra.Errorf(entra.Upstream, "", "%s", p.Detail)
	if p.Kind == entra.Invalid.String() {
		e.Kind = entra.Invalid
	}
	e.Code, e.AADSTS, e.CorrelationID = p.Code, p.AADSTS, p.CorrelationID
	return e
}
