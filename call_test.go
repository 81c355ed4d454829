package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// call is an HTTP request as a local program, or an attacker, would send it.
type call struct {
	method string // empty: GET, or POST where there is a body
	url    string // its path goes out as it stands here
	header http.Header
	key    string // the caller key
	body   string
	ca     string // a file with the only root certificate to trust
	socket string // a Unix socket to go by
}

// answer is what came back, whole.
type answer struct {
	status int
	header http.Header
	body   string
}

// String is the answer as curl -i shows it, with the headers in order.
func (a *answer) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s\n", a.status, http.StatusText(a.status))
	for _, name := range slices.Sorted(maps.Keys(a.header)) {
		fmt.Fprintf(&b, "%s: %s\n", name, strings.Join(a.header[name], ", "))
	}
	return b.String() + "\n" + a.body
}

// send sends the request on a connection of its own, follows no redirect, and
// takes what curl takes for granted: no Content-Type means a form.
func (c call) send(ctx context.Context) (*answer, error) {
	target, err := url.Parse(c.url)
	if err != nil {
		return nil, err
	}
	path, query, asked := strings.Cut(strings.TrimPrefix(c.url, target.Scheme+"://"+target.Host), "?")
	target.Opaque, target.RawQuery, target.ForceQuery = cmp.Or(path, "/"), query, asked && query == ""
	method := http.MethodGet
	if c.body != "" {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(ctx, cmp.Or(c.method, method), "http://placeholder", strings.NewReader(c.body))
	if err != nil {
		return nil, err
	}
	req.URL, req.Host = target, target.Host
	if c.header != nil {
		req.Header = c.header.Clone()
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	if c.key != "" {
		req.Header.Set("X-Broker-Key", c.key)
	}
	if c.body != "" && req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	transport, err := c.transport()
	if err != nil {
		return nil, err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return &answer{resp.StatusCode, resp.Header, string(body)}, err
}

func (c call) transport() (*http.Transport, error) {
	transport := &http.Transport{DisableKeepAlives: true}
	if c.socket != "" {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", c.socket)
		}
	}
	if c.ca != "" {
		pem, err := os.ReadFile(c.ca)
		if err != nil {
			return nil, err
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	return transport, nil
}

// do is send for a test, which needs an answer whatever it says.
func (c call) do(t *testing.T) *answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	a, err := c.send(ctx)
	if err != nil {
		t.Fatalf("%s %s: %v", c.method, c.url, err)
	}
	return a
}

// jsonField returns the value at a path of keys and indices, with dots between
// them: value.0.id. A key may have dots itself: @odata.nextLink.
func jsonField(text []byte, path string) (string, error) {
	if path == "" {
		var s string
		if json.Unmarshal(text, &s) == nil {
			return s, nil
		}
		return string(text), nil
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(text, &object) == nil {
		if value, ok := object[path]; ok {
			return jsonField(value, "")
		}
	}
	var list []json.RawMessage
	first, rest, _ := strings.Cut(path, ".")
	if value, ok := object[first]; ok {
		return jsonField(value, rest)
	}
	i, err := strconv.Atoi(first)
	if err == nil && json.Unmarshal(text, &list) == nil && i < len(list) {
		return jsonField(list[i], rest)
	}
	return "", fmt.Errorf("no %s in %.200s", path, text)
}
