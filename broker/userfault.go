package broker

import "tokenbroker/entra"

const (
	opUser = "broker.user"

	// LoginRequired is the Code of a failure that a person ends by signing in.
	LoginRequired = "login_required"

	insteadOfPassword = "sign them in themselves, with a credential of kind device-code or browser"
)

// signInRemedy is [remedy] where a user signs in to us, and comes first there. The code of
// RFC 6749 and RFC 8628 decides where the number is not known.
func signInRemedy(number int, code string) (entra.Kind, string) {
	if kind, text := remedyByNumber(number); text != "" {
		return kind, text
	}
	switch code {
	case "access_denied", "authorization_declined":
		return remedyByNumber(65004)
	case "expired_token", "bad_verification_code":
		return remedyByNumber(70020)
	}
	return 0, ""
}

func remedyByNumber(number int) (entra.Kind, string) {
	switch number {
	// Who signs in.
	case 50126:
		return entra.Misconfigured, "wrong user name or password for {user}: put the password that they sign in with into {credential}"
	case 50034:
		return entra.Misconfigured, "{user} is not in tenant {tenant}: check the user name and the tenant"
	case 50020:
		return entra.Challenged, "{user} is of another tenant than {tenant}, and no guest there: have an administrator invite them, or {act}"
	case 50053:
		return entra.Challenged, "{user} is locked out, after too many wrong passwords or at an address that Entra does not trust: wait, or have an administrator look at the sign-in log"
	case 50055, 50144:
		return entra.Challenged, "the password of {user} has expired: they have to change it, as at https://myaccount.microsoft.com"
	case 50057:
		return entra.Challenged, "the account of {user} is disabled: have an administrator of tenant {tenant} enable it"
	case 50105:
		return entra.Challenged, "{user} is not assigned to app {client}: have an administrator assign them, in the Entra portal under Enterprise applications > Users and groups"

	// What a person has to do.
	case 50072, 50074, 50076, 50078, 50079, 50158:
		return entra.Challenged, "{user} has to prove themselves by more than a password (MFA): {act}"
	case 53000, 53001, 53002, 53003, 53004, 530002, 530003, 530032, 530035:
		return entra.Challenged, "Conditional Access keeps {user} out of {scope}, for the device, the place or the way they sign in: ask an administrator which policy it is, and {act}"
	case 50132, 50133, 50173, 70000, 70008, 70043, 700082, 700084:
		return entra.Challenged, "the sign-in of {user} is over, revoked or expired: {act}"
	case 65001:
		return entra.Challenged, "{user} has not consented to {scope} for app {client}: {act}, or have an administrator consent at {consent}"
	case 65004:
		return entra.Challenged, "{user} declined: {act}, and accept what is asked"
	case 90094, 90095:
		return entra.Challenged, "only an administrator of tenant {tenant} can consent to {scope} for app {client}, at {consent}"
	case 70018, 70019, 70020:
		return entra.Challenged, "the code has expired before anybody signed in with it: {act}"
	case 54005, 501481:
		return entra.Challenged, "the answer of the browser was used before, or is of another sign-in: {act}"

	// The app registration.
	case 50011, 500112:
		return entra.Misconfigured, "the redirect URI is not one of app {client}: add it in the Entra portal under App registrations > Authentication > " +
			"Add a platform > Mobile and desktop applications, or put the one that is there into redirect_uri"
	case 7000218:
		return entra.Misconfigured, "app {client} is not open to clients without a secret: in the Entra portal, under App registrations > Authentication, " +
			"set Allow public client flows to Yes, and have redirect URIs under Mobile and desktop applications, not under Web"
	case 9002325, 9002327:
		return entra.Misconfigured, "the redirect URI of app {client} is registered for a single-page application: " +
			"in the Entra portal, under App registrations > Authentication, move it to Mobile and desktop applications"
	case 650053, 70011:
		return entra.Misconfigured, "scope {scope} has a permission that its API does not have: check the spelling, or ask for .default"
	}
	return 0, ""
}
