package defenderemu

import "strconv"

// investigation is an automated investigation, as the API writes it (MDE:
// "Investigation resource type").
type investigation struct {
	ID                string   `json:"id"`
	StartTime         stamp    `json:"startTime"`
	EndTime           stamp    `json:"endTime"`
	State             string   `json:"state"`
	CancelledBy       optional `json:"cancelledBy"`
	StatusDetails     optional `json:"statusDetails"`
	MachineID         string   `json:"machineId"`
	ComputerDNSName   string   `json:"computerDnsName"`
	TriggeringAlertID optional `json:"triggeringAlertId"`
}

// investigate starts an investigation because of an alert.
func (t *data) investigate(a *alert, at stamp) *investigation {
	id := t.next()
	a.InvestigationID = &id
	t.investigations = append(t.investigations, investigation{
		ID: strconv.Itoa(id), StartTime: at, State: "Running", MachineID: a.MachineID, ComputerDNSName: a.ComputerDNSName, TriggeringAlertID: optional(a.ID),
	})
	return &t.investigations[len(t.investigations)-1]
}

func listInvestigations(c *call) (answer, error) {
	return list(c, listing{of: "Investigations"}, c.data.investigations)
}

func getInvestigation(c *call) (answer, error) {
	for i := range c.data.investigations {
		if v := c.data.investigations[i]; v.ID == c.param("id") {
			return c.one("Investigations", v)
		}
	}
	return answer{}, notFound("Investigation %s was not found", c.param("id"))
}

// startInvestigation: MDE, "Start investigation API".
func startInvestigation(c *call) (answer, error) {
	m, err := c.machine()
	if err != nil {
		return answer{}, err
	}
	var in struct {
		Comment *string `json:"Comment"`
	}
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	if in.Comment == nil {
		return answer{}, missing("Comment")
	}
	v := investigation{ID: strconv.Itoa(c.data.next()), StartTime: c.now, State: "Pending", MachineID: m.ID, ComputerDNSName: m.ComputerDNSName}
	c.data.investigations = append(c.data.investigations, v)
	return c.created("Investigations", v)
}
