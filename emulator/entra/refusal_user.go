package entraemu

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"tokenbroker/entra"
)

// The refusals that a user is the reason of. Numbers, errors and suberrors are
// as at [refusal]; where nobody has published Entra's number it says so.

// suberror is what tells clients apart the refusals of one error.
func (r *refusal) suberror() string {
	switch r.number {
	case 50076:
		return "basic_action"
	case 65001:
		return "consent_required"
	case 50173, 70000, 700082, 700084:
		return "bad_token"
	}
	return ""
}

// claims is what a client must ask for when it sends the user to sign in again.
func (r *refusal) claims() string {
	if r.number == 50076 {
		return `{"access_token":{"capolids":{"essential":true,"values":["5ca1ab1e-0000-4000-8000-000000000001"]}}}`
	}
	return ""
}

// as is the refusal under another error.
func (r *refusal) as(code string) *refusal {
	return &refusal{r.number, r.status, code, r.text}
}

// Who signs in.

func noAccount(upn string) *refusal {
	return &refusal{50034, http.StatusBadRequest, "invalid_grant", fmt.Sprintf("The user account '%s' does not exist in the directory.", upn)}
}

func notInTenant(upn string, tenant entra.Tenant) *refusal {
	return &refusal{50020, http.StatusBadRequest, "invalid_grant", fmt.Sprintf("The user account '%s' does not exist in tenant '%s', and cannot be used there. Add it as an external user first.", upn, tenant)}
}

func lockedOut() *refusal {
	return &refusal{50053, http.StatusBadRequest, "invalid_grant", "The account is locked: somebody tried to sign in too many times with a wrong user ID or password."}
}

func wrongPassword() *refusal {
	return &refusal{50126, http.StatusBadRequest, "invalid_grant", "Error validating credentials due to invalid username or password."}
}

func disabledUser() *refusal {
	return &refusal{50057, http.StatusBadRequest, "invalid_grant", "The user account is disabled."}
}

func expiredPassword() *refusal {
	return &refusal{50055, http.StatusBadRequest, "invalid_grant", "The password is expired."}
}

func needsMFA(audience string) *refusal {
	return &refusal{50076, http.StatusBadRequest, "invalid_grant", fmt.Sprintf("Due to a configuration change made by an administrator, or because of a new location, multi-factor authentication must be used to access '%s'.", audience)}
}

func wrongMFACode() *refusal {
	return &refusal{500121, http.StatusBadRequest, "invalid_grant", "Authentication failed during the strong authentication request."}
}

func nobodySignedIn() *refusal {
	return &refusal{50058, http.StatusBadRequest, "login_required", "A silent sign-in request was sent, but no user is signed in."}
}

func flowExpired() *refusal {
	return &refusal{50089, http.StatusBadRequest, "invalid_request", "The sign-in has expired. Begin again."}
}

func notOverCommon() *refusal {
	return &refusal{9001023, http.StatusBadRequest, "invalid_request", "The grant type is not supported over the /common endpoint. Use /organizations or the tenant's."}
}

// What they consent to.

func unconsented(client string) *refusal {
	return &refusal{65001, http.StatusBadRequest, "invalid_grant", fmt.Sprintf("The user or administrator has not consented to use the application with ID '%s'. Send an interactive authorization request for this user and resource.", client)}
}

func userDeclined() *refusal {
	return &refusal{65004, http.StatusBadRequest, "access_denied", "The user declined to consent to access the app."}
}

func adminsOnly(client string) *refusal {
	return &refusal{90094, http.StatusBadRequest, "consent_required", fmt.Sprintf("An administrator must consent to the permissions that '%s' asks for.", client)}
}

func noSuchScope(client, scope, resource string) *refusal {
	return &refusal{650053, http.StatusBadRequest, "invalid_client", fmt.Sprintf("The application '%s' asked for scope '%s' that doesn't exist on the resource '%s'.", client, scope, resource)}
}

func notRegistered(resource, client string) *refusal {
	return &refusal{650057, http.StatusBadRequest, "invalid_resource", fmt.Sprintf("The resource '%s' is not among the permissions in the registration of the client '%s'.", resource, client)}
}

func defaultAlone(scope string) *refusal {
	return &refusal{70011, http.StatusBadRequest, "invalid_scope", fmt.Sprintf("The scope '%s' is not valid: .default can't be combined with other scopes of its resource.", scope)}
}

// The authorization request and its code.

func unsupportedResponseType(responseType string) *refusal {
	return &refusal{70005, http.StatusBadRequest, "unsupported_response_type", fmt.Sprintf("The response_type '%s' is not supported.", responseType)}
}

func unsupportedResponseMode(mode string) *refusal {
	return &refusal{70007, http.StatusBadRequest, "invalid_request", fmt.Sprintf("'%s' is not a supported value of 'response_mode' when requesting a code.", mode)}
}

func unsupportedPrompt(prompt string) *refusal {
	return &refusal{90023, http.StatusBadRequest, "invalid_request", fmt.Sprintf("Unsupported 'prompt' value '%s'.", prompt)}
}

func badChallenge() *refusal {
	return &refusal{501491, http.StatusBadRequest, "invalid_request", "Invalid Code_Challenge parameter: want 43 characters, and the method S256."}
}

func badCode() *refusal {
	return &refusal{70000, http.StatusBadRequest, "invalid_grant", "The provided value for the 'code' parameter is not valid, or was given to another client."}
}

func redeemed() *refusal {
	return &refusal{54005, http.StatusBadRequest, "invalid_grant", "The code was already redeemed. Retry with a new one, or use an existing refresh token."}
}

func expiredCode() *refusal {
	return &refusal{70008, http.StatusBadRequest, "invalid_grant", "The provided authorization code has expired due to inactivity."}
}

func wrongVerifier() *refusal {
	return &refusal{501481, http.StatusBadRequest, "invalid_grant", "The Code_Verifier does not match the code_challenge supplied in the authorization request."}
}

func otherReplyAddress(given, before string) *refusal {
	return &refusal{500112, http.StatusBadRequest, "invalid_client", fmt.Sprintf("The reply address '%s' does not match the reply address '%s' provided when requesting the authorization code.", given, before)}
}

func otherTenantsCode() *refusal {
	return &refusal{700005, http.StatusBadRequest, "invalid_grant", "The provided authorization code is intended to use against another tenant."}
}

func publicClient() *refusal {
	return &refusal{700025, http.StatusUnauthorized, "invalid_client", "The client is public, so neither 'client_assertion' nor 'client_secret' should be presented."}
}

func crossOriginOnly() *refusal {
	return &refusal{9002327, http.StatusBadRequest, "invalid_request", "Tokens issued for the 'Single-Page Application' client-type may only be redeemed via cross-origin requests."}
}

func wantsPKCE() *refusal {
	return &refusal{9002325, http.StatusBadRequest, "invalid_grant", "Proof Key for Code Exchange is required for cross-origin authorization code redemption."}
}

// A device's code. For a client that polls too soon, and for a user who
// declines, no number of Entra's is known: these have the nearest.

func pending() *refusal {
	return &refusal{70016, http.StatusBadRequest, "authorization_pending", "OAuth 2.0 device flow error. Authorization is pending. Continue polling."}
}

func tooSoon() *refusal { return pending().as("slow_down") }

func deviceDeclined() *refusal { return userDeclined().as("authorization_declined") }

func expiredDevice() *refusal {
	return &refusal{70020, http.StatusBadRequest, "expired_token", "The provided value for the input parameter 'device_code' is not valid. This device code has expired."}
}

func badDeviceCode() *refusal {
	return &refusal{70018, http.StatusBadRequest, "bad_verification_code", "The code is not valid. It is no device's, or was used before."}
}

func expiredUserCode() *refusal {
	return &refusal{70019, http.StatusBadRequest, "expired_token", "The code has expired. Begin again on the device."}
}

// A refresh token.

func badRefreshToken(why string) *refusal {
	return &refusal{70000, http.StatusBadRequest, "invalid_grant", "The refresh token is not valid: " + why + "."}
}

func inactive(since time.Time) *refusal {
	return &refusal{700082, http.StatusBadRequest, "invalid_grant", fmt.Sprintf("The refresh token has expired due to inactivity. It was issued on %s.", stamp(since))}
}

func expiredSPA() *refusal {
	return &refusal{700084, http.StatusBadRequest, "invalid_grant", "The refresh token was issued to a single page app (SPA), and therefore has a fixed, limited lifetime of 1.00:00:00, which can't be extended."}
}

func revoked(granted, validFrom time.Time) *refusal {
	return &refusal{50173, http.StatusBadRequest, "invalid_grant", fmt.Sprintf("The provided grant has expired due to it being revoked, a fresh auth token is needed. The grant was issued on '%s' and the TokensValidFrom date for this user is '%s'.", stamp(granted), stamp(validFrom))}
}

// An assertion on whose behalf an app asks.

func badUserAssertion(why string) *refusal {
	return &refusal{50013, http.StatusBadRequest, "invalid_grant", "Assertion failed signature validation. [Reason - " + why + ".]"}
}

func staleUserAssertion() *refusal {
	return &refusal{500133, http.StatusBadRequest, "invalid_grant", "Assertion is not within its valid time range. Ensure that the access token is not expired before using it for user assertion."}
}

func otherApplication(audiences []string, client string) *refusal {
	return &refusal{500131, http.StatusBadRequest, "invalid_grant", fmt.Sprintf("Assertion audience does not match the Client app presenting the assertion. The audience in the assertion was '%s' and the expected audience is '%s' or one of the Application Uris of this application.", strings.Join(audiences, " "), client)}
}

func applicationsToken(client string) *refusal {
	return &refusal{7000114, http.StatusBadRequest, "invalid_grant", fmt.Sprintf("Application '%s' is not allowed to make application on-behalf-of calls.", client)}
}

func idTokenAssertion() *refusal {
	return &refusal{240002, http.StatusBadRequest, "invalid_grant", "Input id_token cannot be used as 'urn:ietf:params:oauth:grant-type:jwt-bearer' grant."}
}
