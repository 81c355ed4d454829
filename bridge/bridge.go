// Package bridge translates hunting between the MDE and XDR APIs, which end, and
// Microsoft Graph, which stays: a query on its way there, and the answer on its
// way back.
//
// What the two say is in "Advanced hunting API", learn.microsoft.com/defender-xdr/api-advanced-hunting,
// and "security: runHuntingQuery", learn.microsoft.com/graph/api/security-security-runhuntingquery.
// The answer is translated as it comes, whatever its length: 100,000 rows pass
// through a few KiB. Every value in it stays as it was written, byte for byte.
package bridge

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"tokenbroker/entra"
)

// maxQuery bounds a request's body in bytes. Lists of indicators make queries
// long, to some hundred KiB.
const maxQuery = 1 << 20

// ContentType is that of the translated query, and of the translated answer.
// Graph's page asks for the charset where a query is not all ASCII.
const ContentType = "application/json; charset=utf-8"

// Query reads the body of a request to the MDE or XDR API and returns that of
// one to Graph: {"Query": …}, with the query as it was written. The old APIs
// take the name in any case, and pass over whatever else there is. An error of
// body is returned as it is; any other is of kind Invalid.
func Query(body io.Reader) ([]byte, error) {
	const op = "bridge.query"
	raw, err := io.ReadAll(io.LimitReader(body, maxQuery+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxQuery {
		return nil, entra.Errorf(entra.Invalid, op, "query: longer than %d bytes", maxQuery)
	}
	var in struct{ Query json.RawMessage }
	if json.Unmarshal(bytes.TrimPrefix(raw, []byte("\ufeff")), &in) != nil || len(in.Query) == 0 || in.Query[0] != '"' {
		return nil, entra.Errorf(entra.Invalid, op, `request body: want JSON, uncompressed, {"Query": "…"}`)
	}
	return append(append([]byte(`{"Query":`), in.Query...), '}'), nil
}

// Limit says which of Graph's own limits a failed answer is about, in ASCII;
// empty: it does not look like any. Start is the beginning of its body, which
// goes to the caller as it is. The figures are from "Use the Microsoft Graph
// security API", learn.microsoft.com/graph/api/resources/security-api-overview.
func Limit(status int, start []byte) string {
	says := func(words ...string) bool {
		for _, word := range words {
			if strings.Contains(strings.ToLower(string(start)), word) {
				return true
			}
		}
		return false
	}
	const by = "bridge: graph-hunting: "
	switch {
	case status < http.StatusBadRequest:
		return ""
	case status == http.StatusTooManyRequests:
		return by + "Graph lets every tenant have at least 45 queries a minute, and a share of CPU every 15 minutes; the answer says which is used up"
	case says("result size"):
		return by + "Graph returns at most 50 MB and 100,000 rows a query; narrow it down, or ask for fewer columns"
	case status == http.StatusGatewayTimeout, status == http.StatusRequestTimeout, says("timed out", "timeout", "execution time"):
		return by + "Graph runs a query for at most 3 minutes; narrow it down, or look back less far"
	case says("allowed limits", "preempted"):
		return by + "Graph bounds what CPU and memory a query takes; narrow it down"
	default:
		return ""
	}
}
