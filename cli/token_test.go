package cli

import (
	"bytes"
	"strings"
	"testing"

	"tokenbroker/entra"
)

// A client takes an ExecCredential of no other version than it has asked for.
func TestExecCredentialIsOfTheVersionAskedFor(t *testing.T) {
	answer := &tokenAnswer{AccessToken: entra.NewSecret("aaa.bbb.ccc"), Scope: xdrScope, ExpiresOn: 1795238581}
	for _, tt := range []struct{ info, version string }{
		{"", "v1"},
		{`{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":{"interactive":false}}`, "v1"},
		{`{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1","spec":{"cluster":{"server":"https://127.0.0.1"},"interactive":true}}`, "v1beta1"},
		{`{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1alpha1"}`, ""},
		{`{"kind":"ExecCredential","apiVersion":"v1"}`, ""},
		{`{"kind":"TokenReview","apiVersion":"client.authentication.k8s.io/v1"}`, ""},
		{`{}`, ""},
		{`no JSON`, ""},
	} {
		var out bytes.Buffer
		err := answer.write(System{Env: []string{"KUBERNETES_EXEC_INFO=" + tt.info}, Out: &out}, "exec-credential")
		want := `{
  "apiVersion": "client.authentication.k8s.io/` + tt.version + `",
  "kind": "ExecCredential",
  "status": {
    "expirationTimestamp": "2026-11-21T05:23:01Z",
    "token": "aaa.bbb.ccc"
  }
}
`
		switch {
		case tt.version == "" && (err == nil || !strings.Contains(err.Error(), "KUBERNETES_EXEC_INFO: want an ExecCredential of client.authentication.k8s.io/v1 or v1beta1") || out.Len() > 0):
			t.Errorf("%s: %v, %s", tt.info, err, out.String())
		case tt.version != "" && (err != nil || out.String() != want):
			t.Errorf("%s: %v\ngot  %swant %s", tt.info, err, out.String(), want)
		}
	}
}
