package defenderemu

import (
	"slices"
	"strings"
	"sync"
)

// data is all that one tenant has. Each tenant has its own, so that an answer
// that reaches the wrong one shows.
type data struct {
	tenant string

	// Never changed once made.
	users     []user
	products  []product
	installs  []install
	logons    []logon
	processes []process
	byName    map[string]*machine // by id and by name, in lower case

	// mu guards what calls change. A reading call holds it until its answer is
	// encoded, since the answer shares slices with what stands here.
	mu             sync.RWMutex
	machines       []machine // never grows: others point into it
	incidents      []incident
	alerts         []alert
	investigations []investigation
	indicators     []indicator
	actions        []machineAction
	library        []libraryFile
	scans          []scan
	controls       []scoreControl
	health         []healthIssue
	serial         int // of the newest numbered thing
}

// newData makes the data of a tenant with so many machines, which end at now:
// the same for the same arguments.
func newData(seed uint64, tenant string, now stamp, machines int) *data {
	d := newDice(seed, tenant)
	t := &data{tenant: tenant, serial: 5000, controls: newControls(tenant), health: newHealthIssues(now)}
	t.users = newUsers(d)
	t.products = newProducts(d, now)
	t.machines = newMachines(d, now, machines)
	t.byName = make(map[string]*machine, 2*len(t.machines))
	for i := range t.machines {
		m := &t.machines[i]
		t.byName[m.ID], t.byName[m.ComputerDNSName] = m, m
	}
	t.installs = newInstalls(d, t.machines, t.products)
	expose(t.installs)
	t.incidents, t.alerts = newIncidents(d, now, t.machines, t.users)
	t.logons = newLogons(d, t.machines, t.users)
	t.processes = newProcesses(d, t.machines, t.users, t.alerts)
	t.indicators = newIndicators(d, now)
	t.actions = newActions(d, now, t.machines)
	for i := range t.alerts {
		a := &t.alerts[i]
		a.AADTenantID = tenant
		m := t.machine(a.MachineID)
		if a.Status != "Resolved" {
			m.RiskScore = worse(m.RiskScore, a.Severity)
		}
		if d.percent(15) {
			t.investigate(a, a.AlertCreationTime).State = "SuccessfullyRemediated"
			a.InvestigationState = "SuccessfullyRemediated"
		}
	}
	return t
}

// next numbers a new thing.
func (t *data) next() int {
	t.serial++
	return t.serial
}

// machine finds a machine by its id or its name; nil: none.
func (t *data) machine(id string) *machine { return t.byName[strings.ToLower(id)] }

// alert finds an alert; nil: none.
func (t *data) alert(id string) *alert {
	if i := slices.IndexFunc(t.alerts, func(a alert) bool { return a.ID == id }); i >= 0 {
		return &t.alerts[i]
	}
	return nil
}

// user finds a user by account name, alone or behind the domain; nil: none.
func (t *data) user(id string) *user {
	if _, name, ok := strings.Cut(id, `\`); ok {
		id = name
	}
	if i := slices.IndexFunc(t.users, func(u user) bool { return strings.EqualFold(u.name, id) }); i >= 0 {
		return &t.users[i]
	}
	return nil
}

// where returns the elements that a condition chooses, by value.
func where[T any](all []T, chosen func(*T) bool) []T {
	some := []T{}
	for i := range all {
		if chosen(&all[i]) {
			some = append(some, all[i])
		}
	}
	return some
}

// each makes something of every element.
func each[T, U any](all []T, make func(*T) U) []U {
	made := []U{}
	for i := range all {
		made = append(made, make(&all[i]))
	}
	return made
}
