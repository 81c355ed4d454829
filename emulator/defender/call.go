package defenderemu

import (
	"encoding/json"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"tokenbroker/defender"
	"tokenbroker/entra"
)

// handler answers one endpoint. It runs under the lock of the call's data,
// shared for an endpoint that only reads, and never waits for the network.
type handler func(c *call) (answer, error)

// call is one admitted request of a catalogued endpoint.
type call struct {
	*http.Request
	server   *Server
	endpoint *defender.Endpoint
	claims   entra.Claims
	data     *data // of the token's tenant
	now      stamp
	body     []byte
	params   map[string]string
}

// param returns what stands in the path for a placeholder of the endpoint.
func (c *call) param(name string) string { return c.params[name] }

// requestor names who the token stands for.
func (c *call) requestor() string {
	if c.claims.User != "" {
		return c.claims.User
	}
	return c.claims.Client()
}

// machine finds the machine that the path names.
func (c *call) machine() (*machine, error) {
	if m := c.data.machine(c.param("id")); m != nil {
		return m, nil
	}
	return nil, notFound("Machine %s was not found", c.param("id"))
}

// one answers with a single thing of the collection of.
func (c *call) one(of string, thing any) (answer, error) {
	b, err := marshal(thing)
	if err != nil {
		return answer{}, err
	}
	context, err := marshal(c.context(of + "/$entity"))
	if err != nil {
		return answer{}, err
	}
	body := append([]byte(`{"@odata.context":`), context...)
	return answer{body: json.RawMessage(append(append(body, ','), b[1:]...))}, nil
}

// created is one, with the status for a thing that is new.
func (c *call) created(of string, thing any) (answer, error) {
	a, err := c.one(of, thing)
	a.status = http.StatusCreated
	return a, err
}

// value answers with a bare string, as the endpoints that give out a link do.
func (c *call) value(s string) (answer, error) {
	return answer{body: struct {
		Context string `json:"@odata.context"`
		Value   string `json:"value"`
	}{c.context("Edm.String"), s}}, nil
}

// decode reads the body's members into the fields of a struct. Their names are
// case-sensitive, as the API's are and encoding/json's are not; unknown members
// are passed over.
func (c *call) decode(into any) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(c.body, &members); err != nil {
		return badRequest("InvalidRequestBody", "Request body is incorrect: not a JSON object.")
	}
	v := reflect.ValueOf(into).Elem()
	for i := range v.NumField() {
		name := jsonName(v.Type().Field(i))
		raw, ok := members[name]
		if !ok {
			continue
		}
		if err := json.Unmarshal(raw, v.Field(i).Addr().Interface()); err != nil {
			return badRequest("InvalidRequestBody", "Request body is incorrect: %s has the wrong type.", name)
		}
	}
	return nil
}

// jsonName is a field's name on the wire; empty: it has none.
func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// placeholders reads, from a path as it was sent and the pattern that it
// matches, what stands for {id} under that name, and the parameters of an OData
// function under theirs. The values are decoded, and without OData's quotes.
func placeholders(pattern, escaped string) map[string]string {
	found := map[string]string{}
	want, got := strings.Split(pattern, "/"), strings.Split(escaped, "/")
	for i := range got {
		got[i], _ = url.PathUnescape(got[i]) // cannot fail: the server has parsed the path
	}
	if len(got) > 2 && strings.EqualFold(got[1], "api") && strings.EqualFold(got[2], "v1.0") {
		got = slices.Delete(got, 2, 3)
	}
	for i := range min(len(want), len(got)) {
		if name, ok := strings.CutPrefix(want[i], "{"); ok {
			found[strings.TrimSuffix(name, "}")] = got[i]
			continue
		}
		_, parameters, ok := strings.Cut(got[i], "(")
		if !ok || !strings.Contains(want[i], "(") {
			continue
		}
		for pair := range strings.SplitSeq(strings.TrimSuffix(parameters, ")"), ",") {
			name, value, _ := strings.Cut(pair, "=")
			found[strings.ToLower(strings.TrimSpace(name))] = strings.Trim(strings.TrimSpace(value), "'")
		}
	}
	return found
}

// parseTime accepts the times that the API does: RFC 3339, and a day alone.
func parseTime(s string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
