#Requires -Version 5.1
#Requires -Modules Microsoft.Graph.Authentication, Microsoft.Graph.Applications
# tokenbroker setup: makes the app registration that the broker acts as.
#
# What it does
#   1. Looks the permissions up by name in the tenant.
#   2. Makes the application, and asks for the permissions.
#   3. Adds a federated credential: tokens of the issuer and subject below are taken for the
#     application's own.
#   4. Grants the permissions: this is the admin consent of this tenant.
#   5. Writes the broker's configuration to standard output.
#
# What the broker may then do: application permissions of Microsoft Threat Protection (8ee8fdad-f234-4243-8f3b-15c294843740)
#   Incident.Read.All: GET /api/incidents
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
#   An application and its service principal. Removing the application takes back everything.
#   The service principal of a Microsoft API named above, if the tenant has none yet.
#
# How to run it
#   ./register.ps1 | Set-Content -Encoding utf8 tokenbroker.yaml
#   To run it again for the application that it made: ./register.ps1 -AppId CLIENT_ID. Without the
#     id it stops at an application of the same name, which could be anybody's.
param([string] $AppId = '')
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# What was asked for. Below, nothing but these names is used.
$login = 'https://login.microsoftonline.com'
$name = 'tokenbroker'
$filter = 'displayName eq ''tokenbroker'''
$federated = @{
    Name      = 'tokenbroker-1d88d5bee15a'
    Issuer    = 'https://oidc.example/11111111-1111-1111-1111-111111111111/'
    Subject   = 'system:serviceaccount:security:tokenbroker'
    Audiences = @('api://AzureADTokenExchange')
}

# What was just made is not known everywhere in Entra at once.
function Invoke-Again([scriptblock] $Command) {
    for ($try = 1; ; $try++) {
        try {
            return & $Command
        } catch {
            if ($try -ge 4) { throw }
            Start-Sleep -Seconds 10
        }
    }
}

# The service principal of a Microsoft API. Where the tenant has none, tokens
# end in AADSTS500011, and it is made.
function Get-Resource([string] $ResourceAppId, [string] $Title) {
    $found = Get-MgServicePrincipal -Filter "appId eq '$ResourceAppId'"
    if (-not $found) {
        Write-Host "$Title is not in the tenant yet: adding it"
        $found = New-MgServicePrincipal -AppId $ResourceAppId
    }
    return $found
}

# The id of a permission, by its name.
function Get-PermissionId($Resource, [string] $Permission) {
    $found = @($Resource.AppRoles | Where-Object { $_.Value -eq $Permission -and $_.AllowedMemberTypes -contains 'Application' })
    if ($found.Count -ne 1) {
        throw "$($Resource.DisplayName) has no permission named $Permission in this tenant"
    }
    return $found[0].Id
}

# Who is signed in, and where.
$null = Connect-MgGraph -Environment Global -TenantId 'contoso.example' -Scopes 'Application.ReadWrite.All', 'AppRoleAssignment.ReadWrite.All' -NoWelcome
$tenantId = (Get-MgContext).TenantId

# The permissions, by name.
$xdr = Get-Resource '8ee8fdad-f234-4243-8f3b-15c294843740' 'Microsoft Threat Protection'
$xdr_1 = Get-PermissionId $xdr 'Incident.Read.All'

# The application. Anybody may have made one of this name, and would hold the
# credentials of what is granted below: so one that exists has to be named.
$found = @(Get-MgApplication -Filter $filter -All)
if ($AppId) {
    $found = @($found | Where-Object { $_.AppId -eq $AppId })
    if ($found.Count -ne 1) { throw "no application $AppId has the name $name" }
    $application = $found[0]
} elseif ($found.Count -gt 0) {
    throw "the tenant has an application of this name: $($found.AppId -join ', '). If it is yours, name it: ./register.ps1 -AppId CLIENT_ID"
} else {
    $application = New-MgApplication -DisplayName $name -SignInAudience AzureADMyOrg
    Write-Host "made the application $($application.AppId)"
}
$clientId = $application.AppId
$access = @(
    @{
        ResourceAppId  = '8ee8fdad-f234-4243-8f3b-15c294843740'
        ResourceAccess = @(
            @{ Id = $xdr_1; Type = 'Role' }
        )
    }
)
# The portal is where the consent page goes to when it is done.
$null = Invoke-Again { Update-MgApplication -ApplicationId $application.Id -SignInAudience AzureADMyOrg -RequiredResourceAccess $access -Web @{ RedirectUris = @('https://portal.azure.com') } }
$principal = Get-MgServicePrincipal -Filter "appId eq '$clientId'"
if (-not $principal) {
    $principal = Invoke-Again { New-MgServicePrincipal -AppId $clientId }
}

# The federated credential.
$held = @(Get-MgApplicationFederatedIdentityCredential -ApplicationId $application.Id -All | Where-Object { $_.Name -eq $federated.Name })
if ($held.Count -eq 0) {
    $null = Invoke-Again { New-MgApplicationFederatedIdentityCredential -ApplicationId $application.Id -BodyParameter $federated }
} else {
    $null = Update-MgApplicationFederatedIdentityCredential -ApplicationId $application.Id -FederatedIdentityCredentialId $held[0].Id -BodyParameter $federated
}

# The broker's configuration.
Write-Output '# Written by register.ps1. Prove it with:'
Write-Output '#   tokenbroker check --config tokenbroker.yaml --live'
Write-Output 'cloud: public'
Write-Output 'identities:'
Write-Output '  default:'
Write-Output ('    tenant: ' + $tenantId)
Write-Output ('    client_id: ' + $clientId)
Write-Output '    credential:'
Write-Output '      kind: workload-identity'
Write-Output '      token_file: "/var/run/secrets/azure/tokens/azure-identity-token"'
Write-Output 'routes:'
Write-Output '  defender: {}'

# The grants: the admin consent of this tenant.
# It takes a Cloud Application Administrator or an Application Administrator.
$consent = "$login/$tenantId/adminconsent?client_id=$clientId"
function Grant-Permission([string] $ResourceId, [string] $RoleId) {
    $held = @(Get-MgServicePrincipalAppRoleAssignment -ServicePrincipalId $principal.Id -All | Where-Object { $_.ResourceId -eq $ResourceId -and $_.AppRoleId -eq $RoleId })
    if ($held.Count -eq 0) {
        $null = Invoke-Again { New-MgServicePrincipalAppRoleAssignment -ServicePrincipalId $principal.Id -PrincipalId $principal.Id -ResourceId $ResourceId -AppRoleId $RoleId }
    }
}
try {
    Grant-Permission $xdr.Id $xdr_1
} catch {
    throw "not granted, it takes a Cloud Application Administrator or an Application Administrator: $consent ($_)"
}

Write-Host "client_id $clientId, tenant $tenantId"
Write-Host "consent, should it have to be given again: $consent"
