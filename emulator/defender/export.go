package defenderemu

import (
	"path"
	"strings"
	"time"
)

// assessment is a row of an inventory or assessment, one for a product or a
// weakness on a machine (MDE: "Export assessment methods and properties per
// device"). Fields that a kind of row does not have stay out of it.
type assessment struct {
	ID              string   `json:"id,omitempty"`
	DeviceID        string   `json:"deviceId"`
	DeviceName      string   `json:"deviceName"`
	OSPlatform      string   `json:"osPlatform"`
	RBACGroupName   string   `json:"rbacGroupName"`
	SoftwareVendor  string   `json:"softwareVendor"`
	SoftwareName    string   `json:"softwareName"`
	SoftwareVersion string   `json:"softwareVersion"`
	Weaknesses      *int     `json:"numberOfWeaknesses,omitempty"`
	CVE             string   `json:"cveId,omitempty"`
	Severity        string   `json:"vulnerabilitySeverityLevel,omitempty"`
	CVSS            float64  `json:"cvssScore,omitempty"`
	Exploitability  string   `json:"exploitabilityLevel,omitempty"`
	Recommendation  string   `json:"recommendationReference,omitempty"`
	Status          string   `json:"status,omitempty"`
	EventTimestamp  *stamp   `json:"eventTimestamp,omitempty"`
	FirstSeen       stamp    `json:"firstSeenTimestamp"`
	LastSeen        stamp    `json:"lastSeenTimestamp"`
	DiskPaths       []string `json:"diskPaths"`
}

func newAssessment(in *install) assessment {
	return assessment{
		DeviceID: in.machine.ID, DeviceName: in.machine.ComputerDNSName, OSPlatform: in.machine.OSPlatform, RBACGroupName: in.machine.RBACGroupName,
		SoftwareVendor: in.product.vendor, SoftwareName: in.product.name, SoftwareVersion: in.version,
		FirstSeen: in.since, LastSeen: in.machine.LastSeen, DiskPaths: []string{},
	}
}

// inventory has a row for every installed product.
func inventory(t *data) []assessment {
	return each(t.installs, func(in *install) assessment {
		row, weaknesses := newAssessment(in), 0
		if in.vulnerable() {
			weaknesses = len(in.product.weaknesses)
		}
		row.Weaknesses = &weaknesses
		return row
	})
}

// weaknesses has a row for every weakness of every installed product.
func weaknesses(t *data) []assessment {
	rows := []assessment{}
	for i := range t.installs {
		in := &t.installs[i]
		if !in.vulnerable() {
			continue
		}
		for _, v := range in.product.weaknesses {
			row := newAssessment(in)
			row.ID = row.DeviceID + "_" + in.product.id() + "_" + in.version + "_" + v.ID
			row.CVE, row.Severity, row.CVSS, row.Exploitability = v.ID, v.Severity, v.CVSS, "NoExploit"
			row.Recommendation = recommendationPrefix + in.product.id()
			if v.PublicExploit {
				row.Exploitability = "ExploitIsPublic"
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// none is an inventory that nothing is in.
func none(*data) []assessment { return []assessment{} }

// The documented sizes of a page of an export.
const (
	exportPage = 50_000
	exportMost = 200_000
)

// export lists an assessment as JSON.
func export(rows func(*data) []assessment) handler {
	return func(c *call) (answer, error) {
		return list(c, exporting, rows(c.data))
	}
}

var exporting = listing{of: "Collection(microsoft.windowsDefenderATP.api.AssetAssessment)", page: exportPage, pageSize: exportMost}

// exportChanges lists the weaknesses that came since a time, which may lie two
// weeks back (MDE: "Export software vulnerabilities assessment per device",
// delta export).
func exportChanges(c *call) (answer, error) {
	q, err := parseQuery(c.URL.RawQuery)
	if err != nil {
		return answer{}, err
	}
	if !q.values.Has("sincetime") {
		return answer{}, missing("sinceTime")
	}
	since, ok := parseTime(q.values.Get("sincetime"))
	if !ok || since.After(c.now.Time) || since.Before(c.now.Add(-14*24*time.Hour)) {
		return answer{}, badRequest("InvalidInput", "sinceTime is %q: want a time of the past 14 days.", q.values.Get("sincetime"))
	}
	rows := where(weaknesses(c.data), func(row *assessment) bool { return row.LastSeen.After(since) })
	for i := range rows {
		rows[i].Status, rows[i].EventTimestamp = "New", &rows[i].LastSeen
	}
	return list(c, exporting, rows)
}

// exportFiles answers with the links of the files that hold an assessment.
func exportFiles(name string) handler {
	return func(c *call) (answer, error) {
		q, err := parseQuery(c.URL.RawQuery)
		if err != nil {
			return answer{}, err
		}
		hours, err := q.number("sasvalidhours", 1)
		if err != nil || hours < 1 || hours > 24 {
			return answer{}, badRequest("BadRequest", "sasValidHours is %q: want 1 to 24.", q.values.Get("sasvalidhours"))
		}
		links := each(exportParts, func(part *string) string {
			return c.fileLink(path.Join("exports", c.data.tenant, name, *part), c.now.after(time.Duration(hours)*time.Hour))
		})
		return answer{body: struct {
			Context   string   `json:"@odata.context"`
			Files     []string `json:"exportFiles"`
			Generated stamp    `json:"generatedTime"`
		}{c.context("microsoft.windowsDefenderATP.api.ExportFilesResponse"), links, c.now.after(-time.Hour)}}, nil
	}
}

// exportParts are the files of an export.
var exportParts = []string{"part-00000.json.gz", "part-00001.json.gz"}

// exports are the assessments that files hold, by the name in the link. The
// files of any other are empty.
var exports = map[string]func(*data) []assessment{
	"softwareinventory": inventory, "softwarevulnerabilities": weaknesses,
}

// antivirus is a machine's antivirus, as the API writes it (MDE: "Export device
// antivirus health details API").
type antivirus struct {
	ID               string `json:"id"`
	MachineID        string `json:"machineId"`
	ComputerDNSName  string `json:"computerDnsName"`
	OSKind           string `json:"osKind"`
	OSPlatform       string `json:"osPlatform"`
	OSVersion        string `json:"osVersion"`
	Mode             string `json:"avMode"`
	SignatureVersion string `json:"avSignatureVersion"`
	EngineVersion    string `json:"avEngineVersion"`
	PlatformVersion  string `json:"avPlatformVersion"`
	LastSeenTime     stamp  `json:"lastSeenTime"`
	QuickScanResult  string `json:"quickScanResult"`
	QuickScanTime    stamp  `json:"quickScanTime"`
	RBACGroupName    string `json:"rbacGroupName"`
}

func listAntivirus(c *call) (answer, error) {
	rows := each(c.data.machines, func(m *machine) antivirus {
		return antivirus{
			ID: m.ID, MachineID: m.ID, ComputerDNSName: m.ComputerDNSName, OSKind: strings.ToLower(strings.TrimRight(m.OSPlatform, "0123456789")),
			OSPlatform: m.OSPlatform, OSVersion: m.Version, Mode: "Active", SignatureVersion: "1.421.1012.0", EngineVersion: "1.1.24090.11",
			PlatformVersion: "4.18.24090.11", LastSeenTime: m.LastSeen, QuickScanResult: "Completed", QuickScanTime: m.LastSeen.after(-time.Hour), RBACGroupName: m.RBACGroupName,
		}
	})
	return list(c, listing{of: "DeviceAvInfo", page: exportPage, pageSize: exportMost}, rows)
}
