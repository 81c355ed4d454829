package defenderemu

import (
	"fmt"
	"slices"
	"time"
)

// product is a piece of software, with the weaknesses of its old version.
type product struct {
	vendor, name string
	old, current string // versions
	weaknesses   []vulnerability
}

// vulnerability is a CVE as the API writes it (MDE: "Vulnerability resource type").
type vulnerability struct {
	ID              string   `json:"id"`
	Name            string   `json:"name"`
	Description     string   `json:"description"`
	Severity        string   `json:"severity"`
	CVSS            float64  `json:"cvssV3"`
	ExposedMachines int      `json:"exposedMachines"`
	PublishedOn     stamp    `json:"publishedOn"`
	UpdatedOn       stamp    `json:"updatedOn"`
	FirstDetected   stamp    `json:"firstDetected"`
	PublicExploit   bool     `json:"publicExploit"`
	ExploitVerified bool     `json:"exploitVerified"`
	ExploitInKit    bool     `json:"exploitInKit"`
	ExploitTypes    []string `json:"exploitTypes"`
	ExploitURIs     []string `json:"exploitUris"`
}

// install is a product on a machine.
type install struct {
	machine *machine
	product *product
	version string
	since   stamp
}

// vulnerable reports whether the version has the product's weaknesses.
func (i *install) vulnerable() bool { return i.version == i.product.old }

// newProducts makes the software that fleet names, and its weaknesses.
func newProducts(d dice, now stamp) []product {
	products := []product{
		{vendor: "microsoft", name: "edge", old: "129.0.2792.52", current: "131.0.2903.63"},
		{vendor: "microsoft", name: "office", old: "16.0.17830.20138", current: "16.0.18129.20158"},
		{vendor: "microsoft", name: "teams", old: "24215.1007.3082.1590", current: "24295.605.3225.8804"},
		{vendor: "google", name: "chrome", old: "129.0.6668.58", current: "131.0.6778.85"},
		{vendor: "adobe", name: "acrobat_reader", old: "24.3.20112.0", current: "24.4.20272.0"},
		{vendor: "7-zip", name: "7-zip", old: "23.1.0.0", current: "24.8.0.0"},
		{vendor: "oracle", name: "jre", old: "8.0.4210.9", current: "8.0.4310.10"},
		{vendor: "microsoft", name: "sql_server", old: "16.0.4145.4", current: "16.0.4165.4"},
		{vendor: "microsoft", name: "exchange_server", old: "15.2.1544.11", current: "15.2.1544.14"},
		{vendor: "openssl", name: "openssl", old: "3.0.13", current: "3.0.15"},
		{vendor: "f5", name: "nginx", old: "1.24.0", current: "1.26.2"},
		{vendor: "apache", name: "log4j", old: "2.14.1", current: "2.24.1"},
	}
	number := 900_000 // above what is assigned, so that no CVE here is a real one
	for i := range products {
		for range 1 + d.IntN(4) {
			number++
			products[i].weaknesses = append(products[i].weaknesses, newVulnerability(d, now, &products[i], number))
		}
	}
	return products
}

func newVulnerability(d dice, now stamp, of *product, number int) vulnerability {
	published := now.after(-10*24*time.Hour - d.within(300*24*time.Hour))
	id := fmt.Sprintf("CVE-%d-%d", published.UTC().Year(), number)
	severity := pick(d, []string{"Low", "Medium", "Medium", "High", "High", "Critical"})
	v := vulnerability{
		ID: id, Name: id, Severity: severity,
		Description: fmt.Sprintf("Made-up weakness of %s %s before %s.", of.vendor, of.name, of.current),
		CVSS:        map[string]float64{"Low": 3.1, "Medium": 5.5, "High": 7.8, "Critical": 9.8}[severity],
		PublishedOn: published, UpdatedOn: published.after(d.within(5 * 24 * time.Hour)), FirstDetected: published.after(d.within(9 * 24 * time.Hour)),
		ExploitTypes: []string{}, ExploitURIs: []string{},
	}
	if severity == "Critical" || d.percent(15) {
		v.PublicExploit, v.ExploitTypes = true, []string{"Remote"}
	}
	return v
}

// newInstalls puts software on machines; a third of it is out of date.
func newInstalls(d dice, machines []machine, products []product) []install {
	var installs []install
	byName := map[string]*product{}
	for i := range products {
		byName[products[i].name] = &products[i]
	}
	next := 0
	for _, kind := range fleet {
		for range kind.count {
			m := &machines[next]
			next++
			for _, name := range kind.installs {
				if d.percent(15) {
					continue
				}
				i := install{machine: m, product: byName[name], version: byName[name].current, since: m.FirstSeen.after(d.within(24 * time.Hour))}
				if d.percent(33) {
					i.version = i.product.old
				}
				installs = append(installs, i)
			}
		}
	}
	return installs
}

// expose counts the vulnerable machines into weaknesses and exposure levels.
func expose(installs []install) {
	weak := map[*machine]int{}
	for _, i := range installs {
		if !i.vulnerable() {
			continue
		}
		weak[i.machine] += len(i.product.weaknesses)
		for w := range i.product.weaknesses {
			i.product.weaknesses[w].ExposedMachines++
		}
	}
	for m, n := range weak {
		switch {
		case n > 5:
			m.ExposureLevel = "High"
		case n > 2:
			m.ExposureLevel = "Medium"
		}
	}
}

// id is the product's id in paths: vendor-_-name.
func (p *product) id() string { return p.vendor + "-_-" + p.name }

// exploitable reports whether a weakness has a public exploit.
func (p *product) exploitable() bool {
	return slices.ContainsFunc(p.weaknesses, func(v vulnerability) bool { return v.PublicExploit })
}
