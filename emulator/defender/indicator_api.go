package defenderemu

import (
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// maxIndicators is how many indicators a tenant may have.
const maxIndicators = 15_000

func listIndicators(c *call) (answer, error) {
	return list(c, listing{of: "Indicators"}, c.data.indicators)
}

// indicatorInput is an indicator as it is submitted.
type indicatorInput struct {
	Value         string   `json:"indicatorValue"`
	Type          string   `json:"indicatorType"`
	Action        string   `json:"action"`
	Application   string   `json:"application"`
	Title         string   `json:"title"`
	About         string   `json:"description"`
	Severity      string   `json:"severity"`
	Expires       stamp    `json:"expirationTime"`
	Advice        string   `json:"recommendedActions"`
	Groups        []string `json:"rbacGroupNames"`
	GenerateAlert bool     `json:"generateAlert"`
}

// check holds an indicator to what the API accepts.
func (in *indicatorInput) check() error {
	if in.Value == "" {
		return missing("indicatorValue")
	}
	if err := oneOf("indicatorType", &in.Type, "FileSha1", "FileSha256", "FileMd5", "CertificateThumbprint", "IpAddress", "DomainName", "Url"); err != nil {
		return err
	}
	if err := oneOf("action", &in.Action, "Alert", "Warn", "Block", "Audit", "BlockAndRemediate", "AlertAndBlock", "Allowed"); err != nil {
		return err
	}
	if in.Title == "" {
		return missing("title")
	}
	if in.About == "" {
		return missing("description")
	}
	if in.Severity == "" {
		in.Severity = "Informational"
	}
	if err := oneOf("severity", &in.Severity, severities...); err != nil {
		return err
	}
	return in.checkValue()
}

// checkValue holds the value to its type.
func (in *indicatorInput) checkValue() error {
	digits := map[string]int{"FileSha1": 40, "FileSha256": 64, "FileMd5": 32, "CertificateThumbprint": 40}
	switch in.Type {
	case "IpAddress":
		if _, err := netip.ParseAddr(in.Value); err != nil {
			return badRequest("InvalidIpAddress", "IP address %q is invalid.", in.Value)
		}
	case "Url":
		if u, err := url.Parse(in.Value); err != nil || u.Host == "" {
			return badRequest("InvalidUrl", "URL %q is invalid.", in.Value)
		}
	case "DomainName":
		if strings.ContainsAny(in.Value, "/: ") || !strings.Contains(in.Value, ".") {
			return badRequest("InvalidDomainName", "Domain name %q is invalid.", in.Value)
		}
	default:
		if !isHex(in.Value, digits[in.Type]) {
			return badRequest("InvalidHashValue", "Hash value %q is invalid.", in.Value)
		}
	}
	return nil
}

// submit stores an indicator, in the place of one with the same value and type.
func (t *data) submit(c *call, in *indicatorInput) (indicator, error) {
	if err := in.check(); err != nil {
		return indicator{}, err
	}
	v := indicator{
		ID: strconv.Itoa(t.next()), IndicatorValue: in.Value, IndicatorType: in.Type, Action: in.Action, Application: optional(in.Application),
		Source: c.requestor(), SourceType: "AadApp", Title: in.Title, Description: in.About, Severity: in.Severity, CreationTime: c.now,
		CreatedBy: c.requestor(), ExpirationTime: in.Expires, LastUpdateTime: c.now, RecommendedActions: optional(in.Advice),
		RBACGroupNames: append([]string{}, in.Groups...), GenerateAlert: in.GenerateAlert,
	}
	for i := range t.indicators {
		if old := &t.indicators[i]; old.IndicatorType == in.Type && strings.EqualFold(old.IndicatorValue, in.Value) {
			v.ID, v.CreationTime, v.CreatedBy = old.ID, old.CreationTime, old.CreatedBy
			v.LastUpdatedBy = optional(c.requestor())
			*old = v
			return v, nil
		}
	}
	if len(t.indicators) >= maxIndicators {
		return indicator{}, badRequest("BadRequest", "Max capacity exceeded: a tenant has at most %d indicators.", maxIndicators)
	}
	t.indicators = append(t.indicators, v)
	return v, nil
}

// submitIndicator: MDE, "Submit or Update Indicator API".
func submitIndicator(c *call) (answer, error) {
	var in indicatorInput
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	v, err := c.data.submit(c, &in)
	if err != nil {
		return answer{}, err
	}
	return c.one("Indicators", v)
}

// imported is what became of one indicator of a batch.
type imported struct {
	ID            optional `json:"id"`
	Indicator     string   `json:"indicator"`
	IsFailed      bool     `json:"isFailed"`
	FailureReason optional `json:"failureReason"`
}

// importIndicators: MDE, "Import Indicators API". One that is wrong does not
// keep the others out.
func importIndicators(c *call) (answer, error) {
	var in struct {
		Indicators []indicatorInput `json:"Indicators"`
	}
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	if err := batch("Indicators", len(in.Indicators)); err != nil {
		return answer{}, err
	}
	results := each(in.Indicators, func(one *indicatorInput) imported {
		v, err := c.data.submit(c, one)
		if r, ok := errors.AsType[*refusal](err); ok {
			return imported{Indicator: one.Value, IsFailed: true, FailureReason: optional(r.message)}
		}
		return imported{ID: optional(v.ID), Indicator: one.Value}
	})
	return answer{body: envelope{Context: c.context("Collection(microsoft.windowsDefenderATP.api.ImportIndicatorResult)"), Value: results}}, nil
}

// remove deletes the indicators of these ids, all or none.
func (t *data) remove(ids ...string) error {
	for _, id := range ids {
		if !slices.ContainsFunc(t.indicators, func(v indicator) bool { return v.ID == id }) {
			return notFound("Indicator %s was not found", id)
		}
	}
	t.indicators = where(t.indicators, func(v *indicator) bool { return !slices.Contains(ids, v.ID) })
	return nil
}

func deleteIndicator(c *call) (answer, error) {
	return answer{status: http.StatusNoContent}, c.data.remove(c.param("id"))
}

// deleteIndicators: MDE, "Batch Delete Indicators API".
func deleteIndicators(c *call) (answer, error) {
	var in struct {
		IDs []string `json:"IndicatorIds"`
	}
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	if err := batch("IndicatorIds", len(in.IDs)); err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusNoContent}, c.data.remove(in.IDs...)
}
