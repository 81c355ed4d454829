package proxy_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestProxyForwardsExactlyOrRefuses: whatever a caller writes for a path and a
// query, the upstream reads just that, or nothing.
func TestProxyForwardsExactlyOrRefuses(t *testing.T) {
	const perCheck = 50 // requests; rapid makes 100 checks, by each of two protocols
	for _, protocol := range []struct {
		name    string
		options []func(*httptest.Server)
	}{{"HTTP/1.1", nil}, {"HTTP/2", []func(*httptest.Server){http2}}} {
		t.Run(protocol.name, func(t *testing.T) {
			arrivals := make(chan string, 1)
			up := upstream(t, func(_ http.ResponseWriter, r *http.Request) { arrivals <- r.RequestURI }, protocol.options...)
			b := start(t, up)
			forwarded, refused := 0, 0
			rapid.Check(t, func(rt *rapid.T) {
				for range perCheck {
					prefix, base := "/proxy/defender", ""
					if rapid.Bool().Draw(rt, "based") {
						prefix, base = "/proxy/based", "/base/v%201"
					}
					target := drawPath(rt)
					if rapid.Bool().Draw(rt, "asks") {
						target += "?" + drawQuery(rt)
					}
					status, kind := b.get(t, prefix+target)
					select {
					case got := <-arrivals:
						forwarded++
						if want := base + target; got != want || status != http.StatusOK {
							rt.Fatalf("%s: the upstream got %s, want %s (%d)", target, got, want, status)
						}
					default:
						refused++
						if status != http.StatusBadRequest || kind != "invalid" && kind != "" { // "": net/http's own refusal
							rt.Fatalf("%s: did not arrive, and got %d %s, want 400", target, status, kind)
						}
					}
				}
			})
			if least := (forwarded + refused) / 5; forwarded < least || refused < least {
				t.Errorf("%d forwarded and %d refused, want a sample of both", forwarded, refused)
			}
		})
	}
}

// drawPath draws segments of what paths hold, and sometimes what they must not.
func drawPath(t *rapid.T) string {
	plain := rapid.SampledFrom([]string{
		"api", "API", "v1.0", "machines", "a", "Z9", "-", "~", "_", "$value", "(", ")", "'", "=", ",", ":", "@", "!", "*", "+", "&",
		"%20", "%c3%A9", "%27", "%2B", "%41", "%25", "findbyip(ip='10.1.2.3',timestamp=2026-01-02T03:04:05Z)", "GetLiveResponseResultDownloadLink(index=0)",
	})
	odd := rapid.SampledFrom([]string{
		"/", "//", ".", "..", "%2e", "%2E%2e", "%2f", "%5C", "\\", "%00", "%0a", "%zz", "%", ";", "%3b", "|", "\"", "<", ">", "^", "`", "{", "}", "[", "]",
		"é", "\xff", "%ff", "%252f", "%u002f", "#", "%23", "%3F", "\u017f", "%e2%84%aa", " ", "\x01",
	})
	var b strings.Builder
	for range rapid.IntRange(1, 6).Draw(t, "segments") {
		b.WriteString("/" + plain.Draw(t, "segment") + plain.Draw(t, "more"))
	}
	if rapid.IntRange(0, 2).Draw(t, "is odd") == 0 {
		b.WriteString(odd.Draw(t, "odd") + plain.Draw(t, "rest"))
	}
	return b.String()
}

// drawQuery draws what clients ask with, and any bytes that a request line can
// hold.
func drawQuery(t *rapid.T) string {
	const odata = "$expand=a($select=b;$top=1)"
	if rapid.IntRange(0, 3).Draw(t, "is usual") == 0 {
		usual := rapid.SampledFrom([]string{odata, "$filter=a%20eq+'b;c'", "$skiptoken=ab%2Bc==", "a=%zz", "|", "^", "$top", "&&", "é=é", "?"})
		return usual.Draw(t, "first") + rapid.SampledFrom([]string{"&", ";", ""}).Draw(t, "glue") + usual.Draw(t, "second")
	}
	return rapid.StringOfN(rapid.RuneFrom([]rune("aZ09$%;|&=()[]{}'\"\\/?#,.:+~^`<>é@!*-_")), -1, 40, -1).Draw(t, "query")
}

// get sends a request for a target as it stands, and returns what came back.
func (b *broker) get(t *testing.T, target string) (status int, kind string) {
	t.Helper()
	conn, err := net.Dial("tcp", b.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET "+target+" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode, res.Header.Get("X-Token-Broker-Error")
}
