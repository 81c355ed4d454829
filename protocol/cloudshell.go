package protocol

import "net/http"

// CloudShell is the managed identity protocol of Azure Cloud Shell, which is
// spoken where MSI_ENDPOINT is set and nothing else: by azure-cli before its time
// of MSAL, and by all that is built on go-autorest or msrestazure. It has no place
// for a caller key, and no versions. It refuses with [WriteAppServiceError].
type CloudShell struct{ Tokens }

// Token answers a POST.
func (c CloudShell) Token(w http.ResponseWriter, r *http.Request) {
	c.answerIdentity(w, r, dialect{metadata: true, writeError: WriteAppServiceError})
}
