package config

import (
	"tokenbroker/entra"
)

// Identity is an app registration that the broker can act as.
type Identity struct {
	// The tenant, as a GUID or a domain name. Of a managed identity it may be left out.
	Tenant entra.Tenant `yaml:"tenant"`

	// Further tenants that the identity may be used in, as customers' of a partner. Not of a managed identity, which has tokens of its own tenant only.
	Tenants []entra.Tenant `yaml:"tenants"`

	// The application (client) id, a GUID. Of a managed identity it stands in `credential`.
	ClientID string `yaml:"client_id"`

	// How the identity proves itself to Entra.
	Credential Credential `yaml:"credential"`

	// Of an identity that a user signs in to, of kind `device-code` or `browser`: where the sign-in is kept. `memory`, which is also what it is without this key: until the broker ends. `keychain`: in a file of the user that the broker runs as, sealed with a key in the system's keychain. Or `file` and `key_file`.
	Store Store `yaml:"store"`

	// Name is the identity's own, where a user signs in to it: of two identities
	// that differ in nothing else it tells the sign-ins apart.
	Name string
}

// Store says where a user's sign-in is kept. In the file `memory` or
// `keychain` is a word, and a file a mapping.
type Store struct {
	// A file that is sealed with the key in `key_file`. Several identities may have one file.
	File string `yaml:"file"`

	// The file with the key, as `tokenbroker key new` makes one. It is read at the start only.
	KeyFile string `yaml:"key_file"`

	// Kind is which of the three it is; empty: there is no sign-in to keep.
	Kind StoreKind
}

// StoreKind is one of the places for a sign-in.
type StoreKind string

// The places for a sign-in.
const (
	InMemory   StoreKind = "memory"
	InKeychain StoreKind = "keychain"
	InFile     StoreKind = "file"
)

// Credential is how an identity proves itself.
type Credential struct {
	// `secret`: a client secret, from `file` or `env`. `certificate`: a certificate and its RSA private key, from `file` and perhaps `key_file`. `workload-identity`: a federated token, from `token_file`. `managed-identity`: none at all; Azure knows where the broker runs, and gives tokens of the identity that is assigned there: the system-assigned one, or the one that `client_id`, `object_id` or `resource_id` names. `key-vault-secret` and `key-vault-certificate`: the client secret, or the certificate, `name` in the Azure Key Vault `vault`; the key of a certificate never leaves it. `device-code` and `browser`: a user, who signs in with `tokenbroker login`: by a code that they type in at any browser, or by a browser that is sent back to the broker. `password`: a user, by `username` and `password_file`; not for users with a second factor, or of a federated domain, and advised against. `on-behalf-of`: the user whose token comes with each request; the app proves itself with the `credential` in this one.
	Kind CredentialKind `yaml:"kind"`

	// Of kind `secret`: the file with the client secret. Of kind `certificate`: the file with the certificate, as PEM (any chain after it, and the private key unless `key_file` has it) or as PFX (PKCS #12, with the key in it). It is read again when it changes.
	File string `yaml:"file"`

	// Of kind `secret`: the name of the environment variable with the client secret. Prefer `file`: a variable cannot be rotated without a restart, and is seen by whoever may look at the process.
	Env string `yaml:"env"`

	// Of kind `workload-identity`: the file with the projected token. It is read at every exchange.
	TokenFile string `yaml:"token_file"`

	// Of kind `certificate`: the PEM file with the private key, where it is apart from the certificate, as in a Kubernetes Secret of type `kubernetes.io/tls`. Both are read again together: a certificate is never used with a key that is not its own.
	KeyFile string `yaml:"key_file"`

	// Of kind `certificate`: the file with the password of the PFX file or of the encrypted private key, on one line. Empty: there is none. Of kind `password`: the file with the user's password, on one line; it is read again when it changes.
	PasswordFile string `yaml:"password_file"`

	// Of kind `certificate`: whether the chain in the file is sent along (`x5c`), which an app registration needs that trusts an issuer and a subject name instead of one certificate. Of kind `key-vault-certificate`: whether the certificate is sent along, without its issuers.
	SendChain bool `yaml:"send_chain"`

	// Of kind `managed-identity`: the client id of a user-assigned identity, a GUID. One of this, `object_id` and `resource_id` at most; with none it is the system-assigned identity.
	ClientID string `yaml:"client_id"`

	// Of kind `managed-identity`: the object (principal) id of a user-assigned identity, a GUID.
	ObjectID string `yaml:"object_id"`

	// Of kind `managed-identity`: the resource id of a user-assigned identity, as in `/subscriptions/…/userAssignedIdentities/NAME`.
	ResourceID string `yaml:"resource_id"`

	// Of the kinds of Key Vault: the vault, as `https://NAME.vault.azure.net` or its like in the `cloud`. Another host is taken only beside an `authority` that is not Microsoft's.
	Vault VaultURL `yaml:"vault"`

	// Of the kinds of Key Vault: the secret's or the certificate's name in the vault. The newest version is used, within a minute of its making.
	Name string `yaml:"name"`

	// Of kind `browser`, and of kind `device-code` for a login with `--browser`: where Entra sends the browser, as it is registered with the app under Mobile and desktop applications. With `http://localhost`, which it is without this key, or `http://127.0.0.1`, a port of your own or any free one, the broker takes the answer itself. With any other, such as `https://127.0.0.1`, the user pastes the address that the browser ends at.
	RedirectURI string `yaml:"redirect_uri"`

	// Of kind `password`: the user, as in `analyst@contoso.com`.
	Username string `yaml:"username"`

	// Of the kinds of Key Vault: the identity that reads the vault. Of kind `on-behalf-of`: how the app proves itself, by kind `secret`, `certificate` or `workload-identity`.
	Access InnerCredential `yaml:"credential"`

	// Of kind `on-behalf-of`: further audiences of the app, that is the Application ID URIs of its registration that are not `api://` and the client id, such as `api://contoso/portal` or `https://contoso.onmicrosoft.com/portal`. A user's token for one of these is taken as one for the app. Those for the `client_id` and for `api://<client_id>` are taken without being named.
	Audiences []string `yaml:"audiences"`

	// Secret is the value of the variable that Env names.
	Secret entra.Secret

	// Password is what a password file would hold, from the variable
	// AZURE_CLIENT_CERTIFICATE_PASSWORD.
	Password entra.Secret
}

// InnerCredential is the identity that reads a vault, of which [Load] fills in
// what is left out, or the credential of an app that acts on behalf of users.
type InnerCredential struct {
	// For a vault `workload-identity` or `managed-identity`. Without this `credential` it is the workload identity that `AZURE_FEDERATED_TOKEN_FILE`, `AZURE_CLIENT_ID` and `AZURE_TENANT_ID` describe, where the first of them is set, and else the managed identity of where the broker runs, the one of `AZURE_CLIENT_ID` where that is set. For `on-behalf-of` `secret`, `certificate` or `workload-identity`, with the keys that such a credential has elsewhere.
	Kind CredentialKind `yaml:"kind"`

	// Of kind `secret`: the file with the client secret. Of kind `certificate`: the file with the certificate.
	File string `yaml:"file"`

	// Of kind `secret`: the name of the environment variable with the client secret.
	Env string `yaml:"env"`

	// Of kind `workload-identity`: the file with the projected token.
	TokenFile string `yaml:"token_file"`

	// Of kind `certificate`: the PEM file with the private key, where it is apart.
	KeyFile string `yaml:"key_file"`

	// Of kind `certificate`: the file with the password.
	PasswordFile string `yaml:"password_file"`

	// Of kind `certificate`: whether the chain is sent along.
	SendChain bool `yaml:"send_chain"`

	// Of kind `workload-identity`, for a vault: the tenant. Empty: the identity's.
	Tenant entra.Tenant `yaml:"tenant"`

	// For a vault, of kind `workload-identity`: the client id; empty: the identity's. Of kind `managed-identity`: that of a user-assigned one.
	ClientID string `yaml:"client_id"`

	// Of kind `managed-identity`: the object (principal) id of a user-assigned one.
	ObjectID string `yaml:"object_id"`

	// Of kind `managed-identity`: the resource id of a user-assigned one.
	ResourceID string `yaml:"resource_id"`

	// Secret is the value of the variable that Env names.
	Secret entra.Secret
}

// VaultURL is the address of an Azure Key Vault, as https://host.
type VaultURL string

// CredentialKind is one of the ways to prove an identity.
type CredentialKind string

// The kinds of credential.
const (
	ClientSecret        CredentialKind = "secret"
	Certificate         CredentialKind = "certificate"
	WorkloadIdentity    CredentialKind = "workload-identity"
	ManagedIdentity     CredentialKind = "managed-identity"
	KeyVaultSecret      CredentialKind = "key-vault-secret"
	KeyVaultCertificate CredentialKind = "key-vault-certificate"
	DeviceCode          CredentialKind = "device-code"
	Browser             CredentialKind = "browser"
	Password            CredentialKind = "password"
	OnBehalfOf          CredentialKind = "on-behalf-of"
)
