package defenderemu

import (
	"slices"
	"strings"
)

// softwareView is a product as the API writes it (MDE: "Software resource type").
type softwareView struct {
	ID              string  `json:"id"`
	Name            string  `json:"name"`
	Vendor          string  `json:"vendor"`
	Weaknesses      int     `json:"weaknesses"`
	PublicExploit   bool    `json:"publicExploit"`
	ActiveAlert     bool    `json:"activeAlert"`
	ExposedMachines int     `json:"exposedMachines"`
	Installed       int     `json:"installedMachines"`
	ImpactScore     float64 `json:"impactScore"`
}

// software shows a product through where it is installed.
func (t *data) software(p *product) softwareView {
	v := softwareView{ID: p.id(), Name: p.name, Vendor: p.vendor, Weaknesses: len(p.weaknesses), PublicExploit: p.exploitable()}
	for i := range t.installs {
		if in := &t.installs[i]; in.product == p {
			v.Installed++
			if in.vulnerable() {
				v.ExposedMachines++
			}
		}
	}
	v.ImpactScore = float64(v.ExposedMachines*v.Weaknesses) / 100
	return v
}

func listSoftware(c *call) (answer, error) {
	return list(c, listing{of: "Software"}, each(c.data.products, c.data.software))
}

// product finds the product that the path names: vendor-_-name.
func (c *call) product() (*product, error) {
	id := c.param("id")
	i := slices.IndexFunc(c.data.products, func(p product) bool { return strings.EqualFold(p.id(), id) })
	if i < 0 {
		return nil, notFound("Software %s was not found", id)
	}
	return &c.data.products[i], nil
}

func getSoftware(c *call) (answer, error) {
	p, err := c.product()
	if err != nil {
		return answer{}, err
	}
	return c.one("Software", c.data.software(p))
}

type distribution struct {
	Version         string `json:"version"`
	Installations   int    `json:"installations"`
	Vulnerabilities int    `json:"vulnerabilities"`
}

func listDistributions(c *call) (answer, error) {
	p, err := c.product()
	if err != nil {
		return answer{}, err
	}
	versions := []distribution{{Version: p.old, Vulnerabilities: len(p.weaknesses)}, {Version: p.current}}
	for _, in := range c.data.installs {
		for i := range versions {
			if in.product == p && in.version == versions[i].Version {
				versions[i].Installations++
			}
		}
	}
	return list(c, listing{of: "Collection(microsoft.windowsDefenderATP.api.Distribution)"}, versions)
}

// listReferences lists the machines of the installations that a condition chooses.
func listReferences(c *call, chosen func(*install) bool) (answer, error) {
	return list(c, listing{of: "MachineReferences"}, each(where(c.data.installs, chosen), func(in *install) reference { return in.machine.reference() }))
}

func listSoftwareMachines(c *call) (answer, error) {
	p, err := c.product()
	if err != nil {
		return answer{}, err
	}
	return listReferences(c, func(in *install) bool { return in.product == p })
}

func listSoftwareVulnerabilities(c *call) (answer, error) {
	p, err := c.product()
	if err != nil {
		return answer{}, err
	}
	return list(c, listing{of: "Vulnerabilities"}, p.weaknesses)
}

func listVulnerabilities(c *call) (answer, error) {
	all := []vulnerability{}
	for _, p := range c.data.products {
		all = append(all, p.weaknesses...)
	}
	return list(c, listing{of: "Vulnerabilities"}, all)
}

// vulnerability finds the weakness that the path names, and the product it is of.
func (c *call) vulnerability() (*product, *vulnerability, error) {
	for i := range c.data.products {
		p := &c.data.products[i]
		for k := range p.weaknesses {
			if v := &p.weaknesses[k]; strings.EqualFold(v.ID, c.param("cveId")) {
				return p, v, nil
			}
		}
	}
	return nil, nil, notFound("Vulnerability %s was not found", c.param("cveId"))
}

func getVulnerability(c *call) (answer, error) {
	_, v, err := c.vulnerability()
	if err != nil {
		return answer{}, err
	}
	return c.one("Vulnerabilities", *v)
}

func listVulnerabilityMachines(c *call) (answer, error) {
	p, _, err := c.vulnerability()
	if err != nil {
		return answer{}, err
	}
	return listReferences(c, func(in *install) bool { return in.product == p && in.vulnerable() })
}

// machineVulnerability is a weakness on one machine.
type machineVulnerability struct {
	ID        string   `json:"id"`
	CVE       string   `json:"cveId"`
	MachineID string   `json:"machineId"`
	FixingKB  optional `json:"fixingKbId"`
	Product   string   `json:"productName"`
	Vendor    string   `json:"productVendor"`
	Version   string   `json:"productVersion"`
	Severity  string   `json:"severity"`
}

func listMachinesVulnerabilities(c *call) (answer, error) {
	all := []machineVulnerability{}
	for _, in := range c.data.installs {
		if !in.vulnerable() {
			continue
		}
		for _, v := range in.product.weaknesses {
			all = append(all, machineVulnerability{
				ID: strings.Join([]string{in.machine.ID, v.ID, in.product.vendor, in.product.name, in.version, ""}, "-_-"), CVE: v.ID,
				MachineID: in.machine.ID, Product: in.product.name, Vendor: in.product.vendor, Version: in.version, Severity: v.Severity,
			})
		}
	}
	return list(c, listing{of: "Collection(microsoft.windowsDefenderATP.api.PublicAssetVulnerabilityDto)"}, all)
}

// onMachine chooses the installations on the machine that the path names.
func (c *call) onMachine() ([]install, error) {
	m, err := c.machine()
	if err != nil {
		return nil, err
	}
	return where(c.data.installs, func(in *install) bool { return in.machine == m }), nil
}

func listMachineSoftware(c *call) (answer, error) {
	installs, err := c.onMachine()
	if err != nil {
		return answer{}, err
	}
	return list(c, listing{of: "Software"}, each(installs, func(in *install) softwareView { return c.data.software(in.product) }))
}

func listMachineVulnerabilities(c *call) (answer, error) {
	installs, err := c.onMachine()
	if err != nil {
		return answer{}, err
	}
	found := []vulnerability{}
	for _, in := range installs {
		if in.vulnerable() {
			found = append(found, in.product.weaknesses...)
		}
	}
	return list(c, listing{of: "Vulnerabilities"}, found)
}
