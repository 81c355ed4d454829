package broker

import "tokenbroker/entra"

// remedy says for the numbers of Entra that a user of client credentials meets
// what happened and what to do, with the exchange's facts in braces. An empty
// text: nothing better is known than what RFC 6749's error says.
//
// The meanings are those of "Microsoft Entra authentication and authorization
// error codes", learn.microsoft.com/entra/identity-platform/reference-error-codes,
// and of login.microsoftonline.com/error.
func remedy(number int) (entra.Kind, string) {
	switch number {
	// The app and its credential.
	case 7000215, 70002:
		return entra.Misconfigured, "wrong client secret for app {client}: put the secret's value, not its id, into {credential}"
	case 7000222:
		return entra.Misconfigured, "the client secret of app {client} has expired: make a new one and put its value into {credential}"
	case 700016, 700011, 70001:
		return entra.Misconfigured, "app {client} is not in tenant {tenant}: check client_id and tenant, or have an administrator of the tenant consent at {consent}"
	case 7000112:
		return entra.Misconfigured, "app {client} is disabled in tenant {tenant}: have an administrator of the tenant enable it, under Enterprise applications"

	// Certificate and workload identity.
	case 700024, 1000502:
		return entra.Misconfigured, "Entra takes {credential} for expired or not valid yet: is it renewed, and is the clock of this machine right?"
	case 700027, 7000272:
		return entra.Misconfigured, "Entra refuses the signature of {credential} for app {client}: {unknown}"
	case 50012, 700030:
		return entra.Misconfigured, "Entra does not trust {credential}, or the subject in it, for app {client}: upload the certificate to the app, or send the chain of one that is trusted by its subject and issuer"
	case 70021:
		return entra.Misconfigured, "no federated credential of app {client} matches {credential}: compare all three, letter by letter"
	case 700211:
		return entra.Misconfigured, "no federated credential of app {client} has the issuer of {credential}: compare letter by letter, the last slash too"
	case 700212:
		return entra.Misconfigured, "no federated credential of app {client} has the audience of {credential}: it is usually api://AzureADTokenExchange"
	case 700213, 7002131:
		return entra.Misconfigured, "no federated credential of app {client} has the subject of {credential}: want system:serviceaccount:<namespace>:<name>"
	case 70025:
		return entra.Misconfigured, "app {client} has no federated credential: add one that matches {credential}; a new one takes some minutes to work"
	case 50166, 501661:
		return entra.Misconfigured, "Entra cannot fetch the keys of the issuer of {credential}: its discovery document has to be public"

	// Tenant and cloud.
	case 90002, 900021, 900023:
		return entra.Misconfigured, "tenant {tenant} is not known to {authority}: check tenant and cloud"
	case 90038, 90051, 900382, 900432:
		return entra.Misconfigured, "tenant {tenant} is of another cloud than {authority}: check cloud"

	// What it is asked for.
	case 500011, 650052:
		return entra.Misconfigured, "the API of {scope} is not in tenant {tenant}: does the tenant have the product, and is the scope spelled right? Where the app asks for that API, an administrator's consent brings it in: {consent}"
	case 500014:
		return entra.Misconfigured, "the API of {scope} is disabled in tenant {tenant}: has its subscription lapsed?"
	case 65001, 650056, 650057, 90094:
		return entra.Misconfigured, "app {client} has no consent for {scope} in tenant {tenant}: add the permission, and have an administrator of the tenant consent at {consent}"
	case 501051:
		return entra.Misconfigured, "app {client} has no role of the API of {scope} in tenant {tenant}, and that API requires one: have an administrator assign it, or consent at {consent}"
	case 70011, 700022, 1002012:
		return entra.Misconfigured, "scope {scope} is not one that Entra knows: want https://host/.default"
	case 53003, 530032, 530035:
		return entra.Challenged, "Conditional Access keeps app {client} out of tenant {tenant}: an administrator has to change the policy, or the app the place it runs at"

	// Later, perhaps.
	case 50196, 90024, 90055:
		return entra.Throttled, "{authority} is asked too often for app {client} in tenant {tenant}: wait"
	case 90006, 90012, 90033, 90090:
		return entra.Unavailable, "{authority} fails for the moment"
	}
	return 0, ""
}

// refusesKey reports whether Entra does not know the secret or the key, or not
// any more: what a rotation looks like to who comes with the version of before.
func refusesKey(err error) bool {
	if err == nil {
		return false
	}
	switch entra.AsError(err).AADSTS {
	case 7000215, 70002, 7000222, 700024, 700027, 7000272, 50012, 700030, 1000502:
		return true
	}
	return false
}
