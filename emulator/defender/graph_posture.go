package defenderemu

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// secureScore is a tenant's score of one day ("secureScore resource type").
type secureScore struct {
	ID                string   `json:"id"`
	TenantID          string   `json:"azureTenantId"`
	Created           stamp    `json:"createdDateTime"`
	CurrentScore      float64  `json:"currentScore"`
	MaxScore          float64  `json:"maxScore"`
	ActiveUserCount   int      `json:"activeUserCount"`
	LicensedUserCount int      `json:"licensedUserCount"`
	EnabledServices   []string `json:"enabledServices"`
}

// scores are those of the last five days, the newest first.
func (t *data) scores(now stamp) []secureScore {
	rows := make([]secureScore, 5)
	for i := range rows {
		day := stamp{now.Truncate(24 * time.Hour)}.after(-time.Duration(i) * 24 * time.Hour)
		rows[i] = secureScore{
			ID: t.tenant + "_" + day.Format(time.DateOnly), TenantID: t.tenant, Created: day, CurrentScore: float64(214 - 3*i), MaxScore: 380,
			ActiveUserCount: len(t.users), LicensedUserCount: len(t.users), EnabledServices: []string{"HasEXOP2", "HasMDATP"},
		}
	}
	return rows
}

var secureScores = listing{of: "security/secureScores", page: 100, maxTop: 1000, pagedTop: true}

func listSecureScores(c *call) (answer, error) { return list(c, secureScores, c.data.scores(c.now)) }

func getSecureScore(c *call) (answer, error) {
	return found(c, secureScores.of, c.data.scores(c.now), func(s *secureScore) string { return s.ID })
}

// scoreControl is what a score consists of ("secureScoreControlProfile resource
// type").
type scoreControl struct {
	ID       string         `json:"id"`
	TenantID string         `json:"azureTenantId"`
	Title    string         `json:"title"`
	Category string         `json:"controlCategory"`
	MaxScore float64        `json:"maxScore"`
	Service  string         `json:"service"`
	Updates  []controlState `json:"controlStateUpdates"`
}

type controlState struct {
	State      string `json:"state"`
	AssignedTo string `json:"assignedTo"`
	Comment    string `json:"comment"`
	UpdatedBy  string `json:"updatedBy"`
	Updated    stamp  `json:"updatedDateTime"`
}

func newControls(tenant string) []scoreControl {
	control := func(id, title, category string, most float64) scoreControl {
		return scoreControl{id, tenant, title, category, most, "Azure AD", []controlState{}}
	}
	return []scoreControl{
		control("AdminMFAV2", "Ensure multifactor authentication is enabled for all users in administrative roles", "Identity", 10),
		control("OneAdmin", "Designate more than one global admin", "Identity", 1),
		control("scid_2010", "Turn on Microsoft Defender Antivirus", "Device", 10),
	}
}

var scoreControls = listing{of: "security/secureScoreControlProfiles", page: 100, maxTop: 1000, pagedTop: true}

func controlID(s *scoreControl) string { return s.ID }

func listScoreControls(c *call) (answer, error) { return list(c, scoreControls, c.data.controls) }

func getScoreControl(c *call) (answer, error) {
	return found(c, scoreControls.of, c.data.controls, controlID)
}

// updateScoreControl: Graph, "Update secureScoreControlProfile".
func updateScoreControl(c *call) (answer, error) {
	control, err := byID(c, c.data.controls, controlID)
	if err != nil {
		return answer{}, err
	}
	change := controlState{UpdatedBy: c.requestor(), Updated: c.now}
	if err := c.decode(&change); err != nil {
		return answer{}, err
	}
	if change.State == "" && change.AssignedTo == "" && change.Comment == "" {
		return answer{}, missing("state, assignedTo or comment")
	}
	control.Updates = append(slices.Clip(control.Updates), change)
	return c.one(scoreControls.of, *control)
}

// healthIssue is something that ails a sensor of Defender for Identity
// ("healthIssue resource type").
type healthIssue struct {
	ID          string `json:"id"`
	DisplayName string `json:"displayName"`
	Kind        string `json:"healthIssueType"`
	Severity    string `json:"severity"`
	Status      string `json:"status"`
	Description string `json:"description"`
	Created     stamp  `json:"createdDateTime"`
	Modified    stamp  `json:"lastModifiedDateTime"`
}

func newHealthIssues(now stamp) []healthIssue {
	at := now.after(-50 * time.Hour)
	return []healthIssue{
		{"1", "Sensor stopped communicating", "sensor", "medium", "open", "The sensor on dc-1.example.test has not been heard of.", at, at},
		{"2", "Directory Services user credentials are incorrect", "global", "high", "open", "The credentials are not accepted.", at, at},
	}
}

var healthIssues = listing{of: "security/identities/healthIssues", page: 100, maxTop: 1000, pagedTop: true}

func healthIssueID(h *healthIssue) string { return h.ID }

func listHealthIssues(c *call) (answer, error) { return list(c, healthIssues, c.data.health) }

func getHealthIssue(c *call) (answer, error) {
	return found(c, healthIssues.of, c.data.health, healthIssueID)
}

// updateHealthIssue: Graph, "Update healthIssue".
func updateHealthIssue(c *call) (answer, error) {
	issue, err := byID(c, c.data.health, healthIssueID)
	if err != nil {
		return answer{}, err
	}
	var in struct {
		Status *string `json:"status"`
	}
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	if in.Status == nil {
		return answer{}, missing("status")
	}
	if err := oneOf("status", in.Status, "open", "closed", "suppressed"); err != nil {
		return answer{}, err
	}
	issue.Status, issue.Modified = *in.Status, c.now
	return c.one(healthIssues.of, *issue)
}

// campaign is an attack simulation, its automation or what became of it.
type campaign struct {
	ID          string `json:"id"`
	DisplayName string `json:"displayName"`
	Status      string `json:"status"`
	Created     stamp  `json:"createdDateTime"`
}

func campaigns(now stamp) []campaign {
	rows := make([]campaign, 2)
	for i := range rows {
		rows[i] = campaign{fmt.Sprint(i + 1), fmt.Sprintf("Example campaign %d", i+1), "succeeded", now.after(-time.Duration(i+1) * 24 * time.Hour)}
	}
	return rows
}

func listSimulations(c *call) (answer, error) {
	return list(c, listing{of: "security/attackSimulation/simulations", page: 100, maxTop: 1000, pagedTop: true}, campaigns(c.now))
}

func getCampaign(of string) handler {
	return func(c *call) (answer, error) {
		return found(c, "security/attackSimulation/"+of, campaigns(c.now), func(s *campaign) string { return s.ID })
	}
}

// byID finds the element that the path names.
func byID[T any](c *call, all []T, id func(*T) string) (*T, error) {
	i := slices.IndexFunc(all, func(t T) bool { return strings.EqualFold(id(&t), c.param("id")) })
	if i < 0 {
		return nil, notFound("%s was not found", c.URL.Path)
	}
	return &all[i], nil
}

// found answers with the element that the path names.
func found[T any](c *call, of string, all []T, id func(*T) string) (answer, error) {
	t, err := byID(c, all, id)
	if err != nil {
		return answer{}, err
	}
	return c.one(of, *t)
}
