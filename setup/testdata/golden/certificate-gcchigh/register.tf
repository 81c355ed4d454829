
# tokenbroker setup: makes the app registration that the broker acts as.
#
# What it does
#   1. Looks the permissions up by name in the tenant.
#   2. Makes the application, and asks for the permissions.
#   3. Adds the certificate that stands in this file. It is public; the private key is not needed
#     here.
#   4. Grants the permissions: this is the admin consent of this tenant.
#   5. Has the broker's configuration as an output.
#
# What the broker may then do: application permissions of WindowsDefenderATP (fc780465-2017-40d4-a0c5-307022471b92)
#   Alert.Read.All: GET /api/alerts
#
# What the broker may then do: application permissions of Microsoft Graph (00000003-0000-0000-c000-000000000000)
#   ThreatHunting.Read.All: POST /v1.0/security/runHuntingQuery
#
# Who runs it
#   Somebody who may register applications (an Application Developer may), and grants as a
#     Privileged Role Administrator.
#   A Global Administrator could do everything, and is more than it takes.
#
# What it costs
#   Nothing: Entra has no charge for applications and permissions.
#
# What it leaves
#   An application and its service principal. Removing the application takes back everything.
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
  environment = "usgovernmentl4"
  tenant_id   = "22222222-2222-2222-2222-222222222222"
}

# What was asked for. Below, nothing but these names is used.
locals {
  login = "https://login.microsoftonline.us"

  name = "Broker's \"own\" $(id) `id` $${x} %%{y} \\"

  certificate       = "MIIDHzCCAgegAwIBAgIUC9pCx8ynht43LMx3JMHNkAd9howwDQYJKoZIhvcNAQELBQAwHjEcMBoGA1UEAwwTdG9rZW5icm9rZXIuZXhhbXBsZTAgFw0yNjExMjExNTU0MDVaGA8yMDUxMDcxMzE1NTQwNVowHjEcMBoGA1UEAwwTdG9rZW5icm9rZXIuZXhhbXBsZTCCASIwDQYJKoZIhvcNAQEBBQADggEPADCCAQoCggEBAL0nzJb82NHw5j3tsyk1nYbtmmK/yN6xi9yzBHYJghefbkqy6P2yO5uoc83MldgmlrXDdWtn3KLUFAvAkrCl3z5fVSyhu4hvrVn4imXD4/VFMUy05GrtM/SWoYv6JCQkQTlhPuRRKWKJYr4J/K4o5ZsHSin5WjpesshTngPSz4zeeVugARVGTFkHP1DD0FpkVVePpxQgOBMR6AwQVbNJhmrW6tPGF+IYP6xUiV0jjtPET495TLC9vIOtMXIb0J87KoVPEgMXjHcyVPOjf38njhr+eNtplNX2YW4ugXXQsPUkhdjOkcmsGbiU+EHkxMZlNBX5ujjM9eT6G8G6A5+1snMCAwEAAaNTMFEwHQYDVR0OBBYEFLiZhDwyiaMbtdnbO/UnoXaE7fHhMB8GA1UdIwQYMBaAFLiZhDwyiaMbtdnbO/UnoXaE7fHhMA8GA1UdEwEB/wQFMAMBAf8wDQYJKoZIhvcNAQELBQADggEBAIghimjg3hpGfGTd2Keqj3UqAoL1zop+zR2tK1A3QvO4Rw1oiBBT++WIzO0mGyGl/dluOKHSBXK5INaZUTzXYO+pTMu8rNNtSqN0b1DmaE6Ax6hnoAAYarMGwohcrtyG4CEh3YxVENY93DMIO6I1Q99qNsUsN87S6fGMGQGu3CO2E0YSNMKebWYZsri3bUk+lMvWoMkZnYTd3HRnQoe+Qiqonix4wi+BvCtOL3OtDIv4cTDm9B6yKFvFWqP4SlHGIqTTN3wnEwhAug2rJG0WFj6B6iy++rNe4fHdCXM2kKyJJVUdFZklJNu2QBDk2bHdi4SxaiUZNbP+382A38EuAgY="
  certificate_until = "2051-07-13T15:54:05Z"
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

# WindowsDefenderATP
data "azuread_service_principal" "mde" {
  client_id = "fc780465-2017-40d4-a0c5-307022471b92"
}

# Microsoft Graph
data "azuread_service_principal" "graph" {
  client_id = "00000003-0000-0000-c000-000000000000"
}

# Anybody may have made an application of this name, and would hold the
# credentials of what is granted below: so it must not exist.
resource "azuread_application" "broker" {
  display_name            = local.name
  sign_in_audience        = "AzureADMyOrg"
  prevent_duplicate_names = true

  required_resource_access {
    resource_app_id = "fc780465-2017-40d4-a0c5-307022471b92" # WindowsDefenderATP

    resource_access {
      id   = data.azuread_service_principal.mde.app_role_ids["Alert.Read.All"]
      type = "Role"
    }
  }

  required_resource_access {
    resource_app_id = "00000003-0000-0000-c000-000000000000" # Microsoft Graph

    resource_access {
      id   = data.azuread_service_principal.graph.app_role_ids["ThreatHunting.Read.All"]
      type = "Role"
    }
  }

  # Where the consent page goes to when it is done.
  web {
    redirect_uris = ["https://portal.azure.us/"]
  }
}

resource "azuread_service_principal" "broker" {
  client_id = azuread_application.broker.client_id
}

resource "azuread_application_certificate" "broker" {
  application_id = azuread_application.broker.id
  type           = "AsymmetricX509Cert"
  encoding       = "base64"
  value          = local.certificate
  end_date       = local.certificate_until
}

# The grants: the admin consent of this tenant.
# It takes a Privileged Role Administrator.

resource "azuread_app_role_assignment" "mde_1" {
  principal_object_id = local.principal_id
  resource_object_id  = data.azuread_service_principal.mde.object_id
  app_role_id         = data.azuread_service_principal.mde.app_role_ids["Alert.Read.All"]
}

resource "azuread_app_role_assignment" "graph_1" {
  principal_object_id = local.principal_id
  resource_object_id  = data.azuread_service_principal.graph.object_id
  app_role_id         = data.azuread_service_principal.graph.app_role_ids["ThreatHunting.Read.All"]
}

output "configuration" {
  description = "The broker's configuration."
  value = join("\n", [
    "# Written by register.tf. Prove it with:",
    "#   tokenbroker check --config tokenbroker.yaml --live",
    "cloud: gcchigh",
    "identities:",
    "  default:",
    "    tenant: ${local.tenant_id}",
    "    client_id: ${local.client_id}",
    "    credential:",
    "      kind: certificate",
    "      file: \"/etc/tokenbroker/tls.crt\"",
    "      key_file: \"/etc/tokenbroker/tls.key\"",
    "routes:",
    "  mde: {}",
    "  graph: {}",
    "",
  ])
}

output "consent" {
  description = "Where an administrator consents, should it have to be done again."
  value = [
    "${local.login}/${local.tenant_id}/adminconsent?client_id=${local.client_id}",
  ]
}
