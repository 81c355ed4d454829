package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestProtocols(t *testing.T) {
	standard := Protocols{AppService: true, OAuth: true, EntraSidecar: Sidecar{On: true}}
	with := func(edit func(*Protocols)) Protocols {
		p := standard
		edit(&p)
		return p
	}
	for _, tt := range []struct {
		name, yaml string
		env        []string
		want       Protocols
	}{
		{"none", "", nil, standard},
		{"nothing said", "protocols: {}", nil, standard},
		{"sidecar by a word", "protocols: {entra_sidecar: true}", nil, standard},
		{"sidecar off", "protocols: {entra_sidecar: false}", nil, with(func(p *Protocols) { p.EntraSidecar.On = false })},
		{"sidecar by an empty mapping", "protocols: {entra_sidecar: {}}", nil, standard},
		{"sidecar by a mapping", "protocols: {entra_sidecar: {overrides: true}}", nil, with(func(p *Protocols) { p.EntraSidecar.Overrides = true })},
		{"sidecar by a mapping, off by a variable", "protocols: {entra_sidecar: {overrides: false}}", []string{"TOKENBROKER_PROTOCOLS_ENTRA_SIDECAR=false"}, with(func(p *Protocols) { p.EntraSidecar.On = false })},
		{"overrides by a variable", "", []string{"TOKENBROKER_PROTOCOLS_ENTRA_SIDECAR_OVERRIDES=true"}, with(func(p *Protocols) { p.EntraSidecar.Overrides = true })},
		{"both by variables", "protocols: {entra_sidecar: false}", []string{"TOKENBROKER_PROTOCOLS_ENTRA_SIDECAR=true", "TOKENBROKER_PROTOCOLS_ENTRA_SIDECAR_OVERRIDES=true"}, with(func(p *Protocols) { p.EntraSidecar.Overrides = true })},
		{"the others", "protocols: {app_service: false, oauth: false, imds: true, cloud_shell: true}", nil, Protocols{EntraSidecar: Sidecar{On: true}, IMDS: true, CloudShell: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(good(t, identity+tt.yaml, tt.env...).Protocols, tt.want); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWarningsOfProtocols(t *testing.T) {
	const (
		socket  = "listen: {callers: ['unix:/x']}\n"
		open    = ": every process that reaches a listener gets tokens by it, in a Pod every container: it cannot carry a key"
		nobody  = " serves nobody: it cannot carry a key; add a caller named anonymous, with what it may have"
		hunter  = "{name: hunter, key_file: /h, routes: [mde, defender, graph, mde-legacy]}"
		anybody = "{name: anonymous, routes: [mde]}"
	)
	for _, tt := range []struct {
		name, yaml string
		want       []string
	}{
		{"open", socket + "protocols: {imds: true, cloud_shell: true}", []string{"protocols.imds" + open, "protocols.cloud_shell" + open}},
		{"a key", "caller_key_file: /k\nprotocols: {imds: true, cloud_shell: true}", []string{"protocols.imds" + nobody, "protocols.cloud_shell" + nobody}},
		{"callers", "callers: [" + hunter + "]\nprotocols: {imds: true}", []string{"protocols.imds" + nobody}},
		{"anybody", "callers: [" + hunter + ", " + anybody + "]\nprotocols: {imds: true, cloud_shell: true}", []string{"callers[1]: anonymous is every process that reaches a listener, in a Pod every container; it may have what stands there"}},
		{"a uid", socket + "callers: [{name: a, uid: 7, routes: ['*']}]\nprotocols: {imds: true}", nil},
		{"overrides of nothing", socket + "protocols: {entra_sidecar: {overrides: true}}", nil},
		{"a header for nobody", socket + "protocols: {app_service: false}\nidentity_header_file: /h", []string{"identity_header_file has no effect while protocols.app_service is false"}},
		{"certificate of a wildcard", "caller_key_file: /k\nlisten: {unsafe_non_loopback: true, callers: [{address: ':1', tls: {}}, {address: ':2', tls: {cert_file: /c, key_file: /c}}]}", []string{
			"listen.callers[0].tls: the certificate that is made is for localhost; who comes to :1 by another name needs one from cert_file and key_file",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(good(t, identity+tt.yaml).Warnings, tt.want); diff != "" {
				t.Error(diff)
			}
		})
	}
	c := good(t, identity+socket+"protocols: {entra_sidecar: false}", "TOKENBROKER_PROTOCOLS_ENTRA_SIDECAR_OVERRIDES=true")
	if diff := cmp.Diff(c.Warnings, []string{"protocols.entra_sidecar.overrides has no effect while protocols.entra_sidecar is false"}); diff != "" {
		t.Error(diff)
	}
}

// The address of the metadata service needs no unsafe switch, and no proof, as
// loopback: the guard answers this machine only.
func TestMetadataAddress(t *testing.T) {
	for _, more := range []string{"", "caller_key_file: /k\n"} {
		c := good(t, identity+more+"protocols: {imds: true}\nlisten: {callers: ['169.254.169.254:80', '[::ffff:169.254.169.254]:81']}")
		for _, l := range c.Listen.Callers {
			if !l.Address.Metadata() || l.Address.Loopback() {
				t.Errorf("%s: metadata %v, loopback %v", l.Address, l.Address.Metadata(), l.Address.Loopback())
			}
		}
	}
	for _, text := range []string{"localhost:1", "127.0.0.1:1", ":80", "0.0.0.0:80", "169.254.169.253:80", "[fd00:ec2::254]:80", "unix:/x"} {
		if a, err := parseAddress(text); err != nil || a.Metadata() {
			t.Errorf("%s is the metadata address, %v", text, err)
		}
	}
}

func TestTLSOfListeners(t *testing.T) {
	const yaml = identity + `caller_key_file: /k
listen:
  callers:
    - localhost:1
    - {address: 'localhost:2'}
    - {address: 'localhost:3', tls: {}}
    - {address: 'localhost:4', tls: {ca_out: /ca}}
    - {address: 'localhost:5', tls: {ca_out: /ca}}
    - {address: 'localhost:6', tls: {cert_file: /c, key_file: /c}}
`
	var got []TLS
	c := good(t, yaml)
	for _, l := range c.Listen.Callers {
		got = append(got, l.TLS)
	}
	want := []TLS{{}, {}, {On: true}, {On: true, CAOut: "/ca"}, {On: true, CAOut: "/ca"}, {On: true, CertFile: "/c", KeyFile: "/c"}}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(c.Files(), []string{"/c", "/k", "/s"}); diff != "" {
		t.Errorf("files: %s", diff)
	}
	// What a variable says is all there is.
	c = good(t, yaml, "TOKENBROKER_LISTEN_CALLERS=localhost:1,localhost:2,localhost:3")
	for _, l := range c.Listen.Callers {
		if l.TLS != (TLS{}) {
			t.Errorf("%s has %+v", l.Address, l.TLS)
		}
	}
}
