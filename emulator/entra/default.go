package entraemu

import (
	"crypto/rand"
	"slices"

	"tokenbroker/entra"
)

// The identifiers of [Default].
const (
	DefaultTenant = "22222222-2222-2222-2222-222222222222" // contoso.example
	OtherTenant   = "33333333-3333-3333-3333-333333333333" // fabrikam.example, a customer of contoso's
	DefaultClient = "11111111-1111-1111-1111-111111111111"
)

// The names of the resource applications of [Default].
const (
	XDR   = "Microsoft Threat Protection"
	MDE   = "WindowsDefenderATP"
	Graph = "Microsoft Graph"
	MDCA  = "Microsoft Cloud App Security"
)

// Default returns a world that suits the demo and most tests: two tenants that
// both know one app, which has one random secret and every role.
func Default() Config {
	return Config{
		Tenants: []Tenant{
			{ID: DefaultTenant, Domains: []entra.Tenant{"contoso.example"}},
			{ID: OtherTenant, Domains: []entra.Tenant{"fabrikam.example"}},
		},
		Resources: defaultResources(),
		Apps: []App{{
			ClientID: DefaultClient,
			Secrets:  []Secret{{Value: entra.NewSecret(rand.Text())}},
			Consents: []Consent{
				{Tenant: DefaultTenant, Roles: AllRoles()},
				{Tenant: OtherTenant, Roles: AllRoles()},
			},
		}},
	}
}

// defaultResources lists the spellings that are documented or that public
// clients send, the national clouds' included.
func defaultResources() []Resource {
	return []Resource{
		{Name: XDR, Audiences: []string{
			"8ee8fdad-f234-4243-8f3b-15c294843740",
			"https://api.security.microsoft.com",
			"https://security.microsoft.com/mtp",
			"https://api-gcc.security.microsoft.us",
			"https://api-gov.security.microsoft.us",
		}},
		{Name: MDE, Audiences: []string{
			"fc780465-2017-40d4-a0c5-307022471b92",
			"https://api.securitycenter.microsoft.com",
			"https://api.securitycenter.windows.com",
			"https://securitycenter.onmicrosoft.com/windowsatpservice",
			"https://securitycenter.onmicrosoft.us/windowsatpservice",
			"https://api-us.securitycenter.microsoft.com",
			"https://api-eu.securitycenter.microsoft.com",
			"https://api-uk.securitycenter.microsoft.com",
			"https://api-au.securitycenter.microsoft.com",
			"https://api-gcc.securitycenter.microsoft.us",
			"https://api-gov.securitycenter.microsoft.us",
		}},
		{Name: Graph, Audiences: []string{
			"00000003-0000-0000-c000-000000000000",
			"https://graph.microsoft.com",
			"https://graph.microsoft.us",
			"https://dod-graph.microsoft.us",
			"https://microsoftgraph.chinacloudapi.cn",
		}},
		{Name: MDCA, Audiences: []string{"05a65629-4c1b-48c1-a78b-804c4abdd4af"}},
	}
}

// ReadRoles returns the roles that open the reading endpoints of the Defender
// catalogue, and no others.
func ReadRoles() Roles {
	return Roles{
		XDR: {"AdvancedHunting.Read.All", "Incident.Read.All"},
		MDE: {
			"AdvancedQuery.Read.All", "Alert.Read.All", "File.Read.All", "Ip.Read.All", "Machine.Read.All",
			"RemediationTasks.Read.All", "Score.Read.All", "SecurityBaselinesAssessment.Read.All",
			"SecurityRecommendation.Read.All", "Software.Read.All", "Url.Read.All", "User.Read.All", "Vulnerability.Read.All",
		},
		Graph: {"SecurityAlert.Read.All", "SecurityIncident.Read.All", "ThreatHunting.Read.All"},
		MDCA:  {"Discovery.read", "Investigation.read"},
	}
}

// AllRoles returns every role that the Defender catalogue names.
func AllRoles() Roles {
	roles := ReadRoles()
	for resource, write := range (Roles{
		XDR: {"Incident.ReadWrite.All"},
		MDE: {
			"Alert.ReadWrite.All", "Library.Manage", "Machine.CollectForensics", "Machine.Isolate", "Machine.LiveResponse",
			"Machine.Offboard", "Machine.ReadWrite.All", "Machine.RestrictExecution", "Machine.Scan",
			"Machine.StopAndQuarantine", "Ti.ReadWrite", "Ti.ReadWrite.All",
		},
		Graph: {"SecurityAlert.ReadWrite.All", "SecurityIncident.ReadWrite.All"},
		MDCA:  {"Discovery.manage", "Investigation.manage"},
	}) {
		roles[resource] = slices.Concat(roles[resource], write)
	}
	return roles
}
