#Requires -Version 5.1
#Requires -Modules Microsoft.Graph.Authentication, Microsoft.Graph.Applications, Microsoft.Graph.Identity.SignIns
# tokenbroker setup: makes the app registration that the broker acts as.
#
# What it does
#   1. Looks the permissions up by name in the tenant.
#   2. Makes the application as a public client, without a secret, and asks for the permissions.
#   3. Grants the permissions for all users: this is the admin consent of this tenant.
#   4. Writes the broker's configuration to standard output.
#
# What the broker may then do: delegated permissions of Microsoft Threat Protection (8ee8fdad-f234-4243-8f3b-15c294843740)
#   Incident.Read: GET /api/incidents
#
# What the broker may then do: delegated permissions of WindowsDefenderATP (fc780465-2017-40d4-a0c5-307022471b92)
#   Machine.Read: GET /api/machines
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
$redirectUri = 'http://localhost'

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
    $found = @($Resource.Oauth2PermissionScopes | Where-Object { $_.Value -eq $Permission })
    if ($found.Count -ne 1) {
        throw "$($Resource.DisplayName) has no permission named $Permission in this tenant"
    }
    return $found[0].Id
}

# Who is signed in, and where.
$null = Connect-MgGraph -Environment Global -Scopes 'Application.ReadWrite.All', 'DelegatedPermissionGrant.ReadWrite.All' -NoWelcome
$tenantId = (Get-MgContext).TenantId

# The permissions, by name.
$xdr = Get-Resource '8ee8fdad-f234-4243-8f3b-15c294843740' 'Microsoft Threat Protection'
$xdr_1 = Get-PermissionId $xdr 'Incident.Read'
$mde = Get-Resource 'fc780465-2017-40d4-a0c5-307022471b92' 'WindowsDefenderATP'
$mde_1 = Get-PermissionId $mde 'Machine.Read'

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
            @{ Id = $xdr_1; Type = 'Scope' }
        )
    }
    @{
        ResourceAppId  = 'fc780465-2017-40d4-a0c5-307022471b92'
        ResourceAccess = @(
            @{ Id = $mde_1; Type = 'Scope' }
        )
    }
)
# The portal is where the consent page goes to when it is done.
$null = Invoke-Again { Update-MgApplication -ApplicationId $application.Id -SignInAudience AzureADMyOrg -RequiredResourceAccess $access -Web @{ RedirectUris = @('https://portal.azure.com') } }
$null = Update-MgApplication -ApplicationId $application.Id -IsFallbackPublicClient:$false -PublicClient @{ RedirectUris = @($redirectUri) }
$principal = Get-MgServicePrincipal -Filter "appId eq '$clientId'"
if (-not $principal) {
    $principal = Invoke-Again { New-MgServicePrincipal -AppId $clientId }
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
Write-Output '      kind: browser'
Write-Output '      redirect_uri: "http://localhost"'
Write-Output 'routes:'
Write-Output '  defender: {}'

# The grants: the admin consent of this tenant.
# It takes a Cloud Application Administrator or an Application Administrator.
$consent = "$login/$tenantId/adminconsent?client_id=$clientId"
function Grant-Permission([string] $ResourceId, [string] $Scopes) {
    $held = @(Get-MgOauth2PermissionGrant -Filter "clientId eq '$($principal.Id)'" -All | Where-Object { $_.ResourceId -eq $ResourceId -and $_.ConsentType -eq 'AllPrincipals' })
    if ($held.Count -gt 0) {
        $null = Update-MgOauth2PermissionGrant -OAuth2PermissionGrantId $held[0].Id -Scope $Scopes
    } else {
        $null = Invoke-Again { New-MgOauth2PermissionGrant -ClientId $principal.Id -ConsentType AllPrincipals -ResourceId $ResourceId -Scope $Scopes }
    }
}
try {
    Grant-Permission $xdr.Id 'Incident.Read'
    Grant-Permission $mde.Id 'Machine.Read'
} catch {
    throw "not granted, it takes a Cloud Application Administrator or an Application Administrator: $consent ($_)"
}

Write-Host "client_id $clientId, tenant $tenantId"
Write-Host "consent, should it have to be given again: $consent"
