package entraemu

import (
	"crypto/rand"
	"net/http"
	"strings"
	"time"

	"tokenbroker/entra"
)

const (
	deviceLifetime = 15 * time.Minute
	deviceInterval = 5 * time.Second
)

// deviceCode is a device that waits for its user (RFC 8628).
type deviceCode struct {
	userCode string
	client   string
	asked    *Tenant // nil: the user's
	wish     wish
	expires  time.Time
	interval time.Duration
	polled   time.Time

	signedIn bool
	declined bool
	redeemed bool
	session  session
	tenant   entra.Tenant // where the user signed in
}

// deviceCode gives a device a code to show, and one to poll with.
func (s *Server) deviceCode(w http.ResponseWriter, r *http.Request) {
	formErr := r.ParseForm()
	f, changed := s.takeFault(DeviceCodeEndpoint)
	if s.fail(w, r, f, changed) {
		return
	}
	if formErr != nil {
		s.refuse(w, r, malformed("the body is no form, or too large"))
		return
	}
	device, no := s.parseDevice(r)
	if no != nil {
		s.refuse(w, r, no)
		return
	}
	code := "1." + rand.Text() + rand.Text()
	s.mu.Lock()
	s.devices[code] = *device
	s.mu.Unlock()
	page := "https://" + r.Host + "/common/oauth2/deviceauth"
	writeJSON(w, http.StatusOK, map[string]any{
		"user_code": device.userCode, "device_code": code, "verification_uri": page,
		"expires_in": int(deviceLifetime / time.Second), "interval": int(deviceInterval / time.Second),
		"message": "To sign in, use a web browser to open the page " + page + " and enter the code " + device.userCode + " to authenticate.",
	})
}

// parseDevice reads the request of a device. Whether the app is a public client
// is looked at when it redeems the code, as with Entra.
func (s *Server) parseDevice(r *http.Request) (*deviceCode, *refusal) {
	form := r.PostForm
	app, tenant, no := s.registration(r.PathValue("tenant"), form.Get("client_id"))
	if no != nil {
		return nil, no
	}
	w, no := wishOf(v2, form, wish{})
	if no != nil {
		return nil, no
	}
	return &deviceCode{
		userCode: rand.Text()[:9], client: app.ClientID, asked: tenant, wish: w,
		expires: time.Now().Add(deviceLifetime), interval: deviceInterval,
	}, nil
}

// byDeviceCode is the grant of RFC 8628 §3.4.
func (s *Server) byDeviceCode(req *tokenRequest, app *App) (*userGrant, *refusal) {
	code := req.form.Get("device_code")
	if code == "" {
		return nil, missing("device_code")
	}
	device, no := s.poll(code, app.ClientID)
	if no != nil {
		return nil, no
	}
	proof, no := s.prove(app, req, app.Public)
	if no != nil {
		return nil, no
	}
	device.session.proof = proof
	g, no := s.toUser(req, s.open(device.session), s.tenantOf(device.tenant), device.wish)
	if no != nil {
		return nil, no
	}
	if !s.spendDevice(code) {
		return nil, redeemed()
	}
	return g, nil
}

// poll returns the device when its user has signed in.
func (s *Server) poll(code, client string) (*deviceCode, *refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	device, known := s.devices[code]
	now := time.Now()
	switch {
	case !known || device.client != client:
		return nil, badDeviceCode()
	case device.declined:
		return nil, deviceDeclined()
	case !now.Before(device.expires):
		return nil, expiredDevice()
	case device.signedIn:
		return &device, nil
	}
	no := pending()
	if now.Before(device.polled.Add(device.interval)) {
		device.interval += deviceInterval // RFC 8628 §3.5
		no = tooSoon()
	}
	device.polled = now
	s.devices[code] = device
	return nil, no
}

// spendDevice marks a device code, and reports whether nobody was faster.
func (s *Server) spendDevice(code string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	device := s.devices[code]
	first := !device.redeemed
	device.redeemed = true
	s.devices[code] = device
	return first
}

// waiting finds the device that shows a user code.
func (s *Server) waiting(userCode string) (code string, device deviceCode, no *refusal) {
	wanted := strings.ToUpper(strings.TrimSpace(userCode))
	s.mu.Lock()
	defer s.mu.Unlock()
	for code, device := range s.devices {
		if device.userCode == wanted {
			return code, device, device.open()
		}
	}
	return "", deviceCode{}, badDeviceCode()
}

// open reports why a user can do nothing more about a device.
func (d *deviceCode) open() *refusal {
	switch {
	case d.signedIn || d.declined:
		return badDeviceCode()
	case !time.Now().Before(d.expires):
		return expiredUserCode()
	}
	return nil
}

// settle does what a user decided about a device that waits.
func (s *Server) settle(code string, decide func(*deviceCode)) *refusal {
	s.mu.Lock()
	defer s.mu.Unlock()
	device := s.devices[code]
	if no := device.open(); no != nil {
		return no
	}
	decide(&device)
	s.devices[code] = device
	return nil
}

// signedInto is the decision to sign in.
func signedInto(from session, tenant *Tenant) func(*deviceCode) {
	return func(device *deviceCode) { device.signedIn, device.session, device.tenant = true, from, tenant.ID }
}

// deviceAuth asks a user for the code that their device shows, and then signs
// them in.
func (s *Server) deviceAuth(w http.ResponseWriter, r *http.Request) {
	page := struct {
		Code  string
		Error error
	}{Code: r.Form.Get("code")}
	if r.Method != http.MethodPost {
		s.page(w, deviceTemplate, page)
		return
	}
	code, device, no := s.waiting(page.Code)
	if no != nil {
		s.count(func(stats *Stats) { stats.Refused[no.number]++ })
		page.Error = no
		s.page(w, deviceTemplate, page)
		return
	}
	s.advance(w, r, &signIn{device: code, client: device.client, tenant: device.asked, wish: device.wish, prompt: "select_account", agreed: true})
}

// Approve does at once what a user does on the pages: it types in the device's
// code, signs in with everything that is asked for, and consents. A refusal has
// Entra's number.
func (s *Server) Approve(userCode, upn string) error {
	code, device, no := s.waiting(userCode)
	if no != nil {
		return no.failure()
	}
	who := login{upn: upn, mfa: true, at: time.Now()}
	user, no := s.standing(who, "")
	if no != nil {
		return no.failure()
	}
	tenant := device.asked
	if tenant == nil {
		tenant = s.tenantOf(user.Home)
	}
	d, no := s.delegate(device.client, user, tenant, device.wish)
	if no == nil && len(d.lacking) > 0 && tenant.AdminsConsent && !user.governs(tenant) {
		no = adminsOnly(device.client)
	}
	if no != nil {
		return no.failure()
	}
	if len(d.lacking) > 0 {
		s.consentTo(d, false)
	}
	from := s.open(session{login: who, client: device.client})
	if no := s.settle(code, signedInto(from, tenant)); no != nil {
		return no.failure()
	}
	s.count(func(stats *Stats) { stats.SignIns++ })
	return nil
}

// Decline does what a user does who does not know the device.
func (s *Server) Decline(userCode string) error {
	code, _, no := s.waiting(userCode)
	if no == nil {
		no = s.settle(code, func(device *deviceCode) { device.declined = true })
	}
	if no != nil {
		return no.failure()
	}
	return nil
}
