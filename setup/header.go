package setup

import (
	"fmt"
	"strings"
)

// header is what stands at the top of a script, for those who decide whether
// it may be run. Nothing in it comes from a user.
func (p *Plan) header(f Format) []string {
	lines := []string{"tokenbroker setup: " + p.purpose(), ""}
	add := func(title string, text ...string) {
		lines = append(lines, title)
		for _, t := range text {
			lines = append(lines, wrap(t, 96)...)
		}
		lines = append(lines, "")
	}
	add("What it does", p.steps(f)...)
	for _, n := range p.apis {
		r := resourceOf(n.API)
		var held []string
		for _, h := range n.held {
			held = append(held, h.Name+opened(h.opens))
		}
		add(fmt.Sprintf("What the broker may then do: %s permissions of %s (%s)", p.kindOfPermission(), r.title, r.appID), held...)
	}
	who := "Somebody who may register applications (an Application Developer may), and grants as " + p.grantors() + "."
	if _, managed := p.want.Credential.(ManagedIdentity); managed {
		who = "Somebody who may grant: " + p.grantors() + "."
	}
	add("Who runs it", who, "A Global Administrator could do everything, and is more than it takes.")
	add("What it costs", "Nothing: Entra has no charge for applications and permissions.")
	add("What it leaves", p.leaves(f)...)
	add("How to run it", p.usage(f)...)
	return lines[:len(lines)-1]
}

func (p *Plan) purpose() string {
	if _, managed := p.want.Credential.(ManagedIdentity); managed {
		return "gives a managed identity the roles that the broker needs."
	}
	return "makes the app registration that the broker acts as."
}

func (p *Plan) kindOfPermission() string {
	if p.delegated() {
		return "delegated"
	}
	return "application"
}

// opened names the endpoints that a permission opens, the first few of them.
func opened(endpoints []string) string {
	const most = 4
	switch n := len(endpoints); {
	case n == 0:
		return ": asked for by name"
	case n <= most:
		return ": " + strings.Join(endpoints, ", ")
	default:
		return fmt.Sprintf(": %s and %d more", strings.Join(endpoints[:most], ", "), n-most)
	}
}

func (p *Plan) steps(f Format) []string {
	var steps []string
	step := func(text string) { steps = append(steps, fmt.Sprintf("%d. %s", len(steps)+1, text)) }
	step("Looks the permissions up by name in the tenant.")
	managed := false
	switch p.want.Credential.(type) {
	case ManagedIdentity:
		managed = true
	case Secret:
		step("Makes the application, and asks for the permissions.")
		step("Has Entra make a client secret, and writes it into a file that only you can read. It is never shown.")
	case Certificate:
		step("Makes the application, and asks for the permissions.")
		step("Adds the certificate that stands in this file. It is public; the private key is not needed here.")
	case Federated:
		step("Makes the application, and asks for the permissions.")
		step("Adds a federated credential: tokens of the issuer and subject below are taken for the application's own.")
	case User:
		step("Makes the application as a public client, without a secret, and asks for the permissions.")
	}
	grant := "Grants the permissions: this is the admin consent of this tenant."
	if p.delegated() {
		grant = "Grants the permissions for all users: this is the admin consent of this tenant."
	}
	if managed {
		grant = "Assigns the roles to the managed identity; the portal has no button for it."
	}
	step(grant)
	if f == Terraform {
		step("Has the broker's configuration as an output.")
	} else {
		step("Writes the broker's configuration to standard output.")
	}
	return steps
}

func (p *Plan) leaves(f Format) []string {
	var left []string
	switch p.want.Credential.(type) {
	case ManagedIdentity:
		left = append(left, "The role assignments of the managed identity.")
	case Secret:
		left = append(left,
			"An application and its service principal. Removing the application takes back everything but the file.",
			"A file with the client secret, mode 0600. Move it to where the broker runs, and delete it here.")
		if f == Terraform {
			left = append(left, "Terraform's state holds the client secret in clear text, whatever is done with it here: keep the state encrypted, or use a certificate or a federated credential.")
		}
	default:
		left = append(left, "An application and its service principal. Removing the application takes back everything.")
	}
	if f != Terraform {
		left = append(left, "The service principal of a Microsoft API named above, if the tenant has none yet.")
	}
	return left
}

func (p *Plan) usage(f Format) []string {
	_, managed := p.want.Credential.(ManagedIdentity)
	again := func(how string) string {
		if managed {
			return "It may be run again: what is there already is left alone."
		}
		return "To run it again for the application that it made: " + how + ". Without the id it stops at an application of the same name, which could be anybody's."
	}
	switch f {
	case PowerShell:
		return []string{"./register.ps1 | Set-Content -Encoding utf8 tokenbroker.yaml", again("./register.ps1 -AppId CLIENT_ID")}
	case Terraform:
		return []string{"terraform init && terraform apply", "terraform output -raw configuration >tokenbroker.yaml"}
	default:
		return []string{"sh register.sh >tokenbroker.yaml", again("sh register.sh CLIENT_ID")}
	}
}

// wrap breaks a text into lines, each indented, those that go on more so.
func wrap(text string, width int) []string {
	lines := []string{" "}
	for word := range strings.FieldsSeq(text) {
		last := &lines[len(lines)-1]
		if len(*last)+1+len(word) > width && strings.TrimSpace(*last) != "" {
			lines = append(lines, "    "+word)
			continue
		}
		*last += " " + word
	}
	return lines
}
