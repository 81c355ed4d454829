package metadataemu_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	metadataemu "tokenbroker/emulator/metadata"
)

func TestIMDSAnswersInItsShape(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, system)
		got := w.imds(t, "%2F") // the resource is echoed byte for byte
		var fields map[string]any
		if err := json.Unmarshal([]byte(got.body), &fields); err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		want := map[string]any{
			"access_token": fields["access_token"], "client_id": system.ClientID, "token_type": "Bearer", "resource": mde + "/",
			"expires_in": "86400", "ext_expires_in": "86400",
			"expires_on": strconv.FormatInt(now.Add(24*time.Hour).Unix(), 10),
			"not_before": strconv.FormatInt(now.Add(-5*time.Minute).Unix(), 10),
		}
		if diff := cmp.Diff(fields, want); diff != "" {
			t.Errorf("got -, want +:\n%s", diff)
		}
		if got.Header.Get("Content-Type") != "application/json; charset=utf-8" {
			t.Errorf("content type %q", got.Header.Get("Content-Type"))
		}
		if claims := w.claims(t, got); claims.Object != system.ObjectID || claims.Audience[0] != mde+"/" {
			t.Errorf("the token is for %+v", claims)
		}
	})
}

func TestAppServiceAnswersInItsShape(t *testing.T) {
	w := newWorld(t, system)
	for _, got := range []answer{
		w.app(t, ""),
		w.get(t, appURL+"?api-version=2017-09-01&resource="+mde, "secret", headerText),
	} {
		var fields map[string]string
		if err := json.Unmarshal([]byte(got.body), &fields); err != nil {
			t.Fatalf("%v: %s", err, got.body)
		}
		claims := w.claims(t, got)
		want := map[string]string{
			"access_token": fields["access_token"], "client_id": system.ClientID, "token_type": "Bearer", "resource": mde,
			"expires_on": strconv.FormatInt(claims.Expires.Time().Unix(), 10),
		}
		if diff := cmp.Diff(fields, want); diff != "" {
			t.Errorf("got -, want +:\n%s", diff)
		}
	}
}

func TestWhoIsMeant(t *testing.T) {
	byResource := func(name string, i metadataemu.Identity) string {
		return "&" + name + "=" + url.QueryEscape(i.ResourceID)
	}
	const app = true
	for _, tc := range []struct {
		name       string
		app        bool
		identities []metadataemu.Identity
		query      string
		want       string // a client id; empty: refused
	}{
		{"the system's own", !app, []metadataemu.Identity{hunter, system}, "", system.ClientID},
		{"the only one", !app, []metadataemu.Identity{hunter}, "", hunter.ClientID},
		{"two and none named", !app, []metadataemu.Identity{hunter, keeper}, "", ""},
		{"nobody there", !app, nil, "", ""},
		{"client id", !app, []metadataemu.Identity{system, hunter, keeper}, "&client_id=" + keeper.ClientID, keeper.ClientID},
		{"object id", !app, []metadataemu.Identity{system, hunter, keeper}, "&object_id=" + keeper.ObjectID, keeper.ClientID},
		{"principal id", !app, []metadataemu.Identity{system, hunter, keeper}, "&principal_id=" + keeper.ObjectID, keeper.ClientID},
		{"resource id", !app, []metadataemu.Identity{system, hunter, keeper}, byResource("msi_res_id", keeper), keeper.ClientID},
		{"resource id, App Service's spelling", !app, []metadataemu.Identity{system, hunter, keeper}, byResource("mi_res_id", keeper), keeper.ClientID},
		{"empty name", !app, []metadataemu.Identity{system, hunter}, "&client_id=", system.ClientID},
		{"unknown client id", !app, []metadataemu.Identity{system, hunter}, "&client_id=" + stranger, ""},
		{"unknown among one", !app, []metadataemu.Identity{hunter}, "&object_id=" + stranger, ""},
		{"two names", !app, []metadataemu.Identity{system, hunter}, "&client_id=" + hunter.ClientID + "&object_id=" + hunter.ObjectID, ""},

		{"App Service's own", app, []metadataemu.Identity{hunter, system}, "", system.ClientID},
		{"App Service has none of its own", app, []metadataemu.Identity{hunter}, "", ""},
		{"App Service by resource id", app, []metadataemu.Identity{system, hunter}, byResource("mi_res_id", hunter), hunter.ClientID},
		{"App Service by object id", app, []metadataemu.Identity{system, hunter}, "&object_id=" + hunter.ObjectID, hunter.ClientID},
		{"App Service unknown", app, []metadataemu.Identity{system, hunter}, "&client_id=" + stranger, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, tc.identities...)
			ask := w.imds
			if tc.app {
				ask = w.app
			}
			got := ask(t, tc.query)
			if tc.want == "" {
				if got.StatusCode != http.StatusBadRequest || len(w.Stats().Issued) != 0 {
					t.Errorf("got %s %s, want 400", got.Status, got.body)
				}
				return
			}
			if claims := w.claims(t, got); claims.AppID != tc.want {
				t.Errorf("the token is %s's, want %s's", claims.AppID, tc.want)
			}
			if diff := cmp.Diff(w.Stats().Issued, map[string]int{tc.want: 1}); diff != "" {
				t.Errorf("issued: got -, want +:\n%s", diff)
			}
		})
	}

	t.Run("2017-09-01 has clientid alone", func(t *testing.T) {
		w := newWorld(t, system, hunter)
		for query, want := range map[string]string{
			"&clientid=" + hunter.ClientID: hunter.ClientID, "&clientid=": system.ClientID, "&client_id=" + hunter.ClientID: system.ClientID,
		} {
			got := w.get(t, appURL+"?api-version=2017-09-01&resource="+mde+query, "secret", headerText)
			if claims := w.claims(t, got); claims.AppID != want {
				t.Errorf("%s: the token is %s's, want %s's", query, claims.AppID, want)
			}
		}
	})
}

func TestRefusals(t *testing.T) {
	const imdsQuery, appQuery = "?api-version=2018-02-01&resource=" + mde, "?api-version=2019-08-01&resource=" + mde
	metadata, header := []string{"Metadata", "true"}, []string{"X-IDENTITY-HEADER", headerText}
	w := newWorld(t, system)
	for _, tc := range []struct {
		name   string
		method string
		uri    string
		header []string
		status int
		body   string
	}{
		{"no metadata header", "GET", imdsURL + imdsQuery, nil, 400, `{"error":"invalid_request","error_description":"Required metadata header not specified"}`},
		{"metadata: false", "GET", imdsURL + imdsQuery, []string{"Metadata", "false"}, 400, `{"error":"invalid_request","error_description":"Required metadata header not specified"}`},
		{"forwarded", "GET", imdsURL + imdsQuery, append(metadata, "X-Forwarded-For", "10.0.0.1"), 400, `{"error":"invalid_request","error_description":"Requests must not contain an X-Forwarded-For header"}`},
		{"no version", "GET", imdsURL + "?resource=" + mde, metadata, 400, `{"error":"invalid_request","error_description":"api-version is invalid or was not specified in the request: want 2018-02-01"}`},
		{"no resource", "GET", imdsURL + "?api-version=2018-02-01", metadata, 400, `{"error":"invalid_request","error_description":"Required query variable 'resource' is missing"}`},
		{"unknown identity", "GET", imdsURL + imdsQuery + "&client_id=" + stranger, metadata, 400, `{"error":"invalid_request","error_description":"Identity not found"}`},
		{"unknown resource", "GET", imdsURL + "?api-version=2018-02-01&resource=https://x.example", metadata, 400, `{"error":"invalid_resource","error_description":"AADSTS500011: The resource principal 'https://x.example' was not found in the tenant '22222222-2222-2222-2222-222222222222'."}`},
		{"IMDS by POST", "POST", imdsURL + imdsQuery, metadata, 405, `{"error":"method_not_allowed","error_description":"The endpoint takes GET requests only"}`},

		{"no secret header", "GET", appURL + appQuery, nil, 401, `{"statusCode":401,"message":"The header X-IDENTITY-HEADER is missing or wrong."}`},
		{"wrong secret header", "GET", appURL + appQuery, []string{"X-IDENTITY-HEADER", "wrong"}, 401, `{"statusCode":401,"message":"The header X-IDENTITY-HEADER is missing or wrong."}`},
		{"the other version's header", "GET", appURL + appQuery, []string{"secret", headerText}, 401, `{"statusCode":401,"message":"The header X-IDENTITY-HEADER is missing or wrong."}`},
		{"the newer version's header", "GET", appURL + "?api-version=2017-09-01&resource=" + mde, header, 401, `{"statusCode":401,"message":"The header secret is missing or wrong."}`},
		{"unknown version", "GET", appURL + "?api-version=2018-02-01&resource=" + mde, header, 400, `{"statusCode":400,"message":"The API version is missing or not supported."}`},
		{"App Service by POST", "POST", appURL + appQuery, header, 405, `{"statusCode":405,"message":"The endpoint takes GET requests only"}`},
		{"App Service unknown identity", "GET", appURL + appQuery + "&mi_res_id=/x", header, 400, `{"statusCode":400,"message":"No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId."}`},
		{"another path", "GET", "http://" + appHost + "/metadata/instance", metadata, 404, "404 page not found"},
	} {
		got, err := w.do(t.Context(), t, tc.method, tc.uri, "", tc.header...)
		if err != nil {
			t.Fatal(err)
		}
		if got.StatusCode != tc.status || got.body != tc.body+"\n" {
			t.Errorf("%s: got %s %s, want %d %s", tc.name, got.Status, got.body, tc.status, tc.body)
		}
	}
	if stats := w.Stats(); len(stats.Issued) != 0 || stats.Refused["invalid_request"] != 8 || stats.Refused["unauthorized"] != 4 {
		t.Errorf("got %+v", stats)
	}
}

func TestSlashesTooMany(t *testing.T) {
	w := newWorld(t, system)
	for _, uri := range []string{imdsURL + "/", "http://" + appHost + "//metadata/identity/oauth2/token"} {
		got := w.get(t, uri+"?api-version=2018-02-01&resource="+mde, "Metadata", "True")
		if got.StatusCode != http.StatusOK {
			t.Errorf("%s: got %s %s", uri, got.Status, got.body)
		}
	}
}
