package setup

import (
	"tokenbroker/defender"
	"tokenbroker/entra"
)

// cloud is what the tools call a cloud.
type cloud struct {
	graph   string // the host of Microsoft Graph
	az      string // az cloud set --name
	mg      string // Connect-MgGraph -Environment
	azuread string // the provider's environment
	portal  string
}

func cloudOf(c entra.Cloud) cloud {
	switch c {
	case entra.GCCHigh:
		return cloud{"https://graph.microsoft.us", "AzureUSGovernment", "USGov", "usgovernmentl4", "https://portal.azure.us"}
	case entra.DoD:
		return cloud{"https://dod-graph.microsoft.us", "AzureUSGovernment", "USGovDoD", "usgovernmentl5", "https://portal.azure.us"}
	case entra.China:
		return cloud{"https://microsoftgraph.chinacloudapi.cn", "AzureChinaCloud", "China", "china", "https://portal.azure.cn"}
	default: // GCC's tenants are commercial ones
		return cloud{"https://graph.microsoft.com", "AzureCloud", "Global", "global", "https://portal.azure.com"}
	}
}

// resource is a resource application: whose permissions an API's are.
type resource struct {
	api   defender.API
	appID string // the same in every tenant
	title string // what the portal calls it
}

// apis lists the resource applications.
func apis() []resource {
	return []resource{
		{defender.XDR, "8ee8fdad-f234-4243-8f3b-15c294843740", "Microsoft Threat Protection"},
		{defender.MDE, "fc780465-2017-40d4-a0c5-307022471b92", "WindowsDefenderATP"},
		{defender.Graph, "00000003-0000-0000-c000-000000000000", "Microsoft Graph"},
		{defender.MDCA, "05a65629-4c1b-48c1-a78b-804c4abdd4af", "Microsoft Cloud App Security"},
	}
}

func resourceOf(api defender.API) resource {
	for _, r := range apis() {
		if r.api == api {
			return r
		}
	}
	return resource{}
}

func titleOf(api defender.API) string { return resourceOf(api).title }
