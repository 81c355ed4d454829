package defenderemu

import (
	"strconv"
	"strings"
)

// graphIncident is an incident as Graph writes it ("incident resource type").
type graphIncident struct {
	ID               string         `json:"id"`
	TenantID         string         `json:"tenantId"`
	Status           string         `json:"status"`
	IncidentWebURL   string         `json:"incidentWebUrl"`
	RedirectID       optional       `json:"redirectIncidentId"`
	DisplayName      string         `json:"displayName"`
	Created          stamp          `json:"createdDateTime"`
	LastUpdate       stamp          `json:"lastUpdateDateTime"`
	AssignedTo       optional       `json:"assignedTo"`
	Classification   string         `json:"classification"`
	Determination    string         `json:"determination"`
	Severity         string         `json:"severity"`
	CustomTags       []string       `json:"customTags"`
	SystemTags       []string       `json:"systemTags"`
	Comments         []graphComment `json:"comments"`
	LastModifiedBy   optional       `json:"lastModifiedBy"`
	ResolvingComment optional       `json:"resolvingComment"`
	Alerts           []graphAlert   `json:"alerts,omitempty"` // sent only with $expand=alerts
}

type graphComment struct {
	Type    string `json:"@odata.type"`
	Comment string `json:"comment"`
	By      string `json:"createdByDisplayName"`
	Created stamp  `json:"createdDateTime"`
}

// graphAlert is an alert as Graph writes it ("alert resource type").
type graphAlert struct {
	ID                 string           `json:"id"`
	ProviderAlertID    string           `json:"providerAlertId"`
	IncidentID         string           `json:"incidentId"`
	Status             string           `json:"status"`
	Severity           string           `json:"severity"`
	Classification     optional         `json:"classification"`
	Determination      optional         `json:"determination"`
	ServiceSource      string           `json:"serviceSource"`
	DetectionSource    string           `json:"detectionSource"`
	ProductName        string           `json:"productName"`
	TenantID           string           `json:"tenantId"`
	Title              string           `json:"title"`
	Description        string           `json:"description"`
	RecommendedActions string           `json:"recommendedActions"`
	Category           string           `json:"category"`
	AssignedTo         optional         `json:"assignedTo"`
	AlertWebURL        string           `json:"alertWebUrl"`
	IncidentWebURL     string           `json:"incidentWebUrl"`
	ThreatFamilyName   optional         `json:"threatFamilyName"`
	MITRETechniques    []string         `json:"mitreTechniques"`
	Created            stamp            `json:"createdDateTime"`
	LastUpdate         stamp            `json:"lastUpdateDateTime"`
	Resolved           stamp            `json:"resolvedDateTime"`
	FirstActivity      stamp            `json:"firstActivityDateTime"`
	LastActivity       stamp            `json:"lastActivityDateTime"`
	Comments           []graphComment   `json:"comments"`
	Evidence           []map[string]any `json:"evidence"`
}

// lower is how Graph spells the values that the other APIs capitalise.
func lower(s string) string {
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}

func graphComments[T any](comments []T, read func(*T) graphComment) []graphComment {
	return each(comments, func(c *T) graphComment {
		g := read(c)
		g.Type = "#microsoft.graph.security.alertComment"
		return g
	})
}

func (in *incident) graph(tenant string) graphIncident {
	id := strconv.Itoa(in.IncidentID)
	return graphIncident{
		ID: id, TenantID: tenant, Status: lower(in.Status), IncidentWebURL: incidentURL(id, tenant), DisplayName: in.IncidentName,
		Created: in.CreatedTime, LastUpdate: in.LastUpdateTime, AssignedTo: in.AssignedTo, Classification: lower(string(in.Classification)),
		Determination: lower(string(in.Determination)), Severity: lower(in.Severity), CustomTags: in.Tags, SystemTags: []string{},
		Comments: graphComments(in.Comments, func(c *xdrComment) graphComment {
			return graphComment{Comment: c.Comment, By: c.CreatedBy, Created: c.CreatedTime}
		}),
	}
}

func incidentURL(id, tenant string) string {
	return "https://security.microsoft.com/incidents/" + id + "?tid=" + tenant
}

func (a *alert) graph() graphAlert {
	id := strconv.Itoa(a.IncidentID)
	return graphAlert{
		ID: a.ID, ProviderAlertID: a.ID, IncidentID: id, Status: lower(a.Status), Severity: lower(a.Severity),
		Classification: optional(lower(string(a.Classification))), Determination: optional(lower(string(a.Determination))),
		ServiceSource: lower(serviceOf(a)), DetectionSource: lower(a.DetectionSource), ProductName: "Microsoft Defender XDR", TenantID: a.AADTenantID,
		Title: a.Title, Description: a.Description, RecommendedActions: a.recommended, Category: a.Category, AssignedTo: a.AssignedTo,
		AlertWebURL: "https://security.microsoft.com/alerts/" + a.ID + "?tid=" + a.AADTenantID, IncidentWebURL: incidentURL(id, a.AADTenantID),
		ThreatFamilyName: a.ThreatFamilyName, MITRETechniques: a.MITRETechniques, Created: a.AlertCreationTime, LastUpdate: a.LastUpdateTime,
		Resolved: a.ResolvedTime, FirstActivity: a.FirstEventTime, LastActivity: a.LastEventTime,
		Comments: graphComments(a.Comments, func(c *alertComment) graphComment {
			return graphComment{Comment: c.Comment, By: c.CreatedBy, Created: c.CreatedTime}
		}),
		Evidence: each(a.Evidence, (*evidence).graph),
	}
}

// graph writes a piece of evidence: of a type of its own each.
func (e *evidence) graph() map[string]any {
	g := map[string]any{"createdDateTime": e.CreationTime, "verdict": "suspicious", "remediationStatus": "none"}
	file := map[string]any{"sha1": e.SHA1, "sha256": e.SHA256, "fileName": e.FileName, "filePath": e.FilePath}
	switch e.EntityType {
	case "File":
		g["@odata.type"], g["fileDetails"] = "#microsoft.graph.security.fileEvidence", file
	case "Process":
		g["@odata.type"], g["imageFile"] = "#microsoft.graph.security.processEvidence", file
		g["processId"], g["processCommandLine"] = e.ProcessID, e.CommandLine
	case "Ip":
		g["@odata.type"], g["ipAddress"] = "#microsoft.graph.security.ipEvidence", e.IPAddress
	case "Url":
		g["@odata.type"], g["url"] = "#microsoft.graph.security.urlEvidence", e.URL
	default:
		g["@odata.type"] = "#microsoft.graph.security.userEvidence"
		g["userAccount"] = map[string]any{
			"accountName": e.AccountName, "domainName": e.DomainName, "userSid": e.UserSID, "azureAdUserId": e.AADUserID, "userPrincipalName": e.UserPrincipal,
		}
	}
	return g
}
