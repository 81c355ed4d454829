"""Gets a token as an application would that is written against one of Microsoft's
SDKs for Python, and prints {token, expires} or {error}.

    python3 client.py CLIENT SCOPE [CLIENT_ID]
"""
import json
import sys


def azure_identity(name):
    def get(scope, client_id):
        import azure.identity

        options = {"client_id": client_id} if client_id else {}
        got = getattr(azure.identity, name)(**options).get_token(scope)
        return {"token": got.token, "expires": got.expires_on}

    return get


def msal_confidential(scope, client_id):
    """An application with a client secret, by the TLS listener's /adfs."""
    import os

    import msal

    app = msal.ConfidentialClientApplication(
        client_id,
        authority=os.environ["AZURE_AUTHORITY_HOST"] + "/adfs",
        client_credential=os.environ["AZURE_CLIENT_SECRET"],
    )
    got = app.acquire_token_for_client(scopes=[scope])
    if "access_token" not in got:
        raise RuntimeError(got.get("error_description") or got)
    return {"token": got["access_token"]}


def oauthlib(scope, client_id):
    """A generic OAuth 2.0 client, with HTTP Basic authentication."""
    import os

    from oauthlib.oauth2 import BackendApplicationClient
    from requests_oauthlib import OAuth2Session

    os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"
    got = OAuth2Session(client=BackendApplicationClient(client_id=client_id)).fetch_token(
        token_url=os.environ["TOKEN_URL"], client_id=client_id, client_secret=os.environ["AZURE_CLIENT_SECRET"], scope=scope
    )
    return {"token": got["access_token"], "expires": int(got["expires_at"])}


def documented(scope, client_id):
    """The sample of Microsoft's page, which knows nothing but urllib, with another host."""
    import os
    import urllib.parse
    import urllib.request

    body = {
        "resource": scope.removesuffix("/.default"),
        "client_id": client_id,
        "client_secret": os.environ["AZURE_CLIENT_SECRET"],
        "grant_type": "client_credentials",
    }
    data = urllib.parse.urlencode(body).encode("utf-8")
    got = json.loads(urllib.request.urlopen(urllib.request.Request(os.environ["TOKEN_URL"], data)).read())
    return {"token": got["access_token"], "expires": int(got["expires_on"])}


clients = {
    "msal": msal_confidential,
    "requests-oauthlib": oauthlib,
    "documented": documented,
    **{name: azure_identity(name) for name in ("ManagedIdentityCredential", "DefaultAzureCredential", "EnvironmentCredential", "AzureCliCredential")},
}

try:
    client, scope, *rest = sys.argv[1:]
    print(json.dumps(clients[client](scope, rest[0] if rest else None)))
except Exception as err:  # whatever the SDK throws is the answer
    print(json.dumps({"error": f"{type(err).__name__}: {err}"}))
    sys.exit(1)
