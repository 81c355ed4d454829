package defenderemu

import (
	"fmt"
	"time"
)

// machine is a device as the API writes it (MDE: "Machine resource type").
type machine struct {
	ID               string   `json:"id"`
	ComputerDNSName  string   `json:"computerDnsName"`
	FirstSeen        stamp    `json:"firstSeen"`
	LastSeen         stamp    `json:"lastSeen"`
	OSPlatform       string   `json:"osPlatform"`
	Version          string   `json:"version"`
	OSProcessor      string   `json:"osProcessor"`
	OSBuild          int      `json:"osBuild"`
	LastIPAddress    string   `json:"lastIpAddress"`
	LastExternalIP   string   `json:"lastExternalIpAddress"`
	HealthStatus     string   `json:"healthStatus"`
	OnboardingStatus string   `json:"onboardingStatus"`
	RBACGroupID      int      `json:"rbacGroupId"`
	RBACGroupName    string   `json:"rbacGroupName"`
	RiskScore        string   `json:"riskScore"`
	ExposureLevel    string   `json:"exposureLevel"`
	DeviceValue      string   `json:"deviceValue"`
	IsAADJoined      bool     `json:"isAadJoined"`
	AADDeviceID      optional `json:"aadDeviceId"`
	MachineTags      []string `json:"machineTags"`
}

// fleet says which kinds of machine there are, and how many of each.
var fleet = []struct {
	prefix, os, version string
	build, count, group int
	installs            []string // products, see newProducts
}{
	{"ws", "Windows11", "24H2", 26100, 170, 0, []string{"edge", "office", "teams", "chrome", "acrobat_reader", "7-zip"}},
	{"ws", "Windows10", "22H2", 19045, 50, 0, []string{"edge", "office", "chrome", "jre", "7-zip"}},
	{"srv", "WindowsServer2022", "21H2", 20348, 36, 1, []string{"edge", "sql_server", "openssl"}},
	{"srv", "WindowsServer2019", "1809", 17763, 14, 1, []string{"edge", "exchange_server", "jre"}},
	{"lnx", "Linux", "24.4", 0, 20, 1, []string{"openssl", "nginx", "log4j"}},
	{"mac", "macOS", "15", 0, 10, 2, []string{"chrome", "office", "teams"}},
}

// groups are the device groups, by their id.
var groups = []string{"Workstations", "Servers", "Lab"}

// fleetSize is how many machines the fleet has.
const fleetSize = 300

// newMachines makes so many machines, in the proportions of the fleet. All but a
// few are in use until now.
func newMachines(d dice, now stamp, size int) []machine {
	machines := make([]machine, 0, size)
	for i, kind := range fleet {
		count := kind.count * size / fleetSize
		if i == len(fleet)-1 {
			count = size - len(machines)
		}
		for range count {
			m := machine{
				ID:               d.hex(40),
				ComputerDNSName:  fmt.Sprintf("%s-%04d.example.test", kind.prefix, len(machines)+1),
				FirstSeen:        now.after(-30*24*time.Hour - d.within(500*24*time.Hour)),
				LastSeen:         now.after(-d.within(6 * time.Hour)),
				OSPlatform:       kind.os,
				Version:          kind.version,
				OSProcessor:      "x64",
				OSBuild:          kind.build,
				LastIPAddress:    d.address(),
				LastExternalIP:   fmt.Sprintf("192.0.2.%d", 1+d.IntN(30)),
				HealthStatus:     "Active",
				OnboardingStatus: "Onboarded",
				RBACGroupID:      kind.group + 1,
				RBACGroupName:    groups[kind.group],
				RiskScore:        "None",
				ExposureLevel:    "Low",
				DeviceValue:      "Normal",
				MachineTags:      []string{},
			}
			if d.percent(5) {
				m.LastSeen, m.HealthStatus = now.after(-8*24*time.Hour-d.within(20*24*time.Hour)), "Inactive"
			}
			if kind.os != "Linux" {
				m.IsAADJoined, m.AADDeviceID = true, optional(d.guid())
			}
			if d.percent(20) {
				m.MachineTags = []string{pick(d, []string{"finance", "kiosk", "pilot", "vip"})}
			}
			machines = append(machines, m)
		}
	}
	return machines
}

// severities in ascending order; the API's words for an alert's severity.
var severities = []string{"Informational", "Low", "Medium", "High"}

// worse returns the graver of two severities, or of a risk score and a severity.
func worse(a, b string) string {
	for i := len(severities) - 1; i >= 0; i-- {
		if s := severities[i]; a == s || b == s {
			return s
		}
	}
	return a
}

// reference names a machine in lists of other things.
type reference struct {
	ID              string `json:"id"`
	ComputerDNSName string `json:"computerDnsName"`
	OSPlatform      string `json:"osPlatform"`
	RBACGroupID     int    `json:"rbacGroupId"`
	RBACGroupName   string `json:"rbacGroupName"`
}

func (m *machine) reference() reference {
	return reference{m.ID, m.ComputerDNSName, m.OSPlatform, m.RBACGroupID, m.RBACGroupName}
}
