package defenderemu

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// fileView is a file as the API writes it (MDE: "File resource type").
type fileView struct {
	SHA1               string   `json:"sha1"`
	SHA256             string   `json:"sha256"`
	FileName           string   `json:"fileName"`
	GlobalPrevalence   int      `json:"globalPrevalence"`
	GlobalFirst        stamp    `json:"globalFirstObserved"`
	GlobalLast         stamp    `json:"globalLastObserved"`
	Size               int      `json:"size"`
	Signer             optional `json:"signer"`
	IsValidCertificate bool     `json:"isValidCertificate"`
	DeterminationType  string   `json:"determinationType"`
}

// files lists every file that is known: of processes, one each.
func (t *data) files() []fileView {
	var files []fileView
	at := map[string]int{}
	for _, p := range t.processes {
		i, known := at[p.sha1]
		if !known {
			i = len(files)
			at[p.sha1] = i
			files = append(files, fileView{SHA1: p.sha1, SHA256: p.sha256, FileName: p.file, GlobalFirst: p.time, Size: 4096 + 16*len(p.line), DeterminationType: "Unknown"})
		}
		f := &files[i]
		f.GlobalPrevalence++
		f.GlobalFirst, f.GlobalLast = earlier(f.GlobalFirst, p.time), later(f.GlobalLast, p.time)
	}
	return files
}

// file finds the file whose SHA-1 or SHA-256 the path has.
func (c *call) file() (fileView, error) {
	id := c.param("id")
	if !isHex(id, 40) && !isHex(id, 64) {
		return fileView{}, badRequest("InvalidHashValue", "Hash value %q is invalid.", id)
	}
	files := c.data.files()
	i := slices.IndexFunc(files, func(f fileView) bool { return strings.EqualFold(f.SHA1, id) || strings.EqualFold(f.SHA256, id) })
	if i < 0 {
		return fileView{}, notFound("File %s was not found", id)
	}
	return files[i], nil
}

func getFile(c *call) (answer, error) {
	f, err := c.file()
	if err != nil {
		return answer{}, err
	}
	return c.one("Files", f)
}

// fileOf makes a file of an alert's evidence.
func fileOf(c *call, e *evidence) (fileView, bool) {
	files := c.data.files()
	i := slices.IndexFunc(files, func(f fileView) bool { return e.EntityType == "File" && f.SHA1 == string(e.SHA1) })
	if i < 0 {
		return fileView{}, false
	}
	return files[i], true
}

// about chooses evidence that is about the file, domain, address or user of a path.
type about func(e *evidence) bool

func aboutFile(c *call) (about, error) {
	f, err := c.file()
	return func(e *evidence) bool { return string(e.SHA1) == f.SHA1 }, err
}

func aboutDomain(c *call) (about, error) {
	name := c.param("domain")
	if !strings.Contains(name, ".") {
		return nil, badRequest("InvalidDomainName", "Domain name %q is invalid.", name)
	}
	return func(e *evidence) bool { return e.host() != "" && e.host() == strings.ToLower(name) }, nil
}

func aboutIP(c *call) (about, error) {
	address, err := netip.ParseAddr(c.param("ip"))
	if err != nil {
		return nil, badRequest("InvalidIpAddress", "IP address %q is invalid.", c.param("ip"))
	}
	return func(e *evidence) bool { return string(e.IPAddress) == address.String() }, nil
}

func aboutUser(c *call) (about, error) {
	u := c.data.user(c.param("id"))
	if u == nil {
		return nil, notFound("User %s was not found", c.param("id"))
	}
	return func(e *evidence) bool { return e.EntityType == "User" && string(e.AccountName) == u.name }, nil
}

// alertsAbout lists the alerts with such evidence.
func alertsAbout(kind func(*call) (about, error)) handler {
	return func(c *call) (answer, error) {
		is, err := kind(c)
		if err != nil {
			return answer{}, err
		}
		return listAlertsWhere(c, func(a *alert) bool { return a.about(is) })
	}
}

func (a *alert) about(is about) bool {
	return slices.ContainsFunc(a.Evidence, func(e evidence) bool { return is(&e) })
}

// machinesAbout lists the machines that have alerts with such evidence.
func machinesAbout(kind func(*call) (about, error)) handler {
	return func(c *call) (answer, error) {
		is, err := kind(c)
		if err != nil {
			return answer{}, err
		}
		return list(c, listing{of: "Machines"}, where(c.data.machines, func(m *machine) bool {
			return slices.ContainsFunc(c.data.alerts, func(a alert) bool { return a.MachineID == m.ID && a.about(is) })
		}))
	}
}

// listUserMachines: MDE, "Get user related machines API". A user's machines are
// those that he or she has logged on to.
func listUserMachines(c *call) (answer, error) {
	u := c.data.user(c.param("id"))
	if u == nil {
		return answer{}, notFound("User %s was not found", c.param("id"))
	}
	return list(c, listing{of: "Machines"}, where(c.data.machines, func(m *machine) bool {
		return slices.ContainsFunc(c.data.logons, func(l logon) bool { return l.user == u && l.machine.ID == m.ID })
	}))
}

// prevalence is how common a file, a domain or an address is in the tenant.
type prevalence struct {
	SHA1          string `json:"sha1,omitempty"`
	Host          string `json:"host,omitempty"`
	IPAddress     string `json:"ipAddress,omitempty"`
	OrgPrevalence string `json:"orgPrevalence"` // a number in quotes, as the documented samples have it
	OrgFirstSeen  stamp  `json:"orgFirstSeen"`
	OrgLastSeen   stamp  `json:"orgLastSeen"`
}

// statsAbout counts the evidence.
func statsAbout(kind func(*call) (about, error), name func(c *call, p *prevalence)) handler {
	return func(c *call) (answer, error) {
		is, err := kind(c)
		if err != nil {
			return answer{}, err
		}
		p, seen := prevalence{}, 0
		for i := range c.data.alerts {
			if a := &c.data.alerts[i]; a.about(is) {
				seen++
				p.OrgLastSeen = later(p.OrgLastSeen, a.LastEventTime)
				if p.OrgFirstSeen.IsZero() || a.FirstEventTime.Before(p.OrgFirstSeen.Time) {
					p.OrgFirstSeen = a.FirstEventTime
				}
			}
		}
		p.OrgPrevalence = strconv.Itoa(seen)
		name(c, &p)
		return c.one("InOrgStats", p)
	}
}
