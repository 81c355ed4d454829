#Requires -Version 5.1
#Requires -Modules Microsoft.Graph.Authentication, Microsoft.Graph.Applications
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
#   ./register.ps1 | Set-Content -Encoding utf8 tokenbroker.yaml
#   To run it again for the application that it made: ./register.ps1 -AppId CLIENT_ID. Without the
#     id it stops at an application of the same name, which could be anybody's.
param([string] $AppId = '')
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# What was asked for. Below, nothing but these names is used.
$login = 'https://login.microsoftonline.us'
$name = 'Broker''s "own" $(id) `id` ${x} %{y} \'
$filter = 'displayName eq ''Broker''''s "own" $(id) `id` ${x} %{y} \'''
$certificate = [Convert]::FromBase64String('MIIDHzCCAgegAwIBAgIUC9pCx8ynht43LMx3JMHNkAd9howwDQYJKoZIhvcNAQELBQAwHjEcMBoGA1UEAwwTdG9rZW5icm9rZXIuZXhhbXBsZTAgFw0yNjExMjExNTU0MDVaGA8yMDUxMDcxMzE1NTQwNVowHjEcMBoGA1UEAwwTdG9rZW5icm9rZXIuZXhhbXBsZTCCASIwDQYJKoZIhvcNAQEBBQADggEPADCCAQoCggEBAL0nzJb82NHw5j3tsyk1nYbtmmK/yN6xi9yzBHYJghefbkqy6P2yO5uoc83MldgmlrXDdWtn3KLUFAvAkrCl3z5fVSyhu4hvrVn4imXD4/VFMUy05GrtM/SWoYv6JCQkQTlhPuRRKWKJYr4J/K4o5ZsHSin5WjpesshTngPSz4zeeVugARVGTFkHP1DD0FpkVVePpxQgOBMR6AwQVbNJhmrW6tPGF+IYP6xUiV0jjtPET495TLC9vIOtMXIb0J87KoVPEgMXjHcyVPOjf38njhr+eNtplNX2YW4ugXXQsPUkhdjOkcmsGbiU+EHkxMZlNBX5ujjM9eT6G8G6A5+1snMCAwEAAaNTMFEwHQYDVR0OBBYEFLiZhDwyiaMbtdnbO/UnoXaE7fHhMB8GA1UdIwQYMBaAFLiZhDwyiaMbtdnbO/UnoXaE7fHhMA8GA1UdEwEB/wQFMAMBAf8wDQYJKoZIhvcNAQELBQADggEBAIghimjg3hpGfGTd2Keqj3UqAoL1zop+zR2tK1A3QvO4Rw1oiBBT++WIzO0mGyGl/dluOKHSBXK5INaZUTzXYO+pTMu8rNNtSqN0b1DmaE6Ax6hnoAAYarMGwohcrtyG4CEh3YxVENY93DMIO6I1Q99qNsUsN87S6fGMGQGu3CO2E0YSNMKebWYZsri3bUk+lMvWoMkZnYTd3HRnQoe+Qiqonix4wi+BvCtOL3OtDIv4cTDm9B6yKFvFWqP4SlHGIqTTN3wnEwhAug2rJG0WFj6B6iy++rNe4fHdCXM2kKyJJVUdFZklJNu2QBDk2bHdi4SxaiUZNbP+382A38EuAgY=')

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
$null = Connect-MgGraph -Environment USGov -TenantId '22222222-2222-2222-2222-222222222222' -Scopes 'Application.ReadWrite.All', 'AppRoleAssignment.ReadWrite.All' -NoWelcome
$tenantId = (Get-MgContext).TenantId

# The permissions, by name.
$mde = Get-Resource 'fc780465-2017-40d4-a0c5-307022471b92' 'WindowsDefenderATP'
$mde_1 = Get-PermissionId $mde 'Alert.Read.All'
$graph = Get-Resource '00000003-0000-0000-c000-000000000000' 'Microsoft Graph'
$graph_1 = Get-PermissionId $graph 'ThreatHunting.Read.All'

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
        ResourceAppId  = 'fc780465-2017-40d4-a0c5-307022471b92'
        ResourceAccess = @(
            @{ Id = $mde_1; Type = 'Role' }
        )
    }
    @{
        ResourceAppId  = '00000003-0000-0000-c000-000000000000'
        ResourceAccess = @(
            @{ Id = $graph_1; Type = 'Role' }
        )
    }
)
# The portal is where the consent page goes to when it is done.
$null = Invoke-Again { Update-MgApplication -ApplicationId $application.Id -SignInAudience AzureADMyOrg -RequiredResourceAccess $access -Web @{ RedirectUris = @('https://portal.azure.us') } }
$principal = Get-MgServicePrincipal -Filter "appId eq '$clientId'"
if (-not $principal) {
    $principal = Invoke-Again { New-MgServicePrincipal -AppId $clientId }
}

# The certificate. Those that are there stay: the whole list is written.
$keys = @((Get-MgApplication -ApplicationId $application.Id -Property 'keyCredentials').KeyCredentials | Where-Object { $_ })
$held = @($keys | Where-Object { $_.Key -and [Convert]::ToBase64String($_.Key) -eq [Convert]::ToBase64String($certificate) })
if ($held.Count -eq 0) {
    $keys += @{ Type = 'AsymmetricX509Cert'; Usage = 'Verify'; Key = $certificate; DisplayName = 'tokenbroker' }
    $null = Update-MgApplication -ApplicationId $application.Id -KeyCredentials $keys
}

# The broker's configuration.
Write-Output '# Written by register.ps1. Prove it with:'
Write-Output '#   tokenbroker check --config tokenbroker.yaml --live'
Write-Output 'cloud: gcchigh'
Write-Output 'identities:'
Write-Output '  default:'
Write-Output ('    tenant: ' + $tenantId)
Write-Output ('    client_id: ' + $clientId)
Write-Output '    credential:'
Write-Output '      kind: certificate'
Write-Output '      file: "/etc/tokenbroker/tls.crt"'
Write-Output '      key_file: "/etc/tokenbroker/tls.key"'
Write-Output 'routes:'
Write-Output '  mde: {}'
Write-Output '  graph: {}'

# The grants: the admin consent of this tenant.
# It takes a Privileged Role Administrator.
$consent = "$login/$tenantId/adminconsent?client_id=$clientId"
function Grant-Permission([string] $ResourceId, [string] $RoleId) {
    $held = @(Get-MgServicePrincipalAppRoleAssignment -ServicePrincipalId $principal.Id -All | Where-Object { $_.ResourceId -eq $ResourceId -and $_.AppRoleId -eq $RoleId })
    if ($held.Count -eq 0) {
        $null = Invoke-Again { New-MgServicePrincipalAppRoleAssignment -ServicePrincipalId $principal.Id -PrincipalId $principal.Id -ResourceId $ResourceId -AppRoleId $RoleId }
    }
}
try {
    Grant-Permission $mde.Id $mde_1
    Grant-Permission $graph.Id $graph_1
} catch {
    throw "not granted, it takes a Privileged Role Administrator: $consent ($_)"
}

Write-Host "client_id $clientId, tenant $tenantId"
Write-Host "consent, should it have to be given again: $consent"
