package defenderemu

import (
	"fmt"
	"time"
)

// alert is what a detection found, as the MDE API writes it (MDE: "Alert
// resource type"). The XDR and Graph APIs show the same alerts in their own
// spellings: xdrAlert, graphAlert.
type alert struct {
	ID                 string         `json:"id"`
	IncidentID         int            `json:"incidentId"`
	InvestigationID    *int           `json:"investigationId"`
	AssignedTo         optional       `json:"assignedTo"`
	Severity           string         `json:"severity"`
	Status             string         `json:"status"`
	Classification     optional       `json:"classification"`
	Determination      optional       `json:"determination"`
	InvestigationState string         `json:"investigationState"`
	DetectionSource    string         `json:"detectionSource"`
	Category           string         `json:"category"`
	ThreatFamilyName   optional       `json:"threatFamilyName"`
	Title              string         `json:"title"`
	Description        string         `json:"description"`
	AlertCreationTime  stamp          `json:"alertCreationTime"`
	FirstEventTime     stamp          `json:"firstEventTime"`
	LastEventTime      stamp          `json:"lastEventTime"`
	LastUpdateTime     stamp          `json:"lastUpdateTime"`
	ResolvedTime       stamp          `json:"resolvedTime"`
	MachineID          string         `json:"machineId"`
	ComputerDNSName    string         `json:"computerDnsName"`
	RBACGroupName      string         `json:"rbacGroupName"`
	AADTenantID        string         `json:"aadTenantId"`
	ThreatName         optional       `json:"threatName"`
	MITRETechniques    []string       `json:"mitreTechniques"`
	RelatedUser        *relatedUser   `json:"relatedUser"`
	Comments           []alertComment `json:"comments"`
	Evidence           []evidence     `json:"evidence"` // sent only with $expand=evidence

	recommended string
}

type relatedUser struct {
	UserName   string `json:"userName"`
	DomainName string `json:"domainName"`
}

type alertComment struct {
	Comment     string `json:"comment"`
	CreatedBy   string `json:"createdBy"`
	CreatedTime stamp  `json:"createdTime"`
}

// evidence is one thing that an alert is about.
type evidence struct {
	EntityType     string   `json:"entityType"` // File, Process, Ip, Url or User
	CreationTime   stamp    `json:"evidenceCreationTime"`
	SHA1           optional `json:"sha1"`
	SHA256         optional `json:"sha256"`
	FileName       optional `json:"fileName"`
	FilePath       optional `json:"filePath"`
	ProcessID      *int     `json:"processId"`
	CommandLine    optional `json:"processCommandLine"`
	IPAddress      optional `json:"ipAddress"`
	URL            optional `json:"url"`
	AccountName    optional `json:"accountName"`
	DomainName     optional `json:"domainName"`
	UserSID        optional `json:"userSid"`
	AADUserID      optional `json:"aadUserId"`
	UserPrincipal  optional `json:"userPrincipalName"`
	DetectionState optional `json:"detectionStatus"`
}

// newAlert makes an alert of the kind that a detection describes.
func newAlert(d dice, of detection, m *machine, u *user, at stamp) alert {
	a := alert{
		ID:                 "da" + d.digits(18) + fmt.Sprintf("_%d", d.Int32()),
		Severity:           of.severity,
		Status:             "New",
		InvestigationState: "UnsupportedAlertType",
		DetectionSource:    of.source,
		Category:           of.category,
		ThreatFamilyName:   optional(of.family),
		Title:              of.title,
		Description:        of.description,
		AlertCreationTime:  at,
		FirstEventTime:     at.after(-time.Minute - d.within(20*time.Minute)),
		LastEventTime:      at.after(-d.within(time.Minute)),
		LastUpdateTime:     at.after(d.within(time.Hour)),
		MachineID:          m.ID,
		ComputerDNSName:    m.ComputerDNSName,
		RBACGroupName:      m.RBACGroupName,
		ThreatName:         optional(of.threat),
		MITRETechniques:    of.techniques,
		RelatedUser:        &relatedUser{u.name, domain},
		Comments:           []alertComment{},
		recommended:        "Validate the alert and scope the activity.",
	}
	a.Evidence = newEvidence(d, of, u, a.FirstEventTime)
	return a
}

func newEvidence(d dice, of detection, u *user, at stamp) []evidence {
	person := evidence{
		EntityType: "User", AccountName: optional(u.name), DomainName: domain, UserSID: optional(u.sid),
		AADUserID: optional(u.guid), UserPrincipal: optional(u.upn()), CreationTime: at,
	}
	all := []evidence{person}
	if of.file != "" {
		file := evidence{
			EntityType: "File", FileName: optional(of.file), FilePath: `C:\Users\` + optional(u.name) + `\Downloads`,
			SHA1: optional(d.hex(40)), SHA256: optional(d.hex(64)), DetectionState: "Detected", CreationTime: at,
		}
		pid := 1000 + 4*d.IntN(4000)
		process := file
		process.EntityType, process.ProcessID, process.CommandLine = "Process", &pid, optional(of.command)
		all = append(all, file, process)
	}
	if of.host != "" {
		address := fmt.Sprintf("203.0.113.%d", 1+d.IntN(60))
		all = append(all,
			evidence{EntityType: "Ip", IPAddress: optional(address), CreationTime: at},
			evidence{EntityType: "Url", URL: optional("https://" + of.host + "/" + d.hex(8)), CreationTime: at})
	}
	return all
}
