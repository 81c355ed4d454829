package entra

import "net/url"

// AdminConsentURL returns the link of "Partner access through Microsoft
// Defender for Endpoint APIs" (learn.microsoft.com/defender-endpoint/api/exposed-apis-create-app-partners):
// an administrator of any tenant opens it, and consents for the tenant that
// they sign in to.
func AdminConsentURL(a Authority, clientID string) string {
	return string(a) + "/common/oauth2/authorize?prompt=consent&client_id=" + url.QueryEscape(clientID) + "&response_type=code&sso_reload=true"
}

// TenantConsentURL returns the link of "Grant tenant-wide admin consent to an
// application" (learn.microsoft.com/entra/identity/enterprise-apps/grant-admin-consent),
// for an administrator of that tenant. It needs nothing but the tenant and the
// app, whichever redirect URI that has.
func TenantConsentURL(a Authority, t Tenant, clientID string) string {
	return a.Tenant(t) + "/adminconsent?client_id=" + url.QueryEscape(clientID)
}

// AdminConsentV2URL returns the link of "Admin consent on the Microsoft identity
// platform" (learn.microsoft.com/entra/identity-platform/v2-admin-consent). No
// tenant: an administrator of any, for the one that they sign in to. The scope
// is the .default one of any resource: all that the app is registered to ask
// for is consented to together, that of other resources too. Afterwards the
// browser is sent to the cloud's portal, which must be one of the app's redirect
// URIs.
func AdminConsentV2URL(a Authority, t Tenant, clientID string, scope Scope) string {
	if t == "" {
		t = "organizations" // the page warns of common
	}
	return a.Tenant(t) + "/v2.0/adminconsent?client_id=" + url.QueryEscape(clientID) +
		"&scope=" + url.QueryEscape(string(scope)) + "&redirect_uri=" + url.QueryEscape(a.portal())
}

// portal returns the Azure portal of the authority's cloud.
func (a Authority) portal() string {
	switch a {
	case GCCHigh.Authority():
		return "https://portal.azure.us"
	case China.Authority():
		return "https://portal.azure.cn"
	default:
		return "https://portal.azure.com"
	}
}
