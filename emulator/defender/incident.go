package defenderemu

import (
	"fmt"
	"time"
)

// incident groups alerts of one attack, as the XDR API writes it ("List
// incidents API in Microsoft Defender XDR").
type incident struct {
	IncidentID         int          `json:"incidentId"`
	RedirectIncidentID *int         `json:"redirectIncidentId"`
	IncidentName       string       `json:"incidentName"`
	CreatedTime        stamp        `json:"createdTime"`
	LastUpdateTime     stamp        `json:"lastUpdateTime"`
	AssignedTo         optional     `json:"assignedTo"`
	Classification     optional     `json:"classification"`
	Determination      optional     `json:"determination"`
	Status             string       `json:"status"`
	Severity           string       `json:"severity"`
	Tags               []string     `json:"tags"`
	Comments           []xdrComment `json:"comments"`
	Alerts             []xdrAlert   `json:"alerts"` // filled in when it is sent
}

type xdrComment struct {
	Comment     string `json:"comment"`
	CreatedBy   string `json:"createdBy"`
	CreatedTime stamp  `json:"createdTime"`
}

// xdrAlert is an alert in the XDR API's spelling.
type xdrAlert struct {
	AlertID            string      `json:"alertId"`
	IncidentID         int         `json:"incidentId"`
	ServiceSource      string      `json:"serviceSource"`
	CreationTime       stamp       `json:"creationTime"`
	LastUpdatedTime    stamp       `json:"lastUpdatedTime"`
	ResolvedTime       stamp       `json:"resolvedTime"`
	FirstActivity      stamp       `json:"firstActivity"`
	LastActivity       stamp       `json:"lastActivity"`
	Title              string      `json:"title"`
	Description        string      `json:"description"`
	Category           string      `json:"category"`
	Status             string      `json:"status"`
	Severity           string      `json:"severity"`
	InvestigationID    *int        `json:"investigationId"`
	InvestigationState string      `json:"investigationState"`
	Classification     optional    `json:"classification"`
	Determination      optional    `json:"determination"`
	DetectionSource    string      `json:"detectionSource"`
	AssignedTo         optional    `json:"assignedTo"`
	ThreatFamilyName   optional    `json:"threatFamilyName"`
	MITRETechniques    []string    `json:"mitreTechniques"`
	Devices            []xdrDevice `json:"devices"`
	Entities           []evidence  `json:"entities"`
}

type xdrDevice struct {
	MDATPDeviceID string   `json:"mdatpDeviceId"`
	AADDeviceID   optional `json:"aadDeviceId"`
	DeviceDNSName string   `json:"deviceDnsName"`
	OSPlatform    string   `json:"osPlatform"`
	HealthStatus  string   `json:"healthStatus"`
	RiskScore     string   `json:"riskScore"`
	RBACGroupName string   `json:"rbacGroupName"`
	FirstSeen     stamp    `json:"firstSeen"`
	Tags          []string `json:"tags"`
}

// incidentCount is more than the largest page of incidents, so that a list has
// a second page without anybody asking for small ones.
const incidentCount = 160

// newIncidents makes a month of incidents, the oldest first, and their alerts.
func newIncidents(d dice, now stamp, machines []machine, users []user) ([]incident, []alert) {
	const month = 30 * 24 * time.Hour
	var alerts []alert
	incidents := make([]incident, incidentCount)
	for i := range incidents {
		age := month * time.Duration(incidentCount-i) / (incidentCount + 1)
		at := now.after(-age - d.within(time.Hour))
		group := newAttack(d, at, machines, users)
		first := &group[0]
		in := incident{
			IncidentID: 1001 + i, IncidentName: incidentName(group), CreatedTime: at.after(30 * time.Second), LastUpdateTime: first.LastUpdateTime,
			Classification: "Unknown", Determination: "NotAvailable", Status: "Active", Severity: first.Severity,
			Tags: []string{}, Comments: []xdrComment{},
		}
		for k := range group {
			group[k].IncidentID = in.IncidentID
			in.Severity = worse(in.Severity, group[k].Severity)
			in.LastUpdateTime = later(in.LastUpdateTime, group[k].LastUpdateTime)
		}
		if settled := 100 * age / month; d.percent(int(settled)) {
			settle(&in, group, earlier(in.LastUpdateTime.after(d.within(20*time.Hour)), now), d.percent(40))
		}
		incidents[i], alerts = in, append(alerts, group...)
	}
	return incidents, alerts
}

// newAttack makes one to four alerts that belong together: the same user, on
// one or two machines, within hours.
func newAttack(d dice, at stamp, machines []machine, users []user) []alert {
	u := pick(d, users)
	where := []*machine{&machines[d.IntN(len(machines))], &machines[d.IntN(len(machines))]}
	group := make([]alert, 1+d.IntN(4))
	for i := range group {
		// The smaller of two throws, so that what stands first is common.
		kind := min(d.IntN(len(detections)), d.IntN(len(detections)))
		group[i] = newAlert(d, detections[kind], where[i/2], &u, at.after(time.Duration(i)*10*time.Minute))
	}
	return group
}

func incidentName(group []alert) string {
	if len(group) == 1 {
		return group[0].Title + " on one endpoint"
	}
	return fmt.Sprintf("Multi-stage incident involving %s on one or more endpoints", group[0].Category)
}

// settle resolves an incident and its alerts.
func settle(in *incident, group []alert, end stamp, mistaken bool) {
	in.Status, in.LastUpdateTime, in.AssignedTo = "Resolved", end, "soc@example.test"
	in.Classification, in.Determination = "TruePositive", "Malware"
	if mistaken {
		in.Classification, in.Determination = "FalsePositive", "NotMalicious"
	}
	for i := range group {
		a := &group[i]
		a.Status, a.ResolvedTime, a.LastUpdateTime, a.AssignedTo = "Resolved", end, end, in.AssignedTo
		a.Classification, a.Determination = in.Classification, in.Determination
	}
}

func later(a, b stamp) stamp {
	if b.After(a.Time) {
		return b
	}
	return a
}

func earlier(a, b stamp) stamp {
	if b.Before(a.Time) {
		return b
	}
	return a
}

// services are the products behind the detection sources that are not MDE's own.
var services = map[string]string{"OfficeATP": "MicrosoftDefenderForOffice365", "MCAS": "MicrosoftCloudAppSecurity"}

// serviceOf names the product that raised an alert.
func serviceOf(a *alert) string {
	if s, ok := services[a.DetectionSource]; ok {
		return s
	}
	return "MicrosoftDefenderForEndpoint"
}

// xdr writes an alert as the XDR API does.
func (a *alert) xdr(m *machine) xdrAlert {
	return xdrAlert{
		AlertID: a.ID, IncidentID: a.IncidentID, ServiceSource: serviceOf(a), CreationTime: a.AlertCreationTime,
		LastUpdatedTime: a.LastUpdateTime, ResolvedTime: a.ResolvedTime, FirstActivity: a.FirstEventTime, LastActivity: a.LastEventTime,
		Title: a.Title, Description: a.Description, Category: a.Category, Status: a.Status, Severity: a.Severity,
		InvestigationID: a.InvestigationID, InvestigationState: a.InvestigationState, Classification: a.Classification,
		Determination: a.Determination, DetectionSource: a.DetectionSource, AssignedTo: a.AssignedTo,
		ThreatFamilyName: a.ThreatFamilyName, MITRETechniques: a.MITRETechniques, Entities: a.Evidence,
		Devices: []xdrDevice{{
			MDATPDeviceID: m.ID, AADDeviceID: m.AADDeviceID, DeviceDNSName: m.ComputerDNSName, OSPlatform: m.OSPlatform,
			HealthStatus: m.HealthStatus, RiskScore: m.RiskScore, RBACGroupName: m.RBACGroupName, FirstSeen: m.FirstSeen, Tags: m.MachineTags,
		}},
	}
}
