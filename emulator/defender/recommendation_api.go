package defenderemu

import (
	"slices"
	"strings"
)

// recommendation is what to do about a product, as the API writes it (MDE:
// "Recommendation resource type"). There is one for every product that some
// machine has out of date.
type recommendation struct {
	ID                 string   `json:"id"`
	ProductName        string   `json:"productName"`
	RecommendationName string   `json:"recommendationName"`
	Weaknesses         int      `json:"weaknesses"`
	Vendor             string   `json:"vendor"`
	RecommendedVersion string   `json:"recommendedVersion"`
	Category           string   `json:"recommendationCategory"`
	SeverityScore      float64  `json:"severityScore"`
	PublicExploit      bool     `json:"publicExploit"`
	ActiveAlert        bool     `json:"activeAlert"`
	AssociatedThreats  []string `json:"associatedThreats"`
	RemediationType    string   `json:"remediationType"`
	Status             string   `json:"status"`
	ConfigScoreImpact  float64  `json:"configScoreImpact"`
	ExposureImpact     float64  `json:"exposureImpact"`
	TotalMachines      int      `json:"totalMachineCount"`
	ExposedMachines    int      `json:"exposedMachinesCount"`
	RelatedComponent   string   `json:"relatedComponent"`
}

// recommendationPrefix stands before a product's id in a recommendation's.
const recommendationPrefix = "va-_-"

// recommend makes the recommendation about a product.
func (t *data) recommend(p *product) recommendation {
	s := t.software(p)
	return recommendation{
		ID: recommendationPrefix + p.id(), ProductName: p.name, RecommendationName: "Update " + p.vendor + " " + p.name, Weaknesses: s.Weaknesses,
		Vendor: p.vendor, RecommendedVersion: p.current, Category: "Application", PublicExploit: s.PublicExploit, AssociatedThreats: []string{},
		RemediationType: "Update", Status: "Active", ExposureImpact: s.ImpactScore, TotalMachines: s.Installed, ExposedMachines: s.ExposedMachines,
		RelatedComponent: p.name,
	}
}

func listRecommendations(c *call) (answer, error) {
	return list(c, listing{of: "Recommendations"}, each(c.data.products, c.data.recommend))
}

func listMachineRecommendations(c *call) (answer, error) {
	installs, err := c.onMachine()
	if err != nil {
		return answer{}, err
	}
	old := where(installs, (*install).vulnerable)
	return list(c, listing{of: "Recommendations"}, each(old, func(in *install) recommendation { return c.data.recommend(in.product) }))
}

// recommended finds the product that the recommendation in the path is about.
func (c *call) recommended() (*product, error) {
	id := strings.ToLower(c.param("id"))
	i := slices.IndexFunc(c.data.products, func(p product) bool { return recommendationPrefix+p.id() == id })
	if i < 0 {
		return nil, notFound("Recommendation %s was not found", c.param("id"))
	}
	return &c.data.products[i], nil
}

func getRecommendation(c *call) (answer, error) {
	p, err := c.recommended()
	if err != nil {
		return answer{}, err
	}
	return c.one("Recommendations", c.data.recommend(p))
}

func listRecommendationMachines(c *call) (answer, error) {
	p, err := c.recommended()
	if err != nil {
		return answer{}, err
	}
	return listReferences(c, func(in *install) bool { return in.product == p && in.vulnerable() })
}

func getRecommendationSoftware(c *call) (answer, error) {
	p, err := c.recommended()
	if err != nil {
		return answer{}, err
	}
	return c.one("Software", c.data.software(p))
}

func listRecommendationVulnerabilities(c *call) (answer, error) {
	p, err := c.recommended()
	if err != nil {
		return answer{}, err
	}
	return list(c, listing{of: "Vulnerabilities"}, p.weaknesses)
}

// score is a score of the tenant, or of a device group.
type score struct {
	Time  stamp    `json:"time"`
	Score float64  `json:"score"`
	Group optional `json:"rbacGroupName"`
}

// levels are what a machine's exposure counts for in a score.
var levels = map[string]float64{"Low": 10, "Medium": 40, "High": 80}

// exposure is the mean over the machines of a group; of all for no group.
func (c *call) exposure(group string) score {
	of := where(c.data.machines, func(m *machine) bool { return group == "" || m.RBACGroupName == group })
	sum := 0.0
	for _, m := range of {
		sum += levels[m.ExposureLevel]
	}
	return score{c.now, sum / float64(max(len(of), 1)), optional(group)}
}

func getExposureScore(c *call) (answer, error) {
	return c.one("ExposureScore", c.exposure(""))
}

func listExposureScores(c *call) (answer, error) {
	return list(c, listing{of: "ExposureScore"}, each(groups, func(group *string) score { return c.exposure(*group) }))
}

func getConfigurationScore(c *call) (answer, error) {
	return c.one("ConfigurationScore", score{Time: c.now, Score: 612})
}
