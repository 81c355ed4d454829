package setup_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"

	"tokenbroker/setup"
)

// blockType is what may stand in a block: arguments that are needed, others,
// and blocks.
type blockType struct{ needed, others, blocks string }

// blockTypes are those that the configurations use, with their arguments as in
// the documentation of the provider azuread, version 3
// (https://github.com/hashicorp/terraform-provider-azuread/tree/main/docs).
var blockTypes = map[string]blockType{
	"terraform":                    {"", "required_version", "required_providers"},
	"terraform/required_providers": {"azuread", "local", ""},
	"provider azuread":             {"", "environment tenant_id", ""},
	"locals":                       {"", "*", ""},
	"output":                       {"value", "description sensitive", ""},
	"postcondition":                {"condition error_message", "", ""},
	"lifecycle":                    {"", "", "postcondition"},

	"data azuread_client_config":     {"", "", ""},
	"data azuread_domains":           {"", "admin_managed include_unverified only_default only_initial only_root supports_services", "lifecycle"},
	"data azuread_service_principal": {"", "client_id display_name object_id", "lifecycle"},

	"resource azuread_application": {
		"display_name", "sign_in_audience prevent_duplicate_names fallback_public_client_enabled description owners notes",
		"required_resource_access public_client web",
	},
	"required_resource_access": {"resource_app_id", "", "resource_access"},
	"resource_access":          {"id type", "", ""},
	"public_client":            {"", "redirect_uris", ""},
	"web":                      {"", "redirect_uris homepage_url logout_url", "implicit_grant"},

	"resource azuread_service_principal":                            {"client_id", "use_existing owners description notes app_role_assignment_required", ""},
	"resource azuread_application_password":                         {"application_id", "display_name end_date end_date_relative start_date rotate_when_changed", ""},
	"resource azuread_application_certificate":                      {"application_id value", "type encoding end_date end_date_relative key_id start_date", ""},
	"resource azuread_application_federated_identity_credential":    {"application_id audiences display_name issuer subject", "description", ""},
	"resource azuread_app_role_assignment":                          {"app_role_id principal_object_id resource_object_id", "", ""},
	"resource azuread_service_principal_delegated_permission_grant": {"claim_values resource_service_principal_object_id service_principal_object_id", "user_object_id", ""},
	"resource local_sensitive_file":                                 {"filename", "content content_base64 source file_permission directory_permission", ""},
}

// checkBlock holds a block to its type.
func checkBlock(t fataler, block *hclsyntax.Block) {
	name := block.Type
	switch name {
	case "data", "resource", "provider":
		name += " " + block.Labels[0]
	case "required_providers":
		name = "terraform/required_providers"
	}
	kind, known := blockTypes[name]
	if !known {
		t.Errorf("terraform has no block %s", name)
		return
	}
	for argument := range block.Body.Attributes {
		if kind.others != "*" && !slices.Contains(strings.Fields(kind.needed+" "+kind.others), argument) {
			t.Errorf("%s has no argument %s", name, argument)
		}
	}
	for _, argument := range strings.Fields(kind.needed) {
		if block.Body.Attributes[argument] == nil {
			t.Errorf("%s: %s is missing", name, argument)
		}
	}
	for _, inner := range block.Body.Blocks {
		if !slices.Contains(strings.Fields(kind.blocks), inner.Type) {
			t.Errorf("%s has no block %s", name, inner.Type)
		}
		checkBlock(t, inner)
	}
}

func checkTerraform(t fataler, text string, want *setup.Want, p *setup.Plan) {
	file, faults := hclparse.NewParser().ParseHCL([]byte(text), "register.tf")
	if faults.HasErrors() {
		t.Fatalf("%v in\n%s", faults, text)
	}
	body, ok := file.Body.(*hclsyntax.Body)
	if !ok {
		t.Fatalf("a body of type %T", file.Body)
	}
	given, declared := map[string]string{}, map[string]bool{}
	var granted []string
	for _, block := range body.Blocks {
		checkBlock(t, block)
		name := strings.Join(append([]string{block.Type}, block.Labels...), " ")
		if declared[name] && block.Type != "locals" {
			t.Errorf("%s is declared twice", name)
		}
		declared[name] = true
		if block.Type == "locals" {
			for name, local := range block.Body.Attributes {
				if value, faults := local.Expr.Value(nil); !faults.HasErrors() {
					given[name] = value.AsString()
				}
			}
		}
		granted = append(granted, grantsOf(block, text)...)
	}
	var needed []string
	for _, permission := range p.Permissions() {
		needed = append(needed, permission.Name)
	}
	if diff := cmp.Diff(needed, granted); diff != "" {
		t.Errorf("permissions granted (-want +got):\n%s", diff)
	}
	for name, want := range localsOf(want) {
		if given[name] != norm.NFC.String(want) { // as all strings of HCL
			t.Errorf("local.%s: got %q, want %q", name, given[name], want)
		}
	}
	checkReferences(t, body, declared)
	if formatted := string(hclwrite.Format([]byte(text))); formatted != text {
		t.Errorf("not formatted (-want +got):\n%s", cmp.Diff(formatted, text))
	}
}

// grantsOf names the permissions that a block grants.
func grantsOf(block *hclsyntax.Block, text string) []string {
	source := func(argument string) string {
		return string(block.Body.Attributes[argument].Expr.Range().SliceBytes([]byte(text)))
	}
	quoted := func(s string) []string {
		var all []string
		for i, part := range strings.Split(s, `"`) {
			if i%2 == 1 {
				all = append(all, part)
			}
		}
		return all
	}
	if block.Type != "resource" {
		return nil
	}
	switch block.Labels[0] {
	case "azuread_app_role_assignment":
		return quoted(source("app_role_id"))
	case "azuread_service_principal_delegated_permission_grant":
		return quoted(source("claim_values"))
	default:
		return nil
	}
}

// localsOf lists what the locals have to hold.
func localsOf(want *setup.Want) map[string]string {
	values := map[string]string{}
	if want.Name != "" {
		values["name"] = want.Name
	}
	switch c := want.Credential.(type) {
	case setup.Secret:
		values["secret_file"] = c.File
	case setup.Federated:
		values["federated_issuer"], values["federated_subject"] = c.Issuer, c.Subject
	case setup.ManagedIdentity:
		values["managed_identity"] = c.ObjectID
	}
	return values
}

// checkReferences checks that what an expression names is there.
func checkReferences(t fataler, body *hclsyntax.Body, declared map[string]bool) {
	_ = hclsyntax.VisitAll(body, func(node hclsyntax.Node) hcl.Diagnostics {
		expression, ok := node.(*hclsyntax.ScopeTraversalExpr)
		if !ok {
			return nil
		}
		var path []string
		for _, step := range expression.Traversal {
			switch step := step.(type) {
			case hcl.TraverseRoot:
				path = append(path, step.Name)
			case hcl.TraverseAttr:
				path = append(path, step.Name)
			}
		}
		switch {
		case path[0] == "local", path[0] == "self":
		case path[0] == "data" && declared[strings.Join(path[:3], " ")]:
		case declared["resource "+strings.Join(path[:2], " ")]:
		default:
			t.Errorf("%s is not declared", strings.Join(path, "."))
		}
		return nil
	})
}

func TestAnyTerraformConfigurationIsWellFormed(t *testing.T) {
	wants := anyWant(t)
	rapid.Check(t, func(t *rapid.T) {
		want := wants.Draw(t, "want")
		p, err := setup.New(catalogueOf(t), want)
		if err != nil {
			t.Fatal(err)
		}
		text, err := p.Script(setup.Terraform)
		if err != nil {
			t.Fatal(err)
		}
		checkTerraform(t, text, &want, p)
	})
}

func TestTheTerraformCheckFindsFaults(t *testing.T) {
	for text, want := range map[string]string{
		`locals {`:                              "Unclosed",
		`resource "azuread_app" "x" {}`:         "has no block resource azuread_app",
		`resource "azuread_application" "x" {}`: "display_name is missing",
		"resource \"azuread_application\" \"x\" {\n  display_name = \"x\"\n  name = \"y\"\n}": "has no argument name",
		"data \"azuread_domains\" \"x\" {\n  web {}\n}":                                       "has no block web",
		"locals {\n  a = azuread_application.x.id\n}":                                         "azuread_application.x.id is not declared",
		"locals {\n  a  = \"1\"\n}":                                                           "not formatted",
		"data \"azuread_domains\" \"x\" {}\ndata \"azuread_domains\" \"x\" {}":                "declared twice",
	} {
		faults := &recorder{}
		func() {
			defer func() { _ = recover() }() // a Fatalf that did not stop
			checkTerraform(faults, text, &setup.Want{}, plan(t, setup.Want{Endpoints: endpoints(t, "GET /api/incidents"), Credential: setup.Secret{Days: 1, File: "f"}}))
		}()
		if !strings.Contains(faults.text, want) {
			t.Errorf("%s: got %q, want a fault with %q", text, faults.text, want)
		}
	}
}
