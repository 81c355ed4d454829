
# tokenbroker setup: gives a managed identity the roles that the broker needs.
#
# What it does
#   1. Looks the permissions up by name in the tenant.
#   2. Assigns the roles to the managed identity; the portal has no button for it.
#   3. Has the broker's configuration as an output.
#
# What the broker may then do: application permissions of WindowsDefenderATP (fc780465-2017-40d4-a0c5-307022471b92)
#   Machine.Isolate: POST /api/machines/{id}/isolate
#   Machine.Read.All: GET /api/machines
#
# Who runs it
#   Somebody who may grant: a Cloud Application Administrator or an Application Administrator.
#   A Global Administrator could do everything, and is more than it takes.
#
# What it costs
#   Nothing: Entra has no charge for applications and permissions.
#
# What it leaves
#   The role assignments of the managed identity.
#
# How to run it
#   terraform init && terraform apply
#   terraform output -raw configuration >tokenbroker.yaml

terraform {
  required_version = ">= 1.5"
  required_providers {
    azuread = {
      source  = "hashicorp/azuread"
      version = "~> 3.0"
    }
  }
}

provider "azuread" {
  environment = "global"
}

# What was asked for. Below, nothing but these names is used.
locals {
  login = "https://login.microsoftonline.com"

  managed_identity = "11111111-2222-3333-4444-555555555555"
}

# What is only known in the tenant.
locals {
  tenant_id = data.azuread_client_config.current.tenant_id

  client_id    = data.azuread_service_principal.broker.client_id
  principal_id = data.azuread_service_principal.broker.object_id
}

data "azuread_client_config" "current" {}

# The Microsoft APIs. They are only looked up: were they resources, destroying
# this would try to take them out of the tenant. If one is not found, the
# tenant has none yet (tokens end in AADSTS500011): az ad sp create --id CLIENT_ID

# WindowsDefenderATP
data "azuread_service_principal" "mde" {
  client_id = "fc780465-2017-40d4-a0c5-307022471b92"
}

data "azuread_service_principal" "broker" {
  object_id = local.managed_identity

  lifecycle {
    postcondition {
      condition     = self.type == "ManagedIdentity"
      error_message = "The object is no managed identity."
    }
  }
}

# The grants: the admin consent of this tenant.
# It takes a Cloud Application Administrator or an Application Administrator.

resource "azuread_app_role_assignment" "mde_1" {
  principal_object_id = local.principal_id
  resource_object_id  = data.azuread_service_principal.mde.object_id
  app_role_id         = data.azuread_service_principal.mde.app_role_ids["Machine.Isolate"]
}

resource "azuread_app_role_assignment" "mde_2" {
  principal_object_id = local.principal_id
  resource_object_id  = data.azuread_service_principal.mde.object_id
  app_role_id         = data.azuread_service_principal.mde.app_role_ids["Machine.Read.All"]
}

output "configuration" {
  description = "The broker's configuration."
  value = join("\n", [
    "# Written by register.tf. Prove it with:",
    "#   tokenbroker check --config tokenbroker.yaml --live",
    "cloud: public",
    "identities:",
    "  default:",
    "    tenant: ${local.tenant_id}",
    "    credential:",
    "      kind: managed-identity",
    "      client_id: ${local.client_id}",
    "routes:",
    "  defender: {}",
    "",
  ])
}
