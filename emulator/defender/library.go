package defenderemu

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
)

// libraryFile is a file for live response, as the API writes it (MDE: "List
// library files").
type libraryFile struct {
	FileName       string   `json:"fileName"`
	SHA256         string   `json:"sha256"`
	Description    optional `json:"description"`
	CreationTime   stamp    `json:"creationTime"`
	LastUpdateTime stamp    `json:"lastUpdatedTime"`
	CreatedBy      string   `json:"createdBy"`
	HasParameters  bool     `json:"hasParameters"`
	Parameters     optional `json:"parametersDescription"`
}

func listLibrary(c *call) (answer, error) {
	return list(c, listing{of: "LibraryFiles"}, c.data.library)
}

// upload is the form of a library file.
type upload struct {
	name    string
	content []byte
	fields  map[string]string // by name in lower case
}

// readUpload reads the form of an upload.
func (c *call) readUpload() (upload, error) {
	malformed := badRequest("InvalidRequestBody", "Request body is incorrect: want multipart/form-data with a part named file.")
	media, params, err := mime.ParseMediaType(c.Header.Get("Content-Type"))
	if err != nil || media != "multipart/form-data" {
		return upload{}, malformed
	}
	up := upload{fields: map[string]string{}}
	form := multipart.NewReader(bytes.NewReader(c.body), params["boundary"])
	for {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return upload{}, malformed
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return upload{}, malformed
		}
		if strings.EqualFold(part.FormName(), "file") {
			up.name, up.content = part.FileName(), content
		} else {
			up.fields[strings.ToLower(part.FormName())] = string(content)
		}
	}
	if up.name == "" {
		return upload{}, malformed
	}
	return up, nil
}

// uploadLibrary: MDE, "Upload files to the live response library".
func uploadLibrary(c *call) (answer, error) {
	up, err := c.readUpload()
	if err != nil {
		return answer{}, err
	}
	sum := sha256.Sum256(up.content)
	file := libraryFile{
		FileName: up.name, SHA256: hex.EncodeToString(sum[:]), Description: optional(up.fields["description"]), CreationTime: c.now, LastUpdateTime: c.now,
		CreatedBy: c.requestor(), HasParameters: strings.EqualFold(up.fields["hasparameters"], "true"), Parameters: optional(up.fields["parametersdescription"]),
	}
	if i := c.libraryFile(up.name); i >= 0 {
		if !strings.EqualFold(up.fields["overrideifexists"], "true") {
			return answer{}, badRequest("BadRequest", "File %s already exists: set OverrideIfExists to replace it.", up.name)
		}
		c.data.library[i] = file
	} else {
		c.data.library = append(c.data.library, file)
	}
	return c.one("LibraryFiles", file)
}

// libraryFile is the place of a file in the library, below zero for none.
func (c *call) libraryFile(name string) int {
	return slices.IndexFunc(c.data.library, func(f libraryFile) bool { return f.FileName == name })
}

func deleteLibraryFile(c *call) (answer, error) {
	i := c.libraryFile(c.param("fileName"))
	if i < 0 {
		return answer{}, notFound("File %s was not found", c.param("fileName"))
	}
	c.data.library = slices.Delete(c.data.library, i, i+1)
	return answer{status: http.StatusNoContent}, nil
}
