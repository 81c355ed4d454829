package protocol

import (
	"net/http"

	"tokenbroker/entra"
)

// IMDS is the instance metadata service of Azure's virtual machines, as far as
// tokens go. It has no place for a caller key.
// See "How to use managed identities for Azure resources on an Azure VM to
// acquire an access token", learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token.
type IMDS struct{ Tokens }

// Token answers a GET.
func (i IMDS) Token(w http.ResponseWriter, r *http.Request) {
	i.answerIdentity(w, r, dialect{versions: []string{"2018-02-01"}, metadata: true, writeError: WriteIMDSError})
}

// imdsRefusal is RFC 6749 §5.2's.
type imdsRefusal struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

// WriteIMDSError writes a failure as IMDS does. Every refusal is a 400: by that
// libraries know the service, and go on to the next credential of their chain.
func WriteIMDSError(w http.ResponseWriter, r *http.Request, err *entra.Error) {
	err = refuse(w, r, err)
	if err == nil {
		return
	}
	status := localStatus(err.Kind)
	if status < http.StatusInternalServerError {
		status = http.StatusBadRequest
	}
	writeRefusal(w, "application/json", status, imdsRefusal{Error: identityCode(err), Description: err.Message()})
}
