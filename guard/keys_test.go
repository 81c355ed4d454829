package guard_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"tokenbroker/guard"
)

// plusKey has what a query spells in another way.
const plusKey = "key+d/0123456789%41==."

func TestKeysInTheQueryAreRefused(t *testing.T) {
	d := open(t, "tcp4", "127.0.0.1:0", guard.Config{Keys: keys(keyA, keyB, plusKey, "c2VjcmV0LWtleQ0123==")})
	for _, query := range []string{
		// by name, whatever the value
		"X-Broker-Key=x", "x-broker-key=x", "X-BROKER-KEY=x", "x_broker_key=x", "xbrokerkey=x", "x.broker.key=x", "x%2Dbroker%2Dkey=x", "%78-broker-key=x",
		"broker-key=x", "broker_key=x", "BrokerKey=x", "caller_key=x", "callerKey=x",
		"X-IDENTITY-HEADER=x", "x_identity_header=x", "identity_header=x", "IdentityHeader=x",
		"client_secret=x", "clientSecret=x", "client-secret=x", "CLIENT_SECRET=x", "client%5Fsecret=x", "client_secret[]=x", "client_secret[0]=x",
		"broker_key", "broker_key=", "scope=s&broker_key=x", "scope=s;broker_key=x", "&&broker_key=x", "a=b&=c&client_secret=x", "?broker_key=x",
		// by value, whatever the name
		"a=" + keyA, "token=" + keyA, "access_token=" + keyB, "key=" + keyA + "&b", "=" + keyA, keyA, keyA + "=", keyA + "=1", "a=1&" + keyB, "a;b=" + keyB,
		"a=" + strings.ReplaceAll(keyA, "-", "%2D"), "a=%6Bey-a-0123456789abcdef", "a=" + keyA[:21] + "%66", strings.ReplaceAll(keyA, "-", "%2d"),
		"a=" + plusKey, "a=key%2Bd%2F0123456789%2541%3D%3D.", "c2VjcmV0LWtleQ0123==", "a=c2VjcmV0LWtleQ0123==", "a=c2VjcmV0LWtleQ0123%3D%3D", `a="` + keyA + `"`,
	} {
		for _, headers := range [][]string{nil, {"X-Broker-Key: " + keyA}} {
			got := d.knock(t, append([]string{"GET /token?" + query + " HTTP/1.1", "Host: localhost"}, headers...)...)
			if want := "denied guard.place"; got != want {
				t.Errorf("%s, headers %q: got %q, want %q", query, headers, got, want)
			}
		}
	}
}

// What the broker's own paths and the upstreams take is nobody's key.
func TestQueriesOfTheAPIsAreAdmitted(t *testing.T) {
	d := open(t, "tcp4", "127.0.0.1:0", guard.Config{Keys: keys(keyA)})
	for _, query := range []string{
		"", "a", "=", "&", ";", "a=b=c", "%", "%zz=%zz", "%zzbroker_keyx=1",
		"scope=https://api.security.microsoft.com/.default&identity=default&tenant=22222222-2222-2222-2222-222222222222",
		"resource=https%3A%2F%2Fgraph.microsoft.com&api-version=2019-08-01&client_id=11111111-1111-1111-1111-111111111111&object_id=&mi_res_id=%2Fsubscriptions%2F1",
		"route=mde&path=/api/machines&fresh=true",
		"$filter=createdDateTime%20ge%202026-11-21T00:00:00Z%20and%20severity%20eq%20'high'&$top=50&$skip=100&$count=true",
		"$select=id,title&$expand=alerts&$orderby=lastUpdateDateTime%20desc&$search=%22x%22&$apply=groupby((a))&$format=json",
		"$skiptoken=" + strings.Repeat("0123456789abcdef", 20), "$deltatoken=" + keyB, "%24skiptoken=" + keyC,
		"sinceTimeUtc=2026-11-21T00:00:00.0000000Z&pageSize=100&deviceAvValue=x&machineId=0123456789abcdef0123456789abcdef01234567",
		"key=x", "secret=x", "token=x", "keyId=" + keyB, "apiKey=x", "sig=" + keyB, "code=" + keyB, "state=" + keyB, "access_token=x", "clientSecretId=x", "hasClientSecret=true", "secretText=x",
		"a=" + keyA + "0", "a=" + keyA[1:], "a=" + strings.ToUpper(keyA), "a=" + keyA + "," + keyA, "a=%256Bey-a-0123456789abcdef",
	} {
		if got, want := d.knock(t, "GET /token?"+query+" HTTP/1.1", "Host: localhost", "X-Broker-Key: "+keyA), "local key"; got != want {
			t.Errorf("%s: got %q, want %q", query, got, want)
		}
	}
}

func TestKeysInCookiesAreRefused(t *testing.T) {
	d := open(t, "tcp4", "127.0.0.1:0", guard.Config{Keys: keys(keyA)})
	const refused, good = "denied guard.place", "local key"
	for _, tt := range []struct{ want, header string }{
		{refused, "Cookie: x-broker-key=x"},
		{refused, "cookie: X_BROKER_KEY=x"},
		{refused, "Cookie: a=b; broker_key=x"},
		{refused, "Cookie: a=b;client_secret=x"},
		{refused, "Cookie: a=b\r\nCookie: identity-header=x"},
		{refused, "Cookie: a=" + keyA},
		{refused, "Cookie: a=\"" + keyA + "\""},
		{refused, "Cookie: a=b; c=d; e=" + keyA + "; f=g"},
		{refused, "Cookie: a=%6Bey-a-0123456789abcdef"},
		{refused, "Cookie: " + keyA},
		{refused, "Cookie: a=b; " + keyA},
		{refused, "Cookie: a=b;\t" + keyA + "\t; c=d"},
		{good, "Cookie:"},
		{good, "Cookie: theme=dark; session=" + keyB + "; _xsrf=2|0123456789abcdef"}, // another program's on this host
		{good, "Cookie: access_token=eyJhbGciOiJub25lIn0.e30.; token=x; secret=x"},
		{good, "Cookies: broker_key=x"},
	} {
		if got := d.get(t, "localhost", "X-Broker-Key: "+keyA, tt.header); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.header, got, tt.want)
		}
	}
}

// Where callers have no keys there are no values to compare; a name is enough.
func TestKeysByNameAreRefusedWhereNobodyHasOne(t *testing.T) {
	for name, cfg := range map[string]guard.Config{"open": {}, "anonymous": {Anonymous: true}, "uids": {UIDs: map[int]string{1: "alpha"}}} {
		g := guard.New(cfg)
		r := request(t, nil)
		r.URL.RawQuery = "client_secret=" + keyA
		if got, want := verdict(g, r, nil), "denied guard.place"; got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
		r.URL.RawQuery = "a=" + keyA
		if got := verdict(g, r, nil); got == "denied guard.place" {
			t.Errorf("%s: a value like any other is refused", name)
		}
	}
}

func TestMisplacedKeysAreNotRepeated(t *testing.T) {
	g := guard.New(guard.Config{Keys: keys(keyA)})
	for _, query := range []string{"a=" + keyA, keyA + "=x", "client_secret=" + keyB} {
		for _, r := range []*http.Request{request(t, http.Header{"Cookie": {query}}), request(t, nil)} {
			if r.Header == nil {
				r.URL.RawQuery = query
			}
			_, err := g.Admit(r, guard.HeaderKeys)
			if err == nil {
				t.Fatalf("%s: admitted", query)
			}
			text := err.Error()
			if !strings.Contains(text, "send it as X-Broker-Key, and replace it") {
				t.Errorf("got %q, want the remedy", text)
			}
			if strings.Contains(text, "key-") || strings.Contains(text, "secret") {
				t.Errorf("the refusal repeats what was sent: %s", text)
			}
		}
	}
}

func TestKeysInThePathAreRefused(t *testing.T) {
	const padded = "c2VjcmV0LWtleQ0123=="
	g := guard.New(guard.Config{Keys: named("local", keyA, "local", padded)})
	for path, refused := range map[string]bool{
		"/token":                       false,
		"/proxy/defender/api/machines": false,
		"/proxy/defender/api/machines/key-a-0123": false,
		"/" + keyA:                            true,
		"/proxy/defender/" + keyA + "/x":      true,
		"/proxy/defender@" + keyA + "/x":      true,
		"/proxy/defender/a;" + keyA:           true,
		"/proxy/%6B" + keyA[1:] + "/x":        true,
		"/proxy/" + padded:                    true,
		"/proxy/c2VjcmV0LWtleQ0123%3D%3D":     true,
		"/token&scope=x&X-Broker-Key=" + keyA: true,
		"/token%3Fkey=" + keyA:                true,
		"/token%253Fkey=%256B" + keyA[1:]:     true,
		"/x:" + keyA:                          true,
		"/x('" + keyA + "')":                  true,
		"/x" + keyA + "x":                     true,
		"/" + keyA[:20] + "/" + keyA[20:]:     false,
		"/" + keyB + "/" + keyC:               false,
	} {
		r := request(t, http.Header{"X-Broker-Key": {keyA}})
		var err error
		if r.URL, err = url.Parse(path); err != nil {
			t.Fatal(err)
		}
		want := "local key"
		if refused {
			want = "denied guard.place"
		}
		if got := verdict(g, r, guard.HeaderKeys); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
}
