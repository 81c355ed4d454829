#Requires -Version 5.1
#Requires -Modules Microsoft.Graph.Authentication, Microsoft.Graph.Applications
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
#   ./register.ps1 | Set-Content -Encoding utf8 tokenbroker.yaml
#   It may be run again: what is there already is left alone.
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# What was asked for. Below, nothing but these names is used.
$login = 'https://login.microsoftonline.com'
$managedIdentity = '11111111-2222-3333-4444-555555555555'

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
$null = Connect-MgGraph -Environment Global -Scopes 'Application.ReadWrite.All', 'AppRoleAssignment.ReadWrite.All' -NoWelcome
$tenantId = (Get-MgContext).TenantId

# The permissions, by name.
$mde = Get-Resource 'fc780465-2017-40d4-a0c5-307022471b92' 'WindowsDefenderATP'
$mde_1 = Get-PermissionId $mde 'Machine.Isolate'
$mde_2 = Get-PermissionId $mde 'Machine.Read.All'

# The managed identity.
$principal = Get-MgServicePrincipal -ServicePrincipalId $managedIdentity
if ($principal.ServicePrincipalType -ne 'ManagedIdentity') {
    throw "$managedIdentity is of the type $($principal.ServicePrincipalType), no managed identity"
}
$clientId = $principal.AppId

# The broker's configuration.
Write-Output '# Written by register.ps1. Prove it with:'
Write-Output '#   tokenbroker check --config tokenbroker.yaml --live'
Write-Output 'cloud: public'
Write-Output 'identities:'
Write-Output '  default:'
Write-Output ('    tenant: ' + $tenantId)
Write-Output '    credential:'
Write-Output '      kind: managed-identity'
Write-Output ('      client_id: ' + $clientId)
Write-Output 'routes:'
Write-Output '  defender: {}'

# The grants: the admin consent of this tenant.
# It takes a Cloud Application Administrator or an Application Administrator.
function Grant-Permission([string] $ResourceId, [string] $RoleId) {
    $held = @(Get-MgServicePrincipalAppRoleAssignment -ServicePrincipalId $principal.Id -All | Where-Object { $_.ResourceId -eq $ResourceId -and $_.AppRoleId -eq $RoleId })
    if ($held.Count -eq 0) {
        $null = Invoke-Again { New-MgServicePrincipalAppRoleAssignment -ServicePrincipalId $principal.Id -PrincipalId $principal.Id -ResourceId $ResourceId -AppRoleId $RoleId }
    }
}
try {
    Grant-Permission $mde.Id $mde_1
    Grant-Permission $mde.Id $mde_2
} catch {
    throw "not granted, it takes a Cloud Application Administrator or an Application Administrator ($_)"
}

Write-Host "the managed identity $clientId has its roles; a token that a machine holds may lack them for up to a day"
