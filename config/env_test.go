package config

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWarningsAndNotes(t *testing.T) {
	const keys = "caller_key_file: /k\n"
	tests := []struct {
		name, yaml  string
		env         []string
		want, notes []string
	}{
		{"none", keys, nil, nil, nil},
		{"sockets need no keys", `listen: {callers: ["unix:/x"]}`, nil, nil, nil},
		{"open to the Pod", "", nil, []string{"caller_key_file is not set: every process that reaches a listener may call, in a Pod every container"}, nil},
		{"AZURE_ ignored", keys, azure, []string{"AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_FEDERATED_TOKEN_FILE: ignored, since the configuration file has identities"}, nil},
		{"AZURE_ of a certificate ignored", keys, []string{"AZURE_CLIENT_CERTIFICATE_PATH=/c", "AZURE_CLIENT_CERTIFICATE_PASSWORD=p", "AZURE_CLIENT_SEND_CERTIFICATE_CHAIN=1"}, []string{
			"AZURE_CLIENT_CERTIFICATE_PATH, AZURE_CLIENT_CERTIFICATE_PASSWORD, AZURE_CLIENT_SEND_CERTIFICATE_CHAIN: ignored, since the configuration file has identities",
		}, nil},
		{"unknown variables", keys, []string{"TOKENBROKER_CACHE_SIZ=1", "TOKENBROKER_SOMETHING=1", "OTHER=1"}, []string{
			"TOKENBROKER_CACHE_SIZ: no such setting, ignored; did you mean TOKENBROKER_CACHE_SIZE?",
			"TOKENBROKER_SOMETHING: no such setting, ignored",
		}, nil},
		{"Kubernetes' variables", keys, []string{
			"TOKENBROKER_SERVICE_HOST=10.0.0.1", "TOKENBROKER_SERVICE_PORT=80", "TOKENBROKER_SERVICE_PORT_HTTP=80", "TOKENBROKER_PORT=tcp://10.0.0.1:80",
			"TOKENBROKER_PORT_80_TCP=tcp://10.0.0.1:80", "TOKENBROKER_PORT_80_TCP_ADDR=10.0.0.1", "TOKENBROKER_OPS_SERVICE_HOST=10.0.0.1",
		}, nil, []string{
			"TOKENBROKER_OPS_SERVICE_HOST: ignored: Kubernetes sets it for a Service",
			"TOKENBROKER_PORT: ignored: Kubernetes sets it for a Service",
			"TOKENBROKER_PORT_80_TCP: ignored: Kubernetes sets it for a Service",
			"TOKENBROKER_PORT_80_TCP_ADDR: ignored: Kubernetes sets it for a Service",
			"TOKENBROKER_SERVICE_HOST: ignored: Kubernetes sets it for a Service",
			"TOKENBROKER_SERVICE_PORT: ignored: Kubernetes sets it for a Service",
			"TOKENBROKER_SERVICE_PORT_HTTP: ignored: Kubernetes sets it for a Service",
		}},
		{
			"scope of a restricted route", keys + "routes: {defender: {access: read-only}, mde: {}, mde-legacy: {}, graph: {}}\ntokens: {scopes: [https://api.security.microsoft.com/.default]}", nil,
			[]string{"tokens.scopes[0]: the token opens more than routes.defender lets through, and every caller may have it"},
			nil,
		},
		{
			"other names of a restricted route's resource", keys + "routes: {defender: {access: read-only}, mde: {}, mde-legacy: {}, graph: {}}\ntokens: {scopes: [https://securitycenter.onmicrosoft.com/windowsatpservice/.default, fc780465-2017-40d4-a0c5-307022471b92/.default, https://other.example/.default]}", nil,
			[]string{
				"tokens.scopes[0]: the token opens more than routes.defender lets through, and every caller may have it",
				"tokens.scopes[1]: the token opens more than routes.defender lets through, and every caller may have it",
			},
			nil,
		},
		{
			"scope of a restricted route beyond the catalogue", keys + "routes: {x: {upstream: https://x.example, scope: api://x/.default, access: read-only}, defender: {}, mde: {}, mde-legacy: {}, graph: {}}\ntokens: {scopes: [api://x/.default]}", nil,
			[]string{"tokens.scopes[0]: the token opens more than routes.x lets through, and every caller may have it"},
			nil,
		},
		{
			"scopes without effect", keys + "tokens: {hand_out: false, scopes: [https://x.example/.default]}", nil,
			[]string{"tokens.scopes has no effect while tokens.hand_out is false"},
			nil,
		},
		{
			"authority of another cloud", keys + "authority: https://login.microsoftonline.us", nil,
			[]string{"routes defender, graph, mde, mde-legacy: the upstreams take tokens of https://login.microsoftonline.com, the authority is https://login.microsoftonline.us; set cloud"},
			nil,
		},
		{"authority of nobody's", keys + "authority: https://127.0.0.1:8443", nil, nil, nil},
		{
			"closed routes", keys + "routes: {defender: {access: read-only}, mde: {}, mde-legacy: {}}", nil, nil,
			[]string{`route "graph": closed, because the configuration restricts routes and does not name it; add routes.graph to open it`},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := good(t, identity+tt.yaml, tt.env...)
			if diff := cmp.Diff(c.Warnings, tt.want); diff != "" {
				t.Errorf("warnings: %s", diff)
			}
			if diff := cmp.Diff(c.Notes, tt.notes); diff != "" {
				t.Errorf("notes: %s", diff)
			}
		})
	}
}

// TestEverySettingHasAVariable sets each setting by its variable and looks for
// the difference that it makes.
func TestEverySettingHasAVariable(t *testing.T) {
	texts := map[string]string{
		"listen.callers":                    "unix:/a.sock, 127.0.0.1:0",
		"listen.ops":                        ":9",
		"listen.unsafe_non_loopback":        "true",
		"cloud":                             "gcc",
		"region":                            "eu",
		"authority":                         "https://127.0.0.1:8443",
		"ca_file":                           "/ca",
		"default_route":                     "graph",
		"caller_key_file":                   "/k",
		"identity_header_file":              "/h",
		"protocols.app_service":             "false",
		"protocols.oauth":                   "false",
		"protocols.entra_sidecar":           "false",
		"protocols.entra_sidecar.overrides": "true",
		"protocols.imds":                    "true",
		"protocols.cloud_shell":             "true",
		"tokens.hand_out":                   "false",
		"tokens.scopes":                     "https://a.example/.default,https://b.example/.default",
		"cache.size":                        "5",
		"limits.request_body":               "1KiB",
		"limits.read_header_timeout":        "1s",
		"limits.read_timeout":               "1m",
		"limits.entra_timeout":              "1s",
		"limits.response_header_timeout":    "1s",
		"limits.grace":                      "1s",
		"audit.file":                        "/a",
		"log.level":                         "debug",
		"log.format":                        "text",
	}
	value := func(c *Config, path string) any {
		for _, s := range settings(c) {
			if s.path == path {
				return s.value.Interface()
			}
		}
		return nil
	}
	defaults := good(t, identity)
	names := map[string]string{}
	for _, s := range settings(new(Config)) {
		name := variable(s.path)
		names[name] = s.path
		c := good(t, identity, name+"="+texts[s.path])
		if cmp.Equal(value(c, s.path), value(defaults, s.path)) {
			t.Errorf("%s=%s: %s is still %v", name, texts[s.path], s.path, value(c, s.path))
		}
		delete(texts, s.path)

		if c := good(t, identity, name+"="); !cmp.Equal(value(c, s.path), value(defaults, s.path)) {
			t.Errorf("%s set to nothing: %s is %v", name, s.path, value(c, s.path))
		}
	}
	if len(texts) > 0 {
		t.Errorf("no such settings: %v", maps.Keys(texts))
	}
	if want := "cache.size"; names["TOKENBROKER_CACHE_SIZE"] != want || len(names) != len(settings(new(Config))) {
		t.Errorf("variables %v", names)
	}
}
