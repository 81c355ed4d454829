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
	DefaultUser   = "alice@contoso.example"
	GuestUser     = "bob@contoso.example" // of contoso's, and a guest of fabrikam's

	// FrontEnd is a public client whose users' tokens for [Broker] the app of
	// [Default] may take to act on their behalf.
	FrontEnd = "66666666-6666-6666-6666-666666666666"
)

// The names of the resource applications of [Default].
const (
	XDR   = "Microsoft Threat Protection"
	MDE   = "WindowsDefenderATP"
	Graph = "Microsoft Graph"
	MDCA  = "Microsoft Cloud App Security"

	Broker = "tokenbroker" // the app of [Default] as an API: api:// and its client id, access_as_user
)

// Default returns a world that suits the demo and most tests: two tenants that
// both know one app, which has one random secret and every role, and which may
// do everything in the name of two users, whose passwords are random too.
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
				{Tenant: DefaultTenant, Roles: AllRoles(), Scopes: AllScopes()},
				{Tenant: OtherTenant, Roles: AllRoles(), Scopes: AllScopes()},
			},
			Requires:           AllRoles(),
			RedirectURIs:       []string{"https://portal.azure.com"},
			Public:             true,
			Delegates:          AllScopes(),
			NativeRedirectURIs: []string{"http://localhost", "https://127.0.0.1"},
		}, {
			ClientID: FrontEnd,
			Consents: []Consent{
				{Tenant: DefaultTenant, Scopes: Scopes{Broker: {accessAsUser}}},
				{Tenant: OtherTenant, Scopes: Scopes{Broker: {accessAsUser}}},
			},
			Public:             true,
			Delegates:          Scopes{Broker: {accessAsUser}},
			NativeRedirectURIs: []string{"http://localhost"},
		}},
		Users: []User{{
			UPN: DefaultUser, Name: "Alice", Home: DefaultTenant, ObjectID: "aaaaaaaa-0000-4000-8000-000000000001",
			Password: entra.NewSecret(rand.Text()),
		}, {
			UPN: GuestUser, Name: "Bob", Home: DefaultTenant, ObjectID: "bbbbbbbb-0000-4000-8000-000000000001",
			Guest:    map[entra.Tenant]string{OtherTenant: "bbbbbbbb-0000-4000-8000-000000000002"},
			Password: entra.NewSecret(rand.Text()),
		}},
	}
}

// accessAsUser is the delegated permission of [Broker].
const accessAsUser = "access_as_user"

// defaultResources lists the spellings that are documented or that public
// clients send, the national clouds' included.
func defaultResources() []Resource {
	return []Resource{
		{Name: XDR, Scopes: AllScopes()[XDR], Audiences: []string{
			"8ee8fdad-f234-4243-8f3b-15c294843740",
			"https://api.security.microsoft.com",
			"https://security.microsoft.com/mtp",
			"https://api-gcc.security.microsoft.us",
			"https://api-gov.security.microsoft.us",
		}},
		{Name: MDE, Scopes: AllScopes()[MDE], Audiences: []string{
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
		{Name: MDCA, Scopes: AllScopes()[MDCA], Audiences: []string{"05a65629-4c1b-48c1-a78b-804c4abdd4af"}},
		{Name: Broker, Scopes: []string{accessAsUser}, V2: true, Audiences: []string{DefaultClient, "api://" + DefaultClient}},
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
		Graph: {
			"AttackSimulation.Read.All", "SecurityAlert.Read.All", "SecurityEvents.Read.All", "SecurityIdentitiesHealth.Read.All",
			"SecurityIncident.Read.All", "ThreatHunting.Read.All", "ThreatIntelligence.Read.All",
		},
		MDCA: {"Discovery.read", "Investigation.read"},
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
		Graph: {
			"SecurityAlert.ReadWrite.All", "SecurityEvents.ReadWrite.All", "SecurityIdentitiesHealth.ReadWrite.All",
			"SecurityIncident.ReadWrite.All",
		},
		MDCA: {"Discovery.manage", "Investigation.manage"},
	}) {
		roles[resource] = slices.Concat(roles[resource], write)
	}
	return roles
}

// AllScopes returns every delegated permission that the Defender catalogue
// names.
func AllScopes() Scopes {
	return Scopes{
		XDR: {"AdvancedHunting.Read", "Incident.Read", "Incident.ReadWrite"},
		MDE: {
			"AdvancedQuery.Read", "Alert.Read", "Alert.ReadWrite", "File.Read.All", "Ip.Read.All", "Library.Manage",
			"Machine.CollectForensics", "Machine.Isolate", "Machine.LiveResponse", "Machine.Offboard", "Machine.Read",
			"Machine.Read.All", "Machine.ReadWrite", "Machine.RestrictExecution", "Machine.Scan",
			"Machine.StopAndQuarantine", "RemediationTask.Read", "Score.Read", "SecurityBaselinesAssessment.Read",
			"SecurityRecommendation.Read", "Software.Read", "Ti.ReadWrite", "Url.Read.All", "User.Read.All", "Vulnerability.Read",
		},
		Graph: {
			"AttackSimulation.Read.All", "SecurityAlert.Read.All", "SecurityAlert.ReadWrite.All", "SecurityEvents.Read.All",
			"SecurityEvents.ReadWrite.All", "SecurityIdentitiesHealth.Read.All", "SecurityIdentitiesHealth.ReadWrite.All",
			"SecurityIncident.Read.All", "SecurityIncident.ReadWrite.All", "ThreatHunting.Read.All", "ThreatIntelligence.Read.All",
		},
		MDCA: {"Discovery.manage", "Discovery.read", "Investigation.manage", "Investigation.read"},
	}
}
