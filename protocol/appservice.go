package protocol

import (
	"cmp"
	"net/http"

	"tokenbroker/entra"
	"tokenbroker/guard"
)

// AppService is the managed identity protocol of App Service, which every
// library of Microsoft's speaks where IDENTITY_ENDPOINT and IDENTITY_HEADER are
// set; and its first version, which is that of Azure Machine Learning too, where
// MSI_ENDPOINT and MSI_SECRET are.
// See "How to use managed identities for App Service and Azure Functions",
// section "REST endpoint reference", learn.microsoft.com/azure/app-service/overview-managed-identity.
type AppService struct{ Tokens }

// AppServiceKeys is the [guard.KeysOf] of App Service: X-IDENTITY-HEADER, the
// older secret, and X-Broker-Key; where the request has none of them, what
// [guard.HeaderKeys] finds.
func AppServiceKeys(r *http.Request) ([]entra.Secret, error) {
	keys := guard.KeysIn(r.Header, "X-Identity-Header", "Secret", "X-Broker-Key")
	if keys == nil {
		return guard.HeaderKeys(r)
	}
	return keys, nil
}

// Token answers a GET of either version. The answers are the same, also to the
// first one, whose expiry was a date: no library that is in use demands it so.
func (a AppService) Token(w http.ResponseWriter, r *http.Request) {
	a.answerIdentity(w, r, dialect{versions: []string{"2019-08-01", "2017-09-01"}, writeError: WriteAppServiceError})
}

// appServiceRefusal is a failure with the members of both styles: some libraries
// show the one, some the other.
type appServiceRefusal struct {
	StatusCode    int    `json:"statusCode"`
	Message       string `json:"message"`
	Error         string `json:"error"`
	Description   string `json:"error_description"`
	CorrelationID string `json:"correlationId,omitempty"`
}

// WriteAppServiceError writes a failure as App Service would, with the
// correlation id of Entra or else the id of the request, by which the log has it.
func WriteAppServiceError(w http.ResponseWriter, r *http.Request, err *entra.Error) {
	err = refuse(w, r, err)
	if err == nil {
		return
	}
	status := localStatus(err.Kind)
	writeRefusal(w, "application/json", status, appServiceRefusal{
		StatusCode: status, Message: err.Message(), Error: identityCode(err), Description: err.Message(),
		CorrelationID: cmp.Or(err.CorrelationID, entra.TrailOf(r.Context()).RequestID),
	})
}
