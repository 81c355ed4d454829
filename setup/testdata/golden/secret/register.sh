#!/bin/sh
# tokenbroker setup: makes the app registration that the broker acts as.
#
# What it does
#   1. Looks the permissions up by name in the tenant.
#   2. Makes the application, and asks for the permissions.
#   3. Has Entra make a client secret, and writes it into a file that only you can read. It is
#     never shown.
#   4. Grants the permissions: this is the admin consent of this tenant.
#   5. Writes the broker's configuration to standard output.
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
GRAPH='https://graph.microsoft.com'
LOGIN='https://login.microsoftonline.com'
NAME='tokenbroker'
FILTER='displayName eq '\''tokenbroker'\'''
SECRET_FILE='client-secret'
SECRET_UNTIL='2027-05-20T12:00:00Z'

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
xdr=$(resource 8ee8fdad-f234-4243-8f3b-15c294843740 'Microsoft Threat Protection')
xdr_1=$(permission "$xdr" Incident.ReadWrite.All)
mde=$(resource fc780465-2017-40d4-a0c5-307022471b92 'WindowsDefenderATP')
mde_1=$(permission "$mde" Machine.Read.All)

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
	{\"resourceAppId\": \"8ee8fdad-f234-4243-8f3b-15c294843740\", \"resourceAccess\": [
		{\"id\": \"$xdr_1\", \"type\": \"Role\"}
	]},
	{\"resourceAppId\": \"fc780465-2017-40d4-a0c5-307022471b92\", \"resourceAccess\": [
		{\"id\": \"$mde_1\", \"type\": \"Role\"}
	]}
]"
retry az ad app update --id "$client_id" --sign-in-audience AzureADMyOrg --required-resource-accesses "$access"
# Where the consent page goes to when it is done.
az ad app update --id "$client_id" --web-redirect-uris https://portal.azure.com
sp_id=$(az ad sp list --filter "appId eq '$client_id'" --query '[].id' --output tsv)
if [ -z "$sp_id" ]; then
	sp_id=$(retry az ad sp create --id "$client_id" --query id --output tsv)
fi

# The client secret, which goes into the file and nowhere else.
if [ -e "$SECRET_FILE" ]; then
	note "$SECRET_FILE exists and is left alone; for a new secret move it away"
else
	set -C
	az ad app credential reset --id "$client_id" --append --display-name tokenbroker --end-date "$SECRET_UNTIL" --query password --output tsv --only-show-errors >"$SECRET_FILE" || {
		rm -f -- "$SECRET_FILE"
		die 'no client secret was made; does a policy of the tenant forbid them? a certificate or a federated credential is better anyway'
	}
	set +C
fi

# The broker's configuration.
printf >&3 '%s\n' \
	'# Written by register.sh. Prove it with:' \
	'#   tokenbroker check --config tokenbroker.yaml --live' \
	'cloud: public' \
	'identities:' \
	'  default:' \
	'    tenant: '"$tenant_id" \
	'    client_id: '"$client_id" \
	'    credential:' \
	'      kind: secret' \
	'      file: "client-secret"' \
	'routes:' \
	'  defender: {}'

# grant RESOURCE ROLE: assigns a role, which is what consent to an application
# permission amounts to. It takes a Cloud Application Administrator or an Application Administrator.
grant() {
	held=$(az rest --method get --url "$GRAPH/v1.0/servicePrincipals/$sp_id/appRoleAssignments" --url-parameters '$top=999' --query "value[?resourceId=='$1' && appRoleId=='$2'].id" --output tsv) || exit 1
	[ -z "$held" ] || return 0
	retry az rest --method post --url "$GRAPH/v1.0/servicePrincipals/$sp_id/appRoleAssignments" --body "{\"principalId\": \"$sp_id\", \"resourceId\": \"$1\", \"appRoleId\": \"$2\"}" --output none ||
		die "not granted, it takes a Cloud Application Administrator or an Application Administrator: $consent"
}
consent="$LOGIN/$tenant_id/adminconsent?client_id=$client_id"
grant "$xdr" "$xdr_1"
grant "$mde" "$mde_1"

note "client_id $client_id, tenant $tenant_id"
note "consent, should it have to be given again: $consent"
