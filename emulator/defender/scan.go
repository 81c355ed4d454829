package defenderemu

import "slices"

// scan is an authenticated scan of the network, as the API writes it (MDE: "Add
// or update a scan definition").
type scan struct {
	ID               string    `json:"id"`
	ScanType         string    `json:"scanType"`
	ScanName         string    `json:"scanName"`
	IsActive         bool      `json:"isActive"`
	Target           string    `json:"target"`
	IntervalInHours  int       `json:"intervalInHours"`
	TargetType       string    `json:"targetType"`
	CreatedBy        string    `json:"createdBy"`
	OrganizationID   string    `json:"orgId"`
	LastExecution    stamp     `json:"lastScanDateTime"`
	ScannerAgentInfo scanAgent `json:"scannerAgent"`
}

// scanAgent is the machine that scans.
type scanAgent struct {
	ID        string `json:"id"`
	MachineID string `json:"machineId"`
}

// scanInput is a scan as it is defined.
type scanInput struct {
	Type     *string    `json:"scanType"`
	Name     *string    `json:"scanName"`
	Active   *bool      `json:"isActive"`
	Target   *string    `json:"target"`
	Interval *int       `json:"intervalInHours"`
	Agent    *scanAgent `json:"scannerAgent"`
}

func (in *scanInput) apply(s *scan) {
	put(&s.ScanType, in.Type)
	put(&s.ScanName, in.Name)
	put(&s.IsActive, in.Active)
	put(&s.Target, in.Target)
	put(&s.IntervalInHours, in.Interval)
	put(&s.ScannerAgentInfo, in.Agent)
}

// put writes a value that was given.
func put[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}

func listScans(c *call) (answer, error) {
	return list(c, listing{of: "DeviceAuthenticatedScanDefinitions"}, c.data.scans)
}

// addScan: MDE, "Add a new scan definition".
func addScan(c *call) (answer, error) {
	var in scanInput
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	if in.Name == nil {
		return answer{}, missing("scanName")
	}
	if in.Target == nil {
		return answer{}, missing("target")
	}
	s := scan{ID: newGUID(), ScanType: "Network", TargetType: "Ip", IsActive: true, IntervalInHours: 4, CreatedBy: c.requestor(), OrganizationID: c.data.tenant}
	in.apply(&s)
	c.data.scans = append(c.data.scans, s)
	return c.created("DeviceAuthenticatedScanDefinitions", s)
}

func updateScan(c *call) (answer, error) {
	i := slices.IndexFunc(c.data.scans, func(s scan) bool { return s.ID == c.param("id") })
	if i < 0 {
		return answer{}, notFound("Scan definition %s was not found", c.param("id"))
	}
	var in scanInput
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	in.apply(&c.data.scans[i])
	return c.one("DeviceAuthenticatedScanDefinitions", c.data.scans[i])
}

// scanIDs reads the ids that a body names.
func (c *call) scanIDs() ([]string, error) {
	var in struct {
		IDs []string `json:"ScanDefinitionIds"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	return in.IDs, batch("ScanDefinitionIds", len(in.IDs))
}

func deleteScans(c *call) (answer, error) {
	ids, err := c.scanIDs()
	if err != nil {
		return answer{}, err
	}
	c.data.scans = where(c.data.scans, func(s *scan) bool { return !slices.Contains(ids, s.ID) })
	return answer{}, nil
}

// getScanHistory lists the runs of scans: none has run yet.
func getScanHistory(c *call) (answer, error) {
	if _, err := c.scanIDs(); err != nil {
		return answer{}, err
	}
	return list(c, listing{of: "Collection(microsoft.windowsDefenderATP.api.ScanHistory)"}, []reference{})
}
