package setup_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"tokenbroker/setup"
)

// azCommand is a command of az: its options that take a value, needed or not,
// and those that take none.
type azCommand struct{ needed, values, flags string }

// azCommands are those that the scripts use, with their options as in the
// reference of the Azure CLI, https://learn.microsoft.com/cli/azure/reference-index.
var azCommands = map[string]azCommand{
	"account show":                       {"", "", ""},
	"cloud show":                         {"", "--name", ""},
	"rest":                               {"--url", "--method --url-parameters --body --headers --resource", "--skip-authorization-header"},
	"ad app create":                      {"--display-name", "--sign-in-audience --is-fallback-public-client --required-resource-accesses --web-redirect-uris --public-client-redirect-uris", ""},
	"ad app update":                      {"--id", "--display-name --sign-in-audience --is-fallback-public-client --required-resource-accesses --web-redirect-uris --public-client-redirect-uris", ""},
	"ad app credential reset":            {"--id", "--display-name --end-date --years --cert --keyvault", "--append --create-cert"},
	"ad app federated-credential list":   {"--id", "", ""},
	"ad app federated-credential create": {"--id --parameters", "", ""},
	"ad app federated-credential update": {"--id --federated-credential-id --parameters", "", ""},
	"ad sp list":                         {"", "--filter --display-name --spn", "--all --show-mine"},
	"ad sp show":                         {"--id", "", ""},
	"ad sp create":                       {"--id", "", ""},
}

// azGlobal takes every command.
var azGlobal = azCommand{values: "--query --output", flags: "--only-show-errors"}

// azFault says what is wrong with a call of az.
func azFault(words []string) error {
	n := 0
	for n < len(words) && !strings.HasPrefix(words[n], "-") {
		n++
	}
	name := strings.Join(words[:n], " ")
	c, ok := azCommands[name]
	if !ok {
		return fmt.Errorf("az has no %q", name)
	}
	values := strings.Fields(c.needed + " " + c.values + " " + azGlobal.values)
	given := map[string]string{}
	for rest := words[n:]; len(rest) > 0; {
		option, value, joined := strings.Cut(rest[0], "=")
		if !strings.HasPrefix(rest[0], "--") {
			return fmt.Errorf("az %s: %q is no option", name, rest[0])
		}
		rest = rest[1:]
		if _, twice := given[option]; twice {
			return fmt.Errorf("az %s: %s twice", name, option)
		}
		switch {
		case slices.Contains(strings.Fields(c.flags+" "+azGlobal.flags), option) && !joined:
		case !slices.Contains(values, option):
			return fmt.Errorf("az %s has no %s", name, option)
		case !joined && (len(rest) == 0 || strings.HasPrefix(rest[0], "-")):
			return fmt.Errorf("az %s: %s without a value", name, option)
		case !joined:
			value, rest = rest[0], rest[1:]
		}
		given[option] = value
	}
	for _, option := range strings.Fields(c.needed) {
		if given[option] == "" {
			return fmt.Errorf("az %s: %s is missing", name, option)
		}
	}
	for option, allowed := range map[string]string{
		"--method": "get post patch", "--output": "tsv none", "--sign-in-audience": "AzureADMyOrg AzureADMultipleOrgs", "--is-fallback-public-client": "true false",
	} {
		if value, ok := given[option]; ok && !slices.Contains(strings.Fields(allowed), value) {
			return fmt.Errorf("az %s: %s %q", name, option, value)
		}
	}
	for _, option := range []string{"--body", "--required-resource-accesses"} {
		if value := given[option]; value != "" && value != "${access}" && !json.Valid([]byte(value)) {
			return fmt.Errorf("az %s: %s is no JSON: %s", name, option, value)
		}
	}
	return nil
}

// utilities are what else the scripts call: of POSIX, and their own functions.
var utilities = strings.Fields("[ exec exit grep printf return rm set sleep umask die grant note permission resource ${@}")

// checkAz checks a script as far as that is possible without a tenant.
func checkAz(t fataler, text string, want *setup.Want, p *setup.Plan) {
	commands, err := parseShell(text)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	assigned := map[string]string{}
	var named []string
	grants := 0
	for _, c := range commands {
		for name, value := range c.assigns {
			if _, twice := assigned[name]; twice && strings.ToUpper(name) == name {
				t.Errorf("%s is set twice", name)
			}
			assigned[name] = value
		}
		words := c.words
		if len(words) > 0 && words[0] == "retry" {
			words = words[1:]
		}
		for _, expansion := range c.bare {
			if !strings.HasPrefix(expansion, "${((") {
				t.Errorf("%s outside quotes in %q", expansion, words)
			}
		}
		switch {
		case len(words) == 0:
		case words[0] == "az":
			if err := azFault(words[1:]); err != nil {
				t.Errorf("%v", err)
			}
		case words[0] == "permission":
			named = append(named, words[2])
		case words[0] == "grant" && len(words) == 3:
			grants += len(strings.Fields(words[2]))
		case !slices.Contains(utilities, words[0]):
			t.Errorf("%q is no command that a script may call", words)
		}
	}
	var needed []string
	for _, permission := range p.Permissions() {
		needed = append(needed, permission.Name)
	}
	if diff := cmp.Diff(needed, named); diff != "" {
		t.Errorf("permissions looked up (-want +got):\n%s", diff)
	}
	if grants != len(needed) {
		t.Errorf("got %d grants, want %d", grants, len(needed))
	}
	for name, value := range givenIn(want) {
		if assigned[name] != value {
			t.Errorf("%s: got %q, want %q", name, assigned[name], value)
		}
	}
	if access, ok := assigned["access"]; ok && !json.Valid([]byte(access)) {
		t.Errorf("the list of permissions is no JSON: %s", access)
	}
	if federated, ok := assigned["FEDERATED"]; ok {
		checkFederated(t, federated, want)
	}
}

type fataler interface {
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// givenIn lists what the variables of a script have to hold.
func givenIn(want *setup.Want) map[string]string {
	values := map[string]string{}
	if want.Name != "" {
		values["NAME"] = want.Name
		values["FILTER"] = "displayName eq '" + strings.ReplaceAll(want.Name, "'", "''") + "'"
	}
	switch c := want.Credential.(type) {
	case setup.Secret:
		values["SECRET_FILE"] = c.File
	case setup.Certificate:
		values["CERTIFICATE"] = strings.TrimSpace(string(c.PEM))
	case setup.User:
		if c.RedirectURI != "" {
			values["REDIRECT_URI"] = c.RedirectURI
		}
	}
	return values
}

func checkFederated(t fataler, text string, want *setup.Want) {
	var got struct {
		Name, Issuer, Subject string
		Audiences             []string
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&got); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	f, _ := want.Credential.(setup.Federated)
	if got.Issuer != f.Issuer || got.Subject != f.Subject || f.Audience != "" && !slices.Equal(got.Audiences, []string{f.Audience}) {
		t.Errorf("federated credential: got %+v, want %+v", got, f)
	}
}

func TestAnyAzScriptIsWellFormed(t *testing.T) {
	wants := anyWant(t)
	rapid.Check(t, func(t *rapid.T) {
		want := wants.Draw(t, "want")
		p, err := setup.New(catalogueOf(t), want)
		if err != nil {
			t.Fatal(err)
		}
		text, err := p.Script(setup.Az)
		if err != nil {
			t.Fatal(err)
		}
		checkAz(t, text, &want, p)
	})
}

// The shell itself has the last word, where there is one.
func TestShellsReadTheScripts(t *testing.T) {
	for name, want := range scenarios(t) {
		text := script(t, plan(t, want), setup.Az)
		for _, shell := range []string{"sh", "dash", "bash"} {
			if _, err := exec.LookPath(shell); err != nil {
				continue
			}
			cmd := exec.CommandContext(t.Context(), shell, "-n")
			cmd.Stdin = strings.NewReader(text)
			var faults bytes.Buffer
			cmd.Stderr = &faults
			if err := cmd.Run(); err != nil {
				t.Errorf("%s: %s: %v: %s", name, shell, err, faults.String())
			}
		}
	}
}

// A check that cannot fail shows nothing.
func TestTheAzCheckFindsFaults(t *testing.T) {
	for script, want := range map[string]string{
		`az ad app creat --display-name x`:                   `az has no "ad app creat"`,
		`az ad app create`:                                   "--display-name is missing",
		`az ad app create --display-name`:                    "without a value",
		`az ad app create --display-name x --name y`:         "has no --name",
		`az ad app create --display-name x --display-name y`: "twice",
		`az ad app update --id y x`:                          "is no option",
		`az rest --url x --method put`:                       `--method "put"`,
		`az rest --url x --body '{'`:                         "is no JSON",
		`az ad sp show --id $x`:                              "outside quotes",
		`curl https://host.example`:                          "no command that a script may call",
		"A=1\nA=2":                                           "set twice",
		"permission a Other.Read":                            "permissions looked up",
	} {
		faults := &recorder{}
		checkAz(faults, script, &setup.Want{}, plan(t, setup.Want{Endpoints: endpoints(t, "GET /api/incidents"), Credential: setup.Secret{Days: 1, File: "f"}}))
		if !strings.Contains(faults.text, want) {
			t.Errorf("%s: got %q, want a fault with %q", script, faults.text, want)
		}
	}
	for _, broken := range []string{
		"echo `id`", "echo \"`id`\"", "echo 'x", "if x; fi", "if x; then y", "while x; done", "{ x", "x $(y", "x ${y", "x $((1", "x \\y", "x $", "x *", "x ~", "fi", "x )", "| x", "x $(y) }",
		"until x; do y; fi", "if x; then y; else z", "x >'y", "A='x", "x \"$(y\"", "x $(&& y)",
	} {
		if commands, err := parseShell(broken); err == nil {
			t.Errorf("%s is read as %v", broken, commands)
		}
	}
}

// recorder stands for a test that is expected to fail.
type recorder struct{ text string }

func (r *recorder) Errorf(format string, args ...any) { r.text += fmt.Sprintf(format, args...) + "\n" }
func (r *recorder) Fatalf(format string, args ...any) { r.Errorf(format, args...) }
