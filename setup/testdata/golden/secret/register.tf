
# tokenbroker setup: makes the app registration that the broker acts as.
#
# What it does
#   1. Looks the permissions up by name in the tenant.
#   2. Makes the application, and asks for the permissions.
#   3. Has Entra make a client secret, and writes it into a file that only you can read. It is
#     never shown.
#   4. Grants the permissions: this is the admin consent of this tenant.
#   5. Has the broker's configuration as an output.
#
# What the broker may then do: application permissions of Microsoft Threat Protection (8ee8fdad-f234-4243-8f3b-15c294843740)
#   Incident.ReadWrite.All: GET /api/incidents, PATCH /api/incidents/{id}
#
# What the broker may then do: application permissions of WindowsDefenderATP (fc780465-2017-40d4-a0c5-307022471b92)
#   Machine.Read.All: GET /api/machines
#
# Who runs it
#   Somebody who may register applications (an Application Developer may), and grants as a Cloud
#     Application Administrator or an Application Administrator.
#   A Global Administrator could do everything, and is more than it takes.
#
# What it costs
#   Nothing: Entra has no charge for applications and permissions.
#
# What it leaves
#   An application and its service principal. Removing the application takes back everything but
#     the file.
#   A file with the client secret, mode 0600. Move it to where the broker runs, and delete it
#     here.
#   Terraform's state holds the client secret in clear text, whatever is done with it here: keep
#     the state encrypted, or use a certificate or a federated credential.
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
    local = {
      source  = "hashicorp/local"
      version = "~> 2.5"
    }
  }
}

provider "azuread" {
  environment = "global"
}

# What was asked for. Below, nothing but these names is used.
locals {
  login = "https://login.microsoftonline.com"

  name = "tokenbroker"

  secret_file  = "client-secret"
  secret_until = "2027-05-20T12:00:00Z"
}

# What is only known in the tenant.
locals {
  tenant_id = data.azuread_client_config.current.tenant_id

  client_id    = azuread_application.broker.client_id
  principal_id = azuread_service_principal.broker.object_id
}

data "azuread_client_config" "current" {}

# The Microsoft APIs. They are only looked up: were they resources, destroying
# this would try to take them out of the tenant. If one is not found, the
# tenant has none yet (tokens end in AADSTS500011): az ad sp create --id CLIENT_ID

# Microsoft Threat Protection
data "azuread_service_principal" "xdr" {
  client_id = "8ee8fdad-f234-4243-8f3b-15c294843740"
}

# WindowsDefenderATP
data "azuread_service_principal" "mde" {
  client_id = "fc780465-2017-40d4-a0c5-307022471b92"
}

# Anybody may have made an application of this name, and would hold the
# credentials of what is granted below: so it must not exist.
resource "azuread_application" "broker" {
  display_name            = local.name
  sign_in_audience        = "AzureADMyOrg"
  prevent_duplicate_names = true

  required_resource_access {
    resource_app_id = "8ee8fdad-f234-4243-8f3b-15c294843740" # Microsoft Threat Protection

    resource_access {
      id   = data.azuread_service_principal.xdr.app_role_ids["Incident.ReadWrite.All"]
      type = "Role"
    }
  }

  required_resource_access {
    resource_app_id = "fc780465-2017-40d4-a0c5-307022471b92" # WindowsDefenderATP

    resource_access {
      id   = data.azuread_service_principal.mde.app_role_ids["Machine.Read.All"]
      type = "Role"
    }
  }

  # Where the consent page goes to when it is done.
  web {
    redirect_uris = ["https://portal.azure.com/"]
  }
}

resource "azuread_service_principal" "broker" {
  client_id = azuread_application.broker.client_id
}

# The state holds the secret. The file is written from it, rather than an
# output: an output is one command away from a terminal or a log.
resource "azuread_application_password" "broker" {
  application_id = azuread_application.broker.id
  display_name   = "tokenbroker"
  end_date       = local.secret_until
}

resource "local_sensitive_file" "secret" {
  filename             = local.secret_file
  content              = azuread_application_password.broker.value
  file_permission      = "0600"
  directory_permission = "0700"
}

# The grants: the admin consent of this tenant.
# It takes a Cloud Application Administrator or an Application Administrator.

resource "azuread_app_role_assignment" "xdr_1" {
  principal_object_id = local.principal_id
  resource_object_id  = data.azuread_service_principal.xdr.object_id
  app_role_id         = data.azuread_service_principal.xdr.app_role_ids["Incident.ReadWrite.All"]
}

resource "azuread_app_role_assignment" "mde_1" {
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
    "    client_id: ${local.client_id}",
    "    credential:",
    "      kind: secret",
    "      file: \"client-secret\"",
    "routes:",
    "  defender: {}",
    "",
  ])
}

output "consent" {
  description = "Where an administrator consents, should it have to be done again."
  value = [
    "${local.login}/${local.tenant_id}/adminconsent?client_id=${local.client_id}",
  ]
}
