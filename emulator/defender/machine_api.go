package defenderemu

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

func listMachines(c *call) (answer, error) {
	return list(c, listing{of: "Machines"}, c.data.machines)
}

func getMachine(c *call) (answer, error) {
	m, err := c.machine()
	if err != nil {
		return answer{}, err
	}
	return c.one("Machines", *m)
}

// findMachinesByIP lists the machines seen with an address a quarter of an hour
// around a time of the last 30 days (MDE: "Find devices by internal IP API").
func findMachinesByIP(c *call) (answer, error) {
	address, err := netip.ParseAddr(c.param("ip"))
	if err != nil {
		return answer{}, badRequest("InvalidIpAddress", "IP address %q is invalid.", c.param("ip"))
	}
	at, ok := parseTime(c.param("timestamp"))
	if !ok || at.After(c.now.Add(time.Minute)) || at.Before(c.now.Add(-30*24*time.Hour)) {
		return answer{}, badRequest("InvalidInput", "timestamp is %q: want a time of the past 30 days.", c.param("timestamp"))
	}
	const around = 15 * time.Minute
	return list(c, listing{of: "Machines"}, where(c.data.machines, func(m *machine) bool {
		return m.LastIPAddress == address.String() && m.FirstSeen.Before(at.Add(around)) && m.LastSeen.After(at.Add(-around))
	}))
}

// findMachinesByTag: MDE, "Find devices by tag API".
func findMachinesByTag(c *call) (answer, error) {
	q, err := parseQuery(c.URL.RawQuery)
	if err != nil {
		return answer{}, err
	}
	tag := q.values.Get("tag")
	if tag == "" {
		return answer{}, missing("tag")
	}
	prefix := strings.EqualFold(q.values.Get("usestartswithfilter"), "true")
	return list(c, listing{of: "Machines"}, where(c.data.machines, func(m *machine) bool {
		return slices.ContainsFunc(m.MachineTags, func(t string) bool { return t == tag || prefix && strings.HasPrefix(t, tag) })
	}))
}

func listMachineAlerts(c *call) (answer, error) {
	m, err := c.machine()
	if err != nil {
		return answer{}, err
	}
	return listAlertsWhere(c, func(a *alert) bool { return a.MachineID == m.ID })
}

func listMachineUsers(c *call) (answer, error) {
	m, err := c.machine()
	if err != nil {
		return answer{}, err
	}
	logons := map[*user][]logon{}
	for _, l := range c.data.logons {
		if l.machine == m {
			logons[l.user] = append(logons[l.user], l)
		}
	}
	users := []userView{}
	for i := range c.data.users {
		if u := &c.data.users[i]; len(logons[u]) > 0 {
			users = append(users, u.view(logons[u]))
		}
	}
	return list(c, listing{of: "Users"}, users)
}

// updateMachine: MDE, "Update machine".
func updateMachine(c *call) (answer, error) {
	var in struct {
		Tags  *[]string `json:"machineTags"`
		Value *string   `json:"deviceValue"`
	}
	return c.changeMachine(&in, func(m *machine) error {
		if in.Tags == nil && in.Value == nil {
			return missing("machineTags or deviceValue")
		}
		if in.Value != nil {
			if err := oneOf("deviceValue", in.Value, "Normal", "Low", "High"); err != nil {
				return err
			}
			m.DeviceValue = *in.Value
		}
		if in.Tags != nil {
			m.MachineTags = append([]string{}, *in.Tags...)
		}
		return nil
	})
}

// setDeviceValue: MDE, "Set device value API".
func setDeviceValue(c *call) (answer, error) {
	var in struct {
		Value string `json:"DeviceValue"`
	}
	return c.changeMachine(&in, func(m *machine) error {
		err := oneOf("DeviceValue", &in.Value, "Normal", "Low", "High")
		if err == nil {
			m.DeviceValue = in.Value
		}
		return err
	})
}

// tagInput is the body of both endpoints that tag.
type tagInput struct {
	Value      string   `json:"Value"`
	Action     string   `json:"Action"`
	MachineIDs []string `json:"MachineIds"`
}

func (in *tagInput) check() error {
	if in.Value == "" {
		return missing("Value")
	}
	return oneOf("Action", &in.Action, "Add", "Remove")
}

// tag adds or removes a tag. The slice that stood there is left as it is.
func (in *tagInput) tag(m *machine) {
	m.MachineTags = where(m.MachineTags, func(t *string) bool { return *t != in.Value })
	if strings.EqualFold(in.Action, "Add") {
		m.MachineTags = append(m.MachineTags, in.Value)
	}
}

// tagMachine: MDE, "Add or remove a tag for a machine".
func tagMachine(c *call) (answer, error) {
	var in tagInput
	return c.changeMachine(&in, func(m *machine) error {
		err := in.check()
		if err == nil {
			in.tag(m)
		}
		return err
	})
}

// maxBatch is how many machines, alerts or indicators one call may name.
const maxBatch = 500

// tagMachines: MDE, "Add or remove tags for multiple machines".
func tagMachines(c *call) (answer, error) {
	var in tagInput
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	if err := in.check(); err != nil {
		return answer{}, err
	}
	if err := batch("MachineIds", len(in.MachineIDs)); err != nil {
		return answer{}, err
	}
	var machines []*machine
	for _, id := range in.MachineIDs {
		m := c.data.machine(id)
		if m == nil {
			return answer{}, notFound("Machine %s was not found", id)
		}
		machines = append(machines, m)
	}
	for _, m := range machines {
		in.tag(m)
	}
	return answer{}, nil
}

// batch holds the length of a parameter to what one call may name.
func batch(parameter string, n int) error {
	switch {
	case n == 0:
		return missing(parameter)
	case n > maxBatch:
		return badRequest("MaximumBatchSizeExceeded", "Maximum batch size exceeded. Received: %d, allowed: %d.", n, maxBatch)
	}
	return nil
}

// changeMachine reads the body and answers with the machine as change left it.
func (c *call) changeMachine(in any, change func(*machine) error) (answer, error) {
	m, err := c.machine()
	if err != nil {
		return answer{}, err
	}
	if err := c.decode(in); err != nil {
		return answer{}, err
	}
	if err := change(m); err != nil {
		return answer{}, err
	}
	return c.one("Machines", *m)
}
