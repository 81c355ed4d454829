package defenderemu

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// filesPath is where files lie that the API gives out links to.
const filesPath = "/_files/"

// files stands for the storage accounts that exports and packages lie in. Their
// links carry a signature, and as Azure Storage does, they refuse a request
// that also has an Authorization header.
type files struct {
	key    []byte
	now    func() stamp
	open   func(name string) ([]byte, bool)
	faults *faults
}

// fileLink makes a link to a file, which holds until a time.
func (c *call) fileLink(name string, until stamp) string {
	host := c.server.cfg.FilesHost
	if host == "" {
		host = c.Host
		if _, known := c.server.cfg.Catalogue.Host(hostName(host)); known {
			host = "files.example"
		}
	}
	return "https://" + host + c.server.files.pathOf(name, until)
}

// pathOf is the path of a file, with the signature in its query.
func (f *files) pathOf(name string, until stamp) string {
	expiry := until.UTC().Truncate(time.Second).Format(time.RFC3339)
	q := url.Values{"sv": {"2024-05-04"}, "sr": {"b"}, "sp": {"r"}, "se": {expiry}, "sig": {f.signature(name, expiry)}}
	return filesPath + name + "?" + q.Encode()
}

func (f *files) signature(name, expiry string) string {
	mac := hmac.New(sha256.New, f.key)
	_, _ = io.WriteString(mac, name+"\n"+expiry)
	return hex.EncodeToString(mac.Sum(nil))
}

// ServeHTTP gives out a file to whoever has a link to it, and nothing else.
func (f *files) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, sent := r.Header["Authorization"]; sent {
		if _, lenient := f.faults.take(LenientFiles, r); !lenient {
			storageError(w, http.StatusForbidden, "AuthenticationFailed", "Server failed to authenticate the request: it has both a signature and an Authorization header.")
			return
		}
	}
	name, q := strings.TrimPrefix(r.URL.Path, filesPath), r.URL.Query()
	expiry, err := time.Parse(time.RFC3339, q.Get("se"))
	if err != nil || !hmac.Equal([]byte(q.Get("sig")), []byte(f.signature(name, q.Get("se")))) || f.now().After(expiry) {
		storageError(w, http.StatusForbidden, "AuthenticationFailed", "Server failed to authenticate the request: the signature is wrong or has expired.")
		return
	}
	body, ok := f.open(name)
	if !ok {
		storageError(w, http.StatusNotFound, "BlobNotFound", "The specified blob does not exist.")
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = w.Write(body)
}

// storageError answers in the XML of Azure Storage.
func storageError(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/xml")
	w.Header().Set("X-Ms-Error-Code", code)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, `<?xml version="1.0" encoding="utf-8"?><Error><Code>`+code+`</Code><Message>`+message+`</Message></Error>`)
}

// openFile makes the file of a link's name.
func (s *Server) openFile(name string) ([]byte, bool) {
	parts := strings.Split(name, "/")
	switch {
	case parts[0] == "exports" && len(parts) == 4:
		return s.openExport(parts[1], parts[2], parts[3])
	case parts[0] == "packages":
		return archive("collection-summary.txt", "Investigation package "+parts[len(parts)-1]+"\n"), true
	case parts[0] == "liveresponse":
		b, err := marshal(map[string]any{"script_name": "script.ps1", "exit_code": 0, "script_output": "done\n", "script_errors": ""})
		return b, err == nil
	}
	return nil, false
}

// openExport makes a part of an export: JSON, a row in a line, compressed.
func (s *Server) openExport(tenant, name, file string) ([]byte, bool) {
	part := slices.IndexFunc(exportParts, func(p string) bool { return p == file })
	if part < 0 {
		return nil, false
	}
	rows := none
	if known, ok := exports[name]; ok {
		rows = known
	}
	t := s.dataOf(tenant)
	t.mu.RLock()
	defer t.mu.RUnlock()
	all := rows(t)
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	enc := json.NewEncoder(zw)
	for _, row := range all[part*len(all)/len(exportParts) : (part+1)*len(all)/len(exportParts)] {
		if err := enc.Encode(row); err != nil {
			return nil, false
		}
	}
	err := zw.Close()
	return b.Bytes(), err == nil
}

// archive makes a zip file with one file in it.
func archive(name, content string) []byte {
	var b bytes.Buffer
	zw := zip.NewWriter(&b)
	if w, err := zw.Create(name); err == nil {
		_, _ = io.WriteString(w, content)
	}
	_ = zw.Close()
	return b.Bytes()
}
