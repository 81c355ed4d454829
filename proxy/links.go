package proxy

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"tokenbroker/entra"
	"tokenbroker/route"
)

// mayHaveLinks reports whether the answer is one that may hold paging links: a
// whole, successful JSON answer, in UTF-8.
func mayHaveLinks(res *http.Response) bool {
	switch res.StatusCode {
	case http.StatusNoContent, http.StatusResetContent, http.StatusPartialContent:
		return false
	}
	h := res.Header
	switch {
	case res.StatusCode < 200, res.StatusCode > 299,
		res.ContentLength == 0, res.Request.Method == http.MethodHead,
		h.Get("Content-Range") != "":
		return false
	}
	media, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || media != "application/json" && !strings.HasSuffix(media, "+json") {
		return false
	}
	charset := params["charset"]
	return charset == "" || strings.EqualFold(charset, "utf-8")
}

// isCompressed reports whether the answer is, although that was not asked for.
func isCompressed(h http.Header) bool {
	coding := h.Get("Content-Encoding")
	return coding != "" && !strings.EqualFold(coding, "identity")
}

// loosen takes from the header what holds for the upstream's bytes alone: the
// body that goes out may be another one. An ETag stays, weak, since it still
// tells one state of the resource from another (RFC 9110 §8.8.1); ranges are
// not offered, since they would be cut from the upstream's bytes.
func loosen(h http.Header) {
	for _, name := range []string{"Content-Length", "Accept-Ranges", "Content-Md5", "Digest", "Content-Digest", "Repr-Digest"} {
		delete(h, name)
	}
	if tag := h.Get("Etag"); tag != "" && !strings.HasPrefix(tag, "W/") {
		h.Set("Etag", "W/"+tag)
	}
}

// linker rewrites the links of one answer.
type linker struct {
	origin string // what a link shall begin with: the URL that the caller came by, up to the route
	route  string
	base   string       // the upstream's own path, which the caller does not see, without a slash at its end
	logger *slog.Logger // told once about a link that stays
}

// raw rewrites a link as it stands between its quotes in JSON. What cannot be
// rewritten comes back as it is.
func (l *linker) raw(ctx context.Context, value []byte) []byte {
	var link string
	quoted := append(append([]byte{'"'}, value...), '"')
	if json.Unmarshal(quoted, &link) != nil || strings.ContainsRune(link, utf8.RuneError) {
		return value
	}
	ours, ok := l.rewrite(link)
	if !ok {
		l.leave(ctx, link)
		return value
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false) // a reader of lines finds "&" as the upstream wrote it
	_ = encoder.Encode(ours)     // a string in memory: it cannot fail
	return b.Bytes()[1 : b.Len()-len("\"\n")]
}

// rewrite keeps the link's path and query byte for byte and puts the URL that
// the caller came by before them, whatever host the link names: the APIs name
// whatever host they take themselves for. A link that leads out of the route
// stays, and so does a relative one without a leading slash, which already
// leads to where the caller came by.
func (l *linker) rewrite(link string) (ours string, ok bool) {
	rest, ok := cutAuthority(link)
	if !ok || strings.Contains(rest, "#") {
		return "", false
	}
	if rest, ok = strings.CutPrefix(rest, l.base); !ok {
		return "", false
	}
	path, _, _ := strings.Cut(rest, "?")
	if _, err := route.ParsePath(path); err != nil || !strings.HasPrefix(path, "/") {
		return "", false
	}
	return l.origin + rest, true
}

// cutAuthority returns a link's path and query.
func cutAuthority(link string) (rest string, ok bool) {
	scheme, after, ok := strings.Cut(link, "//")
	switch {
	case ok && (scheme == "" || strings.EqualFold(scheme, "https:") || strings.EqualFold(scheme, "http:")):
		i := strings.IndexAny(after, "/?#")
		if i < 0 {
			return "", false
		}
		return after[i:], true
	default:
		return link, strings.HasPrefix(link, "/")
	}
}

// leave logs a link that was not rewritten: the caller's next page goes past
// the broker, without a token. The first of an answer stands for all.
func (l *linker) leave(ctx context.Context, link string) {
	if l.logger == nil {
		return
	}
	place := "not a URL"
	if u, err := url.Parse(link); err == nil { // the rest may hold what is nobody's business
		place = u.Scheme + "://" + u.Host
	}
	l.logger.WarnContext(ctx, "paging link leads out of the route, left as it is", "route", l.route, "link", entra.Quote(place))
	l.logger = nil
}
