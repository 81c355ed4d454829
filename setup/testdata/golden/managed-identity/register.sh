#!/bin/sh
# tokenbroker setup: gives a managed identity the roles that the broker needs.
#
# What it does
#   1. Looks the permissions up by name in the tenant.
#   2. Assigns the roles to the managed identity; the portal has no button for it.
#   3. Writes the broker's configuration to standard output.
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
#   The service principal of a Microsoft API named above, if the tenant has none yet.
#
# How to run it
#   sh register.sh >tokenbroker.yaml
#   It may be run again: what is there already is left alone.
set -eu
umask 077
exec 3>&1 1>&2 # standard output is for the configuration alone

# What was asked for. Below, nothing but these names is used.
GRAPH='https://graph.microsoft.com'
LOGIN='https://login.microsoftonline.com'
MANAGED_IDENTITY='11111111-2222-3333-4444-555555555555'

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
	die "az uses $cloud, want $GRAPH: az cloud set --name AzureCloud, then az login"
tenant_id=$(az account show --query tenantId --output tsv)

# The permissions, by name.
mde=$(resource fc780465-2017-40d4-a0c5-307022471b92 'WindowsDefenderATP')
mde_1=$(permission "$mde" Machine.Isolate)
mde_2=$(permission "$mde" Machine.Read.All)

# The managed identity.
sp_id=$MANAGED_IDENTITY
kind=$(az ad sp show --id "$sp_id" --query servicePrincipalType --output tsv)
[ "$kind" = ManagedIdentity ] || die "$sp_id is of the type $kind, no managed identity"
client_id=$(az ad sp show --id "$sp_id" --query appId --output tsv)

# The broker's configuration.
printf >&3 '%s\n' \
	'# Written by register.sh. Prove it with:' \
	'#   tokenbroker check --config tokenbroker.yaml --live' \
	'cloud: public' \
	'identities:' \
	'  default:' \
	'    tenant: '"$tenant_id" \
	'    credential:' \
	'      kind: managed-identity' \
	'      client_id: '"$client_id" \
	'routes:' \
	'  defender: {}'

# grant RESOURCE ROLE: assigns a role, which is what consent to an application
# permission amounts to. It takes a Cloud Application Administrator or an Application Administrator.
grant() {
	held=$(az rest --method get --url "$GRAPH/v1.0/servicePrincipals/$sp_id/appRoleAssignments" --url-parameters '$top=999' --query "value[?resourceId=='$1' && appRoleId=='$2'].id" --output tsv) || exit 1
	[ -z "$held" ] || return 0
	retry az rest --method post --url "$GRAPH/v1.0/servicePrincipals/$sp_id/appRoleAssignments" --body "{\"principalId\": \"$sp_id\", \"resourceId\": \"$1\", \"appRoleId\": \"$2\"}" --output none ||
		die "not granted, it takes a Cloud Application Administrator or an Application Administrator"
}
grant "$mde" "$mde_1"
grant "$mde" "$mde_2"

note "the managed identity $client_id has its roles; a token that a machine holds may lack them for up to a day"
