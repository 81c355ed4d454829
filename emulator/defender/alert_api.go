package defenderemu

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

func listAlerts(c *call) (answer, error) {
	return listAlertsWhere(c, func(*alert) bool { return true })
}

// listAlertsWhere lists the alerts that a condition chooses.
func listAlertsWhere(c *call, chosen func(*alert) bool) (answer, error) {
	return list(c, listing{of: "Alerts", expand: "evidence"}, where(c.data.alerts, chosen), func(a *alert, expanded bool) {
		if !expanded {
			a.Evidence = []evidence{}
		}
	})
}

// alert finds the alert that the path names.
func (c *call) alert() (*alert, error) {
	if a := c.data.alert(c.param("id")); a != nil {
		return a, nil
	}
	return nil, notFound("Alert %s was not found", c.param("id"))
}

func getAlert(c *call) (answer, error) {
	a, err := c.alert()
	if err != nil {
		return answer{}, err
	}
	return c.one("Alerts", *a)
}

// alertChange is what may be changed of an alert.
type alertChange struct {
	Status         *string `json:"status"`
	AssignedTo     *string `json:"assignedTo"`
	Classification *string `json:"classification"`
	Determination  *string `json:"determination"`
	Comment        *string `json:"comment"`
}

// check holds a change to the values that the API knows.
func (in *alertChange) check() error {
	if *in == (alertChange{}) {
		return missing("status, assignedTo, classification, determination or comment")
	}
	if in.Status != nil {
		if err := oneOf("status", in.Status, "New", "InProgress", "Resolved"); err != nil {
			return err
		}
	}
	if in.Classification != nil {
		return oneOf("classification", in.Classification, "TruePositive", "InformationalExpectedActivity", "FalsePositive")
	}
	return nil
}

// apply makes the change. Slices that stood there are left as they are.
func (in *alertChange) apply(c *call, a *alert) {
	if in.Status != nil {
		a.Status, a.ResolvedTime = *in.Status, stamp{}
		if *in.Status == "Resolved" {
			a.ResolvedTime = c.now
		}
	}
	set(&a.AssignedTo, in.AssignedTo)
	set(&a.Classification, in.Classification)
	set(&a.Determination, in.Determination)
	if in.Comment != nil {
		a.Comments = append(slices.Clip(a.Comments), alertComment{*in.Comment, c.requestor(), c.now})
	}
	a.LastUpdateTime = c.now
}

func set(field *optional, value *string) {
	if value != nil {
		*field = optional(*value)
	}
}

// updateAlert: MDE, "Update alert".
func updateAlert(c *call) (answer, error) {
	a, err := c.alert()
	if err != nil {
		return answer{}, err
	}
	var in alertChange
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	if err := in.check(); err != nil {
		return answer{}, err
	}
	in.apply(c, a)
	return c.one("Alerts", *a)
}

// updateAlerts: MDE, "Batch update alerts". An unknown alert is passed over.
func updateAlerts(c *call) (answer, error) {
	var in alertChange
	var of struct {
		AlertIDs []string `json:"alertIds"`
	}
	if err := c.decode(&of); err != nil {
		return answer{}, err
	}
	if err := batch("alertIds", len(of.AlertIDs)); err != nil {
		return answer{}, err
	}
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	if err := in.check(); err != nil {
		return answer{}, err
	}
	for _, id := range of.AlertIDs {
		if a := c.data.alert(id); a != nil {
			in.apply(c, a)
		}
	}
	return answer{}, nil
}

// createAlert: MDE, "Create alert API". It is tied to an event that hunting found.
func createAlert(c *call) (answer, error) {
	var in struct {
		MachineID string `json:"machineId"`
		Severity  string `json:"severity"`
		Title     string `json:"title"`
		About     string `json:"description"`
		Advice    string `json:"recommendedAction"`
		EventTime stamp  `json:"eventTime"`
		ReportID  string `json:"reportId"`
		Category  string `json:"category"`
	}
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	for _, required := range []struct{ name, value string }{
		{"machineId", in.MachineID},
		{"severity", in.Severity},
		{"title", in.Title},
		{"description", in.About},
		{"recommendedAction", in.Advice},
		{"reportId", in.ReportID},
		{"category", in.Category},
	} {
		if required.value == "" {
			return answer{}, missing(required.name)
		}
	}
	if in.EventTime.IsZero() {
		return answer{}, missing("eventTime")
	}
	if err := oneOf("severity", &in.Severity, "Low", "Medium", "High"); err != nil {
		return answer{}, err
	}
	m := c.data.machine(in.MachineID)
	if m == nil {
		return answer{}, notFound("Machine %s was not found", in.MachineID)
	}
	a := alert{
		ID: fmt.Sprintf("da%018d_%d", c.now.UnixMilli(), c.data.next()), Severity: in.Severity, Status: "New",
		InvestigationState: "UnsupportedAlertType", DetectionSource: "CustomerTI", Category: in.Category, Title: in.Title, Description: in.About,
		AlertCreationTime: c.now, FirstEventTime: in.EventTime, LastEventTime: in.EventTime, LastUpdateTime: c.now,
		MachineID: m.ID, ComputerDNSName: m.ComputerDNSName, RBACGroupName: m.RBACGroupName, AADTenantID: c.data.tenant,
		MITRETechniques: []string{}, Comments: []alertComment{}, Evidence: []evidence{}, recommended: in.Advice,
	}
	a.IncidentID = c.data.open(&a).IncidentID
	c.data.alerts = append(c.data.alerts, a)
	return c.one("Alerts", a)
}

func getAlertMachine(c *call) (answer, error) {
	a, err := c.alert()
	if err != nil {
		return answer{}, err
	}
	return c.one("Machines", *c.data.machine(a.MachineID))
}

func getAlertUser(c *call) (answer, error) {
	a, err := c.alert()
	if err != nil {
		return answer{}, err
	}
	if a.RelatedUser == nil {
		return answer{}, notFound("Alert %s has no user", a.ID)
	}
	u := c.data.user(a.RelatedUser.UserName)
	return c.one("Users", u.view(where(c.data.logons, func(l *logon) bool { return l.user == u })))
}

// listAlertEvidence lists what an alert's evidence of one type is about.
func listAlertEvidence[T any](of string, about func(c *call, e *evidence) (T, bool)) handler {
	return func(c *call) (answer, error) {
		a, err := c.alert()
		if err != nil {
			return answer{}, err
		}
		found := []T{}
		for i := range a.Evidence {
			if t, ok := about(c, &a.Evidence[i]); ok {
				found = append(found, t)
			}
		}
		return list(c, listing{of: of}, found)
	}
}

type domainView struct {
	Host string `json:"host"`
}

type ipView struct {
	ID string `json:"id"`
}

func domainOf(_ *call, e *evidence) (domainView, bool) {
	host := e.host()
	return domainView{host}, host != ""
}

func ipOf(_ *call, e *evidence) (ipView, bool) {
	return ipView{string(e.IPAddress)}, e.IPAddress != ""
}

// host is the host of a piece of evidence that is a URL, empty for any other.
func (e *evidence) host() string {
	u, err := url.Parse(string(e.URL))
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Hostname())
}
