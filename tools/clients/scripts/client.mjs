// Gets a token as an application would that is written against one of
// Microsoft's SDKs for Node, and prints {token, expires} or {error}.
//
//	node client.mjs CLIENT SCOPE [CLIENT_ID]
import { AzureCliCredential, DefaultAzureCredential, EnvironmentCredential, ManagedIdentityCredential } from "@azure/identity";
import { ManagedIdentityApplication } from "@azure/msal-node";
import { SidecarAuthProvider } from "@microsoft/agents-hosting";

const [client, scope, clientId] = process.argv.slice(2);

const credentials = {
	ManagedIdentityCredential: () => (clientId ? new ManagedIdentityCredential({ clientId }) : new ManagedIdentityCredential()),
	DefaultAzureCredential: () => new DefaultAzureCredential(),
	EnvironmentCredential: () => new EnvironmentCredential(),
	AzureCliCredential: () => new AzureCliCredential(),
};

async function get() {
	if (client in credentials) {
		const got = await credentials[client]().getToken(scope);
		return { token: got.token, expires: Math.floor(got.expiresOnTimestamp / 1000) };
	}
	if (client === "ManagedIdentityApplication") {
		const params = clientId ? { managedIdentityIdParams: { userAssignedClientId: clientId } } : {};
		const got = await new ManagedIdentityApplication(params).acquireToken({ resource: scope.replace(/\/\.default$/, "") });
		return { token: got.accessToken, expires: Math.floor(got.expiresOn.getTime() / 1000) };
	}
	if (client === "SidecarAuthProvider") {
		const provider = new SidecarAuthProvider({ authType: "EntraAuthSideCar", clientId: clientId ?? "", retryCount: 0 });
		if (!(await provider.isHealthy())) throw new Error("the sidecar is not healthy");
		return { token: await provider.getAccessToken(scope) };
	}
	throw new Error(`no client ${client}`);
}

try {
	console.log(JSON.stringify(await get()));
} catch (err) {
	console.log(JSON.stringify({ error: String(err?.message ?? err) }));
	process.exitCode = 1;
}
