package clients

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/managedidentity"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// asClient makes the test binary a program that is written against one of the
// SDKs for Go: its arguments are those of the scripts in the other languages.
const asClient = "TEST_AS_CLIENT"

// goProgram is main of that program.
func goProgram(client, scope, clientID string) (code int) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	token, expires, err := goToken(ctx, client, scope, clientID)
	said := map[string]any{"token": token, "expires": expires.Unix()}
	if err != nil {
		said, code = map[string]any{"error": err.Error()}, 1
	}
	_ = json.NewEncoder(os.Stdout).Encode(said)
	return code
}

func goToken(ctx context.Context, client, scope, clientID string) (string, time.Time, error) {
	switch client {
	case "ManagedIdentityApplication":
		return msalManaged(ctx, scope, clientID)
	case "clientcredentials", "clientcredentials-basic":
		style := oauth2.AuthStyleInParams
		if client == "clientcredentials-basic" {
			style = oauth2.AuthStyleInHeader
		}
		cfg := clientcredentials.Config{
			ClientID: clientID, ClientSecret: os.Getenv("AZURE_CLIENT_SECRET"), TokenURL: os.Getenv("TOKEN_URL"), Scopes: []string{scope}, AuthStyle: style,
		}
		tok, err := cfg.Token(ctx)
		if err != nil {
			return "", time.Time{}, err
		}
		return tok.AccessToken, tok.Expiry, nil
	}
	credential, err := goCredential(client, clientID)
	if err != nil {
		return "", time.Time{}, err
	}
	tok, err := credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{scope}})
	return tok.Token, tok.ExpiresOn, err
}

func goCredential(client, clientID string) (azcore.TokenCredential, error) {
	switch client {
	case "ManagedIdentityCredential":
		var options azidentity.ManagedIdentityCredentialOptions
		if clientID != "" {
			options.ID = azidentity.ClientID(clientID)
		}
		return azidentity.NewManagedIdentityCredential(&options)
	case "DefaultAzureCredential":
		return azidentity.NewDefaultAzureCredential(nil)
	case "EnvironmentCredential":
		return azidentity.NewEnvironmentCredential(nil)
	case "AzureCliCredential":
		return azidentity.NewAzureCLICredential(nil)
	}
	return nil, fmt.Errorf("no client %s", client)
}

func msalManaged(ctx context.Context, scope, clientID string) (string, time.Time, error) {
	id := managedidentity.ID(managedidentity.SystemAssigned())
	if clientID != "" {
		id = managedidentity.UserAssignedClientID(clientID)
	}
	app, err := managedidentity.New(id)
	if err != nil {
		return "", time.Time{}, err
	}
	result, err := app.AcquireToken(ctx, strings.TrimSuffix(scope, "/.default"))
	return result.AccessToken, result.ExpiresOn, err
}
