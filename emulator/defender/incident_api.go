package defenderemu

import (
	"slices"
	"strconv"
)

func listIncidents(c *call) (answer, error) {
	return list(c, listing{of: "Incidents", page: 100, maxTop: 100}, c.data.incidents, func(in *incident, _ bool) {
		in.Alerts = c.data.alertsOf(in)
	})
}

// alertsOf are an incident's alerts in the XDR API's spelling.
func (t *data) alertsOf(in *incident) []xdrAlert {
	mine := where(t.alerts, func(a *alert) bool { return a.IncidentID == in.IncidentID })
	return each(mine, func(a *alert) xdrAlert { return a.xdr(t.machine(a.MachineID)) })
}

// open makes an incident of a single alert.
func (t *data) open(a *alert) *incident {
	t.incidents = append(t.incidents, incident{
		IncidentID: t.next(), IncidentName: a.Title, CreatedTime: a.AlertCreationTime, LastUpdateTime: a.AlertCreationTime,
		Classification: "Unknown", Determination: "NotAvailable", Status: "Active", Severity: a.Severity, Tags: []string{}, Comments: []xdrComment{},
	})
	return &t.incidents[len(t.incidents)-1]
}

// incident finds the incident that the path names.
func (c *call) incident() (*incident, error) {
	id, err := strconv.Atoi(c.param("id"))
	if err != nil {
		return nil, badRequest("InvalidInput", "Incident id %q is not a number.", c.param("id"))
	}
	i := slices.IndexFunc(c.data.incidents, func(in incident) bool { return in.IncidentID == id })
	if i < 0 {
		return nil, notFound("Incident %d was not found", id)
	}
	return &c.data.incidents[i], nil
}

func getIncident(c *call) (answer, error) {
	in, err := c.incident()
	if err != nil {
		return answer{}, err
	}
	return c.oneIncident(*in)
}

func (c *call) oneIncident(in incident) (answer, error) {
	in.Alerts = c.data.alertsOf(&in)
	return c.one("Incidents", in)
}

// incidentChange is what may be changed of an incident.
type incidentChange struct {
	Status         *string   `json:"status"`
	AssignedTo     *string   `json:"assignedTo"`
	Classification *string   `json:"classification"`
	Determination  *string   `json:"determination"`
	Tags           *[]string `json:"tags"`
	Comment        *string   `json:"comment"`
}

// apply makes the change. Slices that stood there are left as they are.
func (change *incidentChange) apply(c *call, in *incident) error {
	if *change == (incidentChange{}) {
		return missing("status, assignedTo, classification, determination, tags or comment")
	}
	if change.Status != nil {
		if err := oneOf("status", change.Status, "Active", "InProgress", "Resolved"); err != nil {
			return err
		}
		in.Status = *change.Status
	}
	set(&in.AssignedTo, change.AssignedTo)
	set(&in.Classification, change.Classification)
	set(&in.Determination, change.Determination)
	if change.Tags != nil {
		in.Tags = append([]string{}, *change.Tags...)
	}
	if change.Comment != nil {
		in.Comments = append(slices.Clip(in.Comments), xdrComment{*change.Comment, c.requestor(), c.now})
	}
	in.LastUpdateTime = c.now
	return nil
}

// updateIncident: XDR, "Update incidents API".
func updateIncident(c *call) (answer, error) {
	in, err := c.incident()
	if err != nil {
		return answer{}, err
	}
	var change incidentChange
	if err := c.decode(&change); err != nil {
		return answer{}, err
	}
	if err := change.apply(c, in); err != nil {
		return answer{}, err
	}
	return c.oneIncident(*in)
}
