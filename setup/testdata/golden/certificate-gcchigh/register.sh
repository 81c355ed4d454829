#!/bin/sh
# tokenbroker setup: makes the app registration that the broker acts as.
#
# What it does
#   1. Looks the permissions up by name in the tenant.
#   2. Makes the application, and asks for the permissions.
#   3. Adds the certificate that stands in this file. It is public; the private key is not needed
#     here.
#   4. Grants the permissions: this is the admin consent of this tenant.
#   5. Writes the broker's configuration to standard output.
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
#   The service principal of a Microsoft API named above, if the tenant has none yet.
#
# How to run it
#   sh register.sh >tokenbroker.yaml
#   To run it again for the application that it made: sh register.sh CLIENT_ID. Without the id it
#     stops at an application of the same name, which could be anybody's.
set -eu
umask 077
exec 3>&1 1>&2 # standard output is for the configuration alone

# What was asked for. Below, nothing but these names is used.
GRAPH='https://graph.microsoft.us'
LOGIN='https://login.microsoftonline.us'
TENANT='22222222-2222-2222-2222-222222222222'
NAME='Broker'\''s "own" $(id) `id` ${x} %{y} \'
FILTER='displayName eq '\''Broker'\'''\''s "own" $(id) `id` ${x} %{y} \'\'''
CERTIFICATE='-----BEGIN CERTIFICATE-----
MIIDHzCCAgegAwIBAgIUC9pCx8ynht43LMx3JMHNkAd9howwDQYJKoZIhvcNAQEL
BQAwHjEcMBoGA1UEAwwTdG9rZW5icm9rZXIuZXhhbXBsZTAgFw0yNjExMjExNTU0
MDVaGA8yMDUxMDcxMzE1NTQwNVowHjEcMBoGA1UEAwwTdG9rZW5icm9rZXIuZXhh
bXBsZTCCASIwDQYJKoZIhvcNAQEBBQADggEPADCCAQoCggEBAL0nzJb82NHw5j3t
syk1nYbtmmK/yN6xi9yzBHYJghefbkqy6P2yO5uoc83MldgmlrXDdWtn3KLUFAvA
krCl3z5fVSyhu4hvrVn4imXD4/VFMUy05GrtM/SWoYv6JCQkQTlhPuRRKWKJYr4J
/K4o5ZsHSin5WjpesshTngPSz4zeeVugARVGTFkHP1DD0FpkVVePpxQgOBMR6AwQ
VbNJhmrW6tPGF+IYP6xUiV0jjtPET495TLC9vIOtMXIb0J87KoVPEgMXjHcyVPOj
f38njhr+eNtplNX2YW4ugXXQsPUkhdjOkcmsGbiU+EHkxMZlNBX5ujjM9eT6G8G6
A5+1snMCAwEAAaNTMFEwHQYDVR0OBBYEFLiZhDwyiaMbtdnbO/UnoXaE7fHhMB8G
A1UdIwQYMBaAFLiZhDwyiaMbtdnbO/UnoXaE7fHhMA8GA1UdEwEB/wQFMAMBAf8w
DQYJKoZIhvcNAQELBQADggEBAIghimjg3hpGfGTd2Keqj3UqAoL1zop+zR2tK1A3
QvO4Rw1oiBBT++WIzO0mGyGl/dluOKHSBXK5INaZUTzXYO+pTMu8rNNtSqN0b1Dm
aE6Ax6hnoAAYarMGwohcrtyG4CEh3YxVENY93DMIO6I1Q99qNsUsN87S6fGMGQGu
3CO2E0YSNMKebWYZsri3bUk+lMvWoMkZnYTd3HRnQoe+Qiqonix4wi+BvCtOL3Ot
DIv4cTDm9B6yKFvFWqP4SlHGIqTTN3wnEwhAug2rJG0WFj6B6iy++rNe4fHdCXM2
kKyJJVUdFZklJNu2QBDk2bHdi4SxaiUZNbP+382A38EuAgY=
-----END CERTIFICATE-----'
CERTIFICATE_DER='MIIDHzCCAgegAwIBAgIUC9pCx8ynht43LMx3JMHNkAd9howwDQYJKoZIhvcNAQELBQAwHjEcMBoGA1UEAwwTdG9rZW5icm9rZXIuZXhhbXBsZTAgFw0yNjExMjExNTU0MDVaGA8yMDUxMDcxMzE1NTQwNVowHjEcMBoGA1UEAwwTdG9rZW5icm9rZXIuZXhhbXBsZTCCASIwDQYJKoZIhvcNAQEBBQADggEPADCCAQoCggEBAL0nzJb82NHw5j3tsyk1nYbtmmK/yN6xi9yzBHYJghefbkqy6P2yO5uoc83MldgmlrXDdWtn3KLUFAvAkrCl3z5fVSyhu4hvrVn4imXD4/VFMUy05GrtM/SWoYv6JCQkQTlhPuRRKWKJYr4J/K4o5ZsHSin5WjpesshTngPSz4zeeVugARVGTFkHP1DD0FpkVVePpxQgOBMR6AwQVbNJhmrW6tPGF+IYP6xUiV0jjtPET495TLC9vIOtMXIb0J87KoVPEgMXjHcyVPOjf38njhr+eNtplNX2YW4ugXXQsPUkhdjOkcmsGbiU+EHkxMZlNBX5ujjM9eT6G8G6A5+1snMCAwEAAaNTMFEwHQYDVR0OBBYEFLiZhDwyiaMbtdnbO/UnoXaE7fHhMB8GA1UdIwQYMBaAFLiZhDwyiaMbtdnbO/UnoXaE7fHhMA8GA1UdEwEB/wQFMAMBAf8wDQYJKoZIhvcNAQELBQADggEBAIghimjg3hpGfGTd2Keqj3UqAoL1zop+zR2tK1A3QvO4Rw1oiBBT++WIzO0mGyGl/dluOKHSBXK5INaZUTzXYO+pTMu8rNNtSqN0b1DmaE6Ax6hnoAAYarMGwohcrtyG4CEh3YxVENY93DMIO6I1Q99qNsUsN87S6fGMGQGu3CO2E0YSNMKebWYZsri3bUk+lMvWoMkZnYTd3HRnQoe+Qiqonix4wi+BvCtOL3OtDIv4cTDm9B6yKFvFWqP4SlHGIqTTN3wnEwhAug2rJG0WFj6B6iy++rNe4fHdCXM2kKyJJVUdFZklJNu2QBDk2bHdi4SxaiUZNbP+382A38EuAgY='
CERTIFICATE_UNTIL='2051-07-13T15:54:05Z'

note() {
	printf '%s\n' "$*" >&2
}

die() {
	note "$*"
	exit 1
}

# retry COMMAND...: what was just made is not known everywhere in Entra at once.
retry() {
	tries=1
	until "$@"; do
		[ "$tries" -lt 4 ] || return 1
		tries=$((tries + 1))
		sleep 10
	done
}

# resource APP_ID TITLE: the object id of the service principal of a Microsoft API. Where the tenant
# has none, tokens end in AADSTS500011, and it is made.
resource() {
	found=$(az ad sp list --filter "appId eq '$1'" --query '[].id' --output tsv) || exit 1
	if [ -z "$found" ]; then
		note "$2 is not in the tenant yet: adding it"
		found=$(az ad sp create --id "$1" --query id --output tsv) ||
			die "$2 cannot be added: does the tenant have a licence for it?"
	fi
	printf '%s\n' "$found"
}

# permission RESOURCE NAME: the id of a permission, by its name.
permission() {
	found=$(az ad sp show --id "$1" --query "appRoles[?value=='$2' && contains(allowedMemberTypes, 'Application')].id" --output tsv) || exit 1
	[ -n "$found" ] || die "this tenant has no permission named $2; the names it has: az ad sp show --id $1 --query 'appRoles[].value'"
	printf '%s\n' "$found"
}

# Who is signed in, and where.
cloud=$(az cloud show --query endpoints.microsoftGraphResourceId --output tsv)
[ "${cloud%/}" = "$GRAPH" ] ||
	die "az uses $cloud, want $GRAPH: az cloud set --name AzureUSGovernment, then az login"
tenant_id=$(az account show --query tenantId --output tsv)
[ "$tenant_id" = "$TENANT" ] ||
	die "signed in to the tenant $tenant_id, want $TENANT: az login --tenant $TENANT --allow-no-subscriptions"

# The permissions, by name.
mde=$(resource fc780465-2017-40d4-a0c5-307022471b92 'WindowsDefenderATP')
mde_1=$(permission "$mde" Alert.Read.All)
graph=$(resource 00000003-0000-0000-c000-000000000000 'Microsoft Graph')
graph_1=$(permission "$graph" ThreatHunting.Read.All)

# The application. Anybody may have made one of this name, and would hold the
# credentials of what is granted below: so one that exists has to be named.
client_id=${1:-}
found=$(az rest --method get --url "$GRAPH/v1.0/applications" --url-parameters "\$filter=$FILTER" --query 'value[].appId' --output tsv)
if [ -n "$client_id" ]; then
	printf '%s\n' "$found" | grep -qiFx -e "$client_id" || die "no application $client_id has the name $NAME"
elif [ -n "$found" ]; then
	die "the tenant has an application of this name: $found
If it is yours (az ad app show --id CLIENT_ID; az ad app owner list --id CLIENT_ID), name it: sh register.sh CLIENT_ID"
else
	client_id=$(az ad app create --display-name "$NAME" --sign-in-audience AzureADMyOrg --query appId --output tsv)
	note "made the application $client_id"
fi
access="[
	{\"resourceAppId\": \"fc780465-2017-40d4-a0c5-307022471b92\", \"resourceAccess\": [
		{\"id\": \"$mde_1\", \"type\": \"Role\"}
	]},
	{\"resourceAppId\": \"00000003-0000-0000-c000-000000000000\", \"resourceAccess\": [
		{\"id\": \"$graph_1\", \"type\": \"Role\"}
	]}
]"
retry az ad app update --id "$client_id" --sign-in-audience AzureADMyOrg --required-resource-accesses "$access"
# Where the consent page goes to when it is done.
az ad app update --id "$client_id" --web-redirect-uris https://portal.azure.us
sp_id=$(az ad sp list --filter "appId eq '$client_id'" --query '[].id' --output tsv)
if [ -z "$sp_id" ]; then
	sp_id=$(retry az ad sp create --id "$client_id" --query id --output tsv)
fi

# The certificate.
held=$(az rest --method get --url "$GRAPH/v1.0/applications(appId='$client_id')" --url-parameters '$select=keyCredentials' --query "keyCredentials[?key=='$CERTIFICATE_DER'].keyId" --output tsv)
if [ -z "$held" ]; then
	az ad app credential reset --id "$client_id" --append --display-name tokenbroker --cert="$CERTIFICATE" --end-date "$CERTIFICATE_UNTIL" --output none --only-show-errors
fi

# The broker's configuration.
printf >&3 '%s\n' \
	'# Written by register.sh. Prove it with:' \
	'#   tokenbroker check --config tokenbroker.yaml --live' \
	'cloud: gcchigh' \
	'identities:' \
	'  default:' \
	'    tenant: '"$tenant_id" \
	'    client_id: '"$client_id" \
	'    credential:' \
	'      kind: certificate' \
	'      file: "/etc/tokenbroker/tls.crt"' \
	'      key_file: "/etc/tokenbroker/tls.key"' \
	'routes:' \
	'  mde: {}' \
	'  graph: {}'

# grant RESOURCE ROLE: assigns a role, which is what consent to an application
# permission amounts to. It takes a Privileged Role Administrator.
grant() {
	held=$(az rest --method get --url "$GRAPH/v1.0/servicePrincipals/$sp_id/appRoleAssignments" --url-parameters '$top=999' --query "value[?resourceId=='$1' && appRoleId=='$2'].id" --output tsv) || exit 1
	[ -z "$held" ] || return 0
	retry az rest --method post --url "$GRAPH/v1.0/servicePrincipals/$sp_id/appRoleAssignments" --body "{\"principalId\": \"$sp_id\", \"resourceId\": \"$1\", \"appRoleId\": \"$2\"}" --output none ||
		die "not granted, it takes a Privileged Role Administrator: $consent"
}
consent="$LOGIN/$tenant_id/adminconsent?client_id=$client_id"
grant "$mde" "$mde_1"
grant "$graph" "$graph_1"

note "client_id $client_id, tenant $tenant_id"
note "consent, should it have to be given again: $consent"
