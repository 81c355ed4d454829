package defenderemu

import (
	"strconv"
	"strings"
)

// Graph's documented sizes of a page; $top is the size of a page here, not of
// the answer.
var (
	graphIncidents = listing{of: "security/incidents", page: 50, maxTop: 50, pagedTop: true, expand: "alerts"}
	graphAlerts    = listing{of: "security/alerts_v2", page: 100, maxTop: 2000, pagedTop: true}
)

func listGraphIncidents(c *call) (answer, error) {
	rows := each(c.data.incidents, func(in *incident) graphIncident { return in.graph(c.data.tenant) })
	return list(c, graphIncidents, rows, func(in *graphIncident, expanded bool) {
		if expanded {
			in.Alerts = each(where(c.data.alerts, func(a *alert) bool { return strconv.Itoa(a.IncidentID) == in.ID }), (*alert).graph)
		}
	})
}

func getGraphIncident(c *call) (answer, error) {
	in, err := c.incident()
	if err != nil {
		return answer{}, err
	}
	return c.one("security/incidents", in.graph(c.data.tenant))
}

// updateGraphIncident: Graph, "Update incident".
func updateGraphIncident(c *call) (answer, error) {
	in, err := c.incident()
	if err != nil {
		return answer{}, err
	}
	var body struct {
		Status         *string   `json:"status"`
		AssignedTo     *string   `json:"assignedTo"`
		Classification *string   `json:"classification"`
		Determination  *string   `json:"determination"`
		CustomTags     *[]string `json:"customTags"`
	}
	if err := c.decode(&body); err != nil {
		return answer{}, err
	}
	change := incidentChange{
		Status: body.Status, AssignedTo: body.AssignedTo, Classification: capital(body.Classification), Determination: capital(body.Determination), Tags: body.CustomTags,
	}
	if err := change.apply(c, in); err != nil {
		return answer{}, err
	}
	return c.one("security/incidents", in.graph(c.data.tenant))
}

// capital undoes lower.
func capital(s *string) *string {
	if s == nil || *s == "" {
		return s
	}
	spelt := strings.ToUpper((*s)[:1]) + (*s)[1:]
	return &spelt
}

func listGraphAlerts(c *call) (answer, error) {
	return list(c, graphAlerts, each(c.data.alerts, (*alert).graph))
}

func getGraphAlert(c *call) (answer, error) {
	a, err := c.alert()
	if err != nil {
		return answer{}, err
	}
	return c.one("security/alerts_v2", a.graph())
}

// updateGraphAlert: Graph, "Update alert".
func updateGraphAlert(c *call) (answer, error) {
	a, err := c.alert()
	if err != nil {
		return answer{}, err
	}
	var in alertChange
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	in.Classification, in.Determination = capital(in.Classification), capital(in.Determination)
	if err := in.check(); err != nil {
		return answer{}, err
	}
	in.apply(c, a)
	return c.one("security/alerts_v2", a.graph())
}

// commentGraphAlert: Graph, "Create comment for alert". It answers with all of
// the alert's comments.
func commentGraphAlert(c *call) (answer, error) {
	a, err := c.alert()
	if err != nil {
		return answer{}, err
	}
	comment, err := c.comment()
	if err != nil {
		return answer{}, err
	}
	(&alertChange{Comment: comment}).apply(c, a)
	return c.comments("security/alerts_v2", a.graph().Comments)
}

// commentGraphIncident: Graph, "Create comment for incident".
func commentGraphIncident(c *call) (answer, error) {
	in, err := c.incident()
	if err != nil {
		return answer{}, err
	}
	comment, err := c.comment()
	if err != nil {
		return answer{}, err
	}
	if err := (&incidentChange{Comment: comment}).apply(c, in); err != nil {
		return answer{}, err
	}
	return c.comments("security/incidents", in.graph(c.data.tenant).Comments)
}

// comment reads the comment of a body.
func (c *call) comment() (*string, error) {
	var in struct {
		Comment *string `json:"comment"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if in.Comment == nil || *in.Comment == "" {
		return nil, missing("comment")
	}
	return in.Comment, nil
}

func (c *call) comments(of string, all []graphComment) (answer, error) {
	return answer{body: envelope{Context: c.context(of + "('" + c.param("id") + "')/comments"), Value: all}}, nil
}
