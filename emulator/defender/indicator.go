package defenderemu

import (
	"fmt"
	"time"
)

// indicator is what a tenant wants to be warned of, or to block, as the API
// writes it (MDE: "Indicator resource type").
type indicator struct {
	ID                 string   `json:"id"`
	IndicatorValue     string   `json:"indicatorValue"`
	IndicatorType      string   `json:"indicatorType"`
	Action             string   `json:"action"`
	Application        optional `json:"application"`
	Source             string   `json:"source"`
	SourceType         string   `json:"sourceType"`
	Title              string   `json:"title"`
	Description        string   `json:"description"`
	Severity           string   `json:"severity"`
	CreationTime       stamp    `json:"creationTimeDateTimeUtc"`
	CreatedBy          string   `json:"createdBy"`
	ExpirationTime     stamp    `json:"expirationTime"`
	LastUpdateTime     stamp    `json:"lastUpdateTime"`
	LastUpdatedBy      optional `json:"lastUpdatedBy"`
	RecommendedActions optional `json:"recommendedActions"`
	RBACGroupNames     []string `json:"rbacGroupNames"`
	GenerateAlert      bool     `json:"generateAlert"`
}

// newIndicators makes a few of every common type.
func newIndicators(d dice, now stamp) []indicator {
	var all []indicator
	kinds := []struct {
		name  string
		value func(i int) string
	}{
		{"FileSha1", func(int) string { return d.hex(40) }},
		{"FileSha256", func(int) string { return d.hex(64) }},
		{"IpAddress", func(i int) string { return fmt.Sprintf("203.0.113.%d", i+1) }},
		{"DomainName", func(i int) string { return fmt.Sprintf("c2-%d.dropper.test", i+1) }},
		{"Url", func(i int) string { return fmt.Sprintf("https://phish-%d.test/login", i+1) }},
	}
	for _, kind := range kinds {
		for i := range 12 {
			at := now.after(-d.within(25 * 24 * time.Hour))
			all = append(all, indicator{
				ID: fmt.Sprint(1000 + len(all)), IndicatorValue: kind.value(i), IndicatorType: kind.name,
				Action: pick(d, []string{"Alert", "AlertAndBlock", "Block", "Audit"}), Source: "soc@example.test", SourceType: "User",
				Title: "From a threat report", Description: "Seen in an intrusion elsewhere.", Severity: pick(d, severities),
				CreationTime: at, CreatedBy: "soc@example.test", LastUpdateTime: at, ExpirationTime: now.after(90 * 24 * time.Hour), RBACGroupNames: []string{},
			})
		}
	}
	return all
}
