package defenderemu

import "strings"

// user is a person or a service that logs on to machines.
type user struct {
	name, sid, guid string
	admin           bool
}

// domain is the Windows domain of every user.
const domain = "CONTOSO"

func (u *user) upn() string { return u.name + "@example.test" }

// userView is a user as the API writes it.
type userView struct {
	ID                string   `json:"id"`
	AccountName       string   `json:"accountName"`
	AccountDomain     string   `json:"accountDomain"`
	AccountSID        string   `json:"accountSid"`
	FirstSeen         stamp    `json:"firstSeen"`
	LastSeen          stamp    `json:"lastSeen"`
	LogonTypes        optional `json:"logonTypes"`
	LogOnMachineCount int      `json:"logOnMachinesCount"`
	IsDomainAdmin     bool     `json:"isDomainAdmin"`
	IsOnlyNetworkUser bool     `json:"isOnlyNetworkUser"`
}

// view shows a user through the logons that are given, newest last.
func (u *user) view(logons []logon) userView {
	v := userView{
		ID: strings.ToLower(domain) + `\` + u.name, AccountName: u.name, AccountDomain: domain, AccountSID: u.sid,
		IsDomainAdmin: u.admin, IsOnlyNetworkUser: len(logons) > 0,
	}
	machines, types := map[string]bool{}, map[string]bool{}
	for _, l := range logons {
		if v.FirstSeen.IsZero() || l.time.Before(v.FirstSeen.Time) {
			v.FirstSeen = l.time
		}
		if l.time.After(v.LastSeen.Time) {
			v.LastSeen = l.time
		}
		machines[l.machine.ID] = true
		if !types[l.kind] {
			types[l.kind] = true
			v.LogonTypes += optional(", " + l.kind)
		}
		v.IsOnlyNetworkUser = v.IsOnlyNetworkUser && l.kind == "Network"
	}
	v.LogonTypes = optional(strings.TrimPrefix(string(v.LogonTypes), ", "))
	v.LogOnMachineCount = len(machines)
	return v
}

var firstNames = []string{
	"amara", "bjorn", "chen", "dalia", "emeka", "fatima", "goran", "hana", "ines", "jonas",
	"kavya", "liam", "mei", "nadia", "oscar", "priya", "quentin", "rosa", "samir", "tove",
}

var lastNames = []string{"adeyemi", "berg", "castillo", "dubois", "eriksen", "fischer", "gupta", "haddad", "ivanova", "jansen"}

// newUsers makes people with distinct names, the last few administrators.
func newUsers(d dice) []user {
	const count, admins = 120, 4
	users := make([]user, count)
	for i := range users {
		name := firstNames[i%len(firstNames)] + "." + lastNames[(i/len(firstNames)+i)%len(lastNames)]
		sid := "S-1-5-21-" + d.digits(9) + "-" + d.digits(9) + "-" + d.digits(9) + "-" + d.digits(4)
		users[i] = user{name: name, sid: sid, guid: d.guid(), admin: i >= count-admins}
	}
	return users
}
