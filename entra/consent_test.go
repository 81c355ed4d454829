package entra

import "testing"

func TestConsentURLs(t *testing.T) {
	const (
		client = "11111111-1111-1111-1111-111111111111"
		graph  = Scope("https://graph.microsoft.com/.default")
		query  = "client_id=11111111-1111-1111-1111-111111111111&scope=https%3A%2F%2Fgraph.microsoft.com%2F.default&redirect_uri=https%3A%2F%2Fportal.azure."
	)
	for _, tt := range []struct{ name, got, want string }{
		{
			"as the partners' page has it", AdminConsentURL(Public.Authority(), client),
			"https://login.microsoftonline.com/common/oauth2/authorize?prompt=consent&client_id=" + client + "&response_type=code&sso_reload=true",
		},
		{
			"of another cloud", AdminConsentURL(GCCHigh.Authority(), client),
			"https://login.microsoftonline.us/common/oauth2/authorize?prompt=consent&client_id=" + client + "&response_type=code&sso_reload=true",
		},
		{"nothing gets out of its parameter", AdminConsentURL("https://a.example", "x&y=z#"), "https://a.example/common/oauth2/authorize?prompt=consent&client_id=x%26y%3Dz%23&response_type=code&sso_reload=true"},
		{"one tenant", TenantConsentURL(Public.Authority(), "fabrikam.example", client), "https://login.microsoftonline.com/fabrikam.example/adminconsent?client_id=" + client},
		{"v2, one tenant", AdminConsentV2URL(Public.Authority(), "fabrikam.example", client, graph), "https://login.microsoftonline.com/fabrikam.example/v2.0/adminconsent?" + query + "com"},
		{"v2, any tenant", AdminConsentV2URL(GCC.Authority(), "", client, graph), "https://login.microsoftonline.com/organizations/v2.0/adminconsent?" + query + "com"},
		{"v2, US government", AdminConsentV2URL(DoD.Authority(), "", client, graph), "https://login.microsoftonline.us/organizations/v2.0/adminconsent?" + query + "us"},
		{"v2, China", AdminConsentV2URL(China.Authority(), "", client, graph), "https://login.partner.microsoftonline.cn/organizations/v2.0/adminconsent?" + query + "cn"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.name, tt.got, tt.want)
		}
	}
}
