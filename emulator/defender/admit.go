package defenderemu

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"tokenbroker/defender"
)

// admit checks a call before its handler sees it, and reads its body.
func (s *Server) admit(w http.ResponseWriter, r *http.Request, e *defender.Endpoint, host *defender.Host) (*call, error) {
	if err := s.refuse(r, e); err != nil {
		return nil, err
	}
	claims, err := s.authorize(r, e, host)
	if err != nil {
		return nil, err
	}
	if s.cfg.Limits {
		if err := s.limiter.count(&claims, e, time.Now()); err != nil {
			return nil, err
		}
	}
	body, err := readBody(w, r)
	if err != nil {
		return nil, err
	}
	return &call{
		Request: r, server: s, endpoint: e, claims: claims, data: s.dataOf(claims.Tenant), now: s.now(),
		body: body, params: placeholders(e.Path, r.URL.EscapedPath()),
	}, nil
}

// The largest bodies, in bytes: of a file for the library 20 MB are documented,
// to which the rest of the form comes.
const (
	maxBody   = 4 << 20
	maxUpload = 20_000_000 + 64<<10
)

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	limit := int64(maxBody)
	if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/") {
		limit = maxUpload
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, refuse(http.StatusRequestEntityTooLarge, "InvalidRequestBody", "Request body is larger than %d bytes.", tooLarge.Limit)
	}
	if err != nil {
		return nil, badRequest("InvalidRequestBody", "Request body could not be read.")
	}
	return body, nil
}
