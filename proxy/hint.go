package proxy

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"tokenbroker/defender"
	"tokenbroker/entra"
	"tokenbroker/route"
)

const (
	maxHint = 512 // bytes of the header
	maxName = 80  // bytes of a permission's or an audience's name
	maxSaid = 6   // permissions that one hint lists
)

// Hints is with what the broker says why an upstream refused a call. All of it
// may be nil: then the hint says less.
type Hints struct {
	Resource func(defender.API) string     // names a resource application as the portal does
	Consent  func(call *route.Call) string // the link by which an administrator of the call's tenant consents; empty: there is none
}

// lacks reports whether the token has none of the permissions that the catalogue
// names for the call.
func (t *transport) lacks(tok entra.Token) bool {
	jwt, err := tok.JWT()
	return err == nil && t.call.Endpoint != nil && defender.Missing(t.call.Endpoint, &jwt.Claims) != nil
}

// explain finds out why the upstream refused the call, for the answer's header
// and the log. The answer itself stays as it is.
func (t *transport) explain(ctx context.Context, res *http.Response, tok entra.Token) {
	if t.limited(ctx, res) || res.StatusCode != http.StatusUnauthorized && res.StatusCode != http.StatusForbidden {
		return
	}
	var body []byte
	body, res.Body = peek(res.Body)
	r := refusal{cfg: &t.cfg, call: t.call, status: res.StatusCode, challenged: claimsChallenge(res.Header) != "", body: body}
	if jwt, err := tok.JWT(); err == nil {
		r.claims = &jwt.Claims
	}
	why, grantable := r.why()
	t.hint = why[:min(len(why), maxHint)]
	t.logHint(ctx, res.StatusCode, grantable)
}

// logHint says the same in the log, with what an administrator needs.
func (t *transport) logHint(ctx context.Context, status int, grantable bool) {
	if !t.said.first(said{t.call.Route.Name, t.call.Identity.Name, t.call.Tenant, t.hint}, time.Now()) {
		return
	}
	attrs := []slog.Attr{
		slog.String("route", t.call.Route.Name), slog.String("identity", t.call.Identity.Name), slog.String("tenant", string(t.call.Tenant)),
		slog.Int("status", status), slog.String("hint", t.hint), slog.String("request_id", entra.TrailOf(ctx).RequestID),
	}
	if t.call.Endpoint != nil {
		attrs = append(attrs, slog.String("endpoint", t.call.Endpoint.String()))
	}
	if consent := t.cfg.Hints.Consent; grantable && consent != nil {
		attrs = append(attrs, slog.String("consent", consent(t.call)))
	}
	t.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "upstream refused the call", attrs...)
}

// refusal is an answer with status 401 or 403, and what is known of its call.
type refusal struct {
	cfg        *Config
	call       *route.Call
	status     int
	challenged bool
	claims     *entra.Claims // nil: nobody but the API can read the token
	body       []byte        // its start
}

// why says what is wrong, in ASCII: our own words, names of the catalogue, and
// of the token what is spelt as a name. Grantable: an administrator's consent
// can mend it.
func (r *refusal) why() (hint string, grantable bool) {
	endpoint := r.call.Endpoint
	switch {
	case r.featureOff():
		return "the feature is off in this tenant, or not licensed: no permission opens it", false
	case r.claims == nil:
		return "the token is opaque: what it is for and what it has, its API alone can say", false
	case r.wrongAudience() != "":
		return r.wrongAudience(), false
	case r.challenged:
		return "the API asks for a sign-in or a policy that the token does not meet: see claims in WWW-Authenticate", false
	case r.status == http.StatusForbidden && endpoint == nil:
		return "the catalogue does not know what this call needs; token has " + r.held(), true
	case r.status == http.StatusForbidden && defender.Missing(endpoint, r.claims) != nil:
		return r.missing(), true
	case r.status == http.StatusUnauthorized:
		return "the token is for this API, and a new one was refused as well: see WWW-Authenticate, and whether the tenant " + name(string(r.call.Tenant)) + " has the product", false
	case r.claims.Delegated():
		return "token has " + r.held() + ", which is enough; the user may lack the role in the Defender portal, or access to the device group", false
	default:
		return "token has " + r.held() + ", which is enough; the answer's message says what else is wrong", false
	}
}

// featureOff: "Common REST API error codes",
// learn.microsoft.com/defender-endpoint/api/common-errors, has the code; what
// is not even documented says so in words.
func (r *refusal) featureOff() bool {
	return bytes.Contains(r.body, []byte(`"DisabledFeature"`)) || bytes.Contains(r.body, []byte("Tenant feature is not enabled"))
}

// wrongAudience says whom the token is for and whom it should be for; empty:
// nothing is known to be wrong.
func (r *refusal) wrongAudience() string {
	endpoint, catalogue := r.call.Endpoint, r.cfg.Catalogue
	if endpoint == nil || catalogue == nil || catalogue.Opens(r.claims.Audience, endpoint.API) {
		return ""
	}
	remedy := ""
	if r.call.Route.Scope != "" {
		remedy = "; remove routes." + name(r.call.Route.Name) + ".scope, and the path decides"
	}
	return fmt.Sprintf("wrong audience: the token is for %s, %s takes those for %s%s", list(r.claims.Audience, ", "), endpoint, r.resource(), remedy)
}

// missing says what the call needs and what the token has.
func (r *refusal) missing() string {
	endpoint := r.call.Endpoint
	needs := "needs " + list(defender.Missing(endpoint, r.claims), " or ") + " of " + r.resource()
	if r.claims.Delegated() && len(endpoint.Delegated) == 0 {
		needs += ", which no user's token can have: use an application's"
	}
	if len(r.claims.Permissions()) == 0 {
		return needs + "; token has none: they were not added to the app, or nobody has consented"
	}
	return needs + "; token has " + r.held()
}

func (r *refusal) held() string {
	if len(r.claims.Permissions()) == 0 {
		return "no permissions"
	}
	return list(r.claims.Permissions(), ", ")
}

func (r *refusal) resource() string {
	if r.cfg.Hints.Resource == nil {
		return string(r.call.Endpoint.API)
	}
	return r.cfg.Hints.Resource(r.call.Endpoint.API)
}

// list joins the first of the names.
func list(names []string, glue string) string {
	var all []string
	for _, n := range names[:min(len(names), maxSaid)] {
		all = append(all, name(n))
	}
	text := strings.Join(all, glue)
	if more := len(names) - maxSaid; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// name returns a name as it is, or a question mark: nobody has checked the
// signature of the token that it may come from.
func name(s string) string {
	odd := func(c rune) bool { return !isAlphanumeric(c) && !strings.ContainsRune("-._~:/", c) }
	if s == "" || len(s) > maxName || strings.ContainsFunc(s, odd) {
		return "?"
	}
	return s
}

// said is a hint, and to whom it was given.
type said struct {
	route, identity string
	tenant          entra.Tenant
	hint            string
}

// sayings keeps the log from being told the same with every call. The zero value
// is ready.
type sayings struct {
	mu   sync.Mutex // guards last
	last map[said]time.Time
}

const (
	saidAgain  = time.Minute // after which a hint is logged again
	maxSayings = 1024        // that are remembered; beyond, they are logged too often
)

// first reports whether the hint was not given in the last minute.
func (s *sayings) first(what said, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last, ok := s.last[what]; ok && now.Sub(last) < saidAgain {
		return false
	}
	if s.last == nil || len(s.last) >= maxSayings {
		s.last = map[said]time.Time{}
	}
	s.last[what] = now
	return true
}
