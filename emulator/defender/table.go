package defenderemu

// column is one of a table's columns. The type is the API's word for it.
type column struct {
	Name string
	Type string // String, DateTime, Int64 or Double
}

// table is one of the tables that a hunting query can begin with. Its names are
// those of the "advanced hunting schema tables".
type table struct {
	columns []column
	rows    func(t *data) [][]any
}

func columns(kind string, names ...string) []column {
	return each(names, func(name *string) column { return column{*name, kind} })
}

// tableOf returns the table of a name, which is case-sensitive.
func tableOf(name string) (table, bool) {
	dated := func(rows func(*data) [][]any, names ...string) (table, bool) {
		return table{append([]column{{"Timestamp", "DateTime"}}, columns("String", names...)...), rows}, true
	}
	switch name {
	case "AlertInfo":
		return dated(alertInfo, "AlertId", "Title", "Category", "Severity", "ServiceSource", "DetectionSource", "AttackTechniques")
	case "AlertEvidence":
		return dated(alertEvidence, "AlertId", "Title", "Severity", "EntityType", "EvidenceRole", "SHA1", "SHA256", "FileName",
			"RemoteIP", "RemoteUrl", "AccountName", "AccountDomain", "DeviceId", "DeviceName", "ProcessCommandLine")
	case "DeviceInfo":
		return dated(deviceInfo, "DeviceId", "DeviceName", "OSPlatform", "OSVersion", "OSArchitecture", "PublicIP", "MachineGroup",
			"OnboardingStatus", "SensorHealthState", "ExposureLevel", "AadDeviceId", "DeviceManualTags")
	case "DeviceLogonEvents":
		return dated(logonEvents, "DeviceId", "DeviceName", "ActionType", "LogonType", "AccountDomain", "AccountName", "AccountSid", "RemoteIP")
	case "DeviceProcessEvents":
		t, ok := dated(processEvents, "DeviceId", "DeviceName", "ActionType", "FileName", "ProcessCommandLine", "SHA1", "SHA256",
			"AccountDomain", "AccountName", "InitiatingProcessFileName")
		t.columns = append(t.columns, column{"ProcessId", "Int64"})
		return t, ok
	case "DeviceTvmSoftwareInventory":
		return table{columns("String", "DeviceId", "DeviceName", "OSPlatform", "SoftwareVendor", "SoftwareName", "SoftwareVersion"), softwareInventory}, true
	case "DeviceTvmSoftwareVulnerabilities":
		return table{columns("String", "DeviceId", "DeviceName", "OSPlatform", "SoftwareVendor", "SoftwareName", "SoftwareVersion", "CveId",
			"VulnerabilitySeverityLevel"), softwareVulnerabilities}, true
	}
	return table{}, false
}

func alertInfo(t *data) [][]any {
	return each(t.alerts, func(a *alert) []any {
		techniques, _ := marshal(a.MITRETechniques) // strings cannot fail
		return []any{a.AlertCreationTime, a.ID, a.Title, a.Category, a.Severity, serviceOf(a), a.DetectionSource, string(techniques)}
	})
}

func alertEvidence(t *data) [][]any {
	rows := [][]any{}
	for i := range t.alerts {
		a := &t.alerts[i]
		for _, e := range a.Evidence {
			rows = append(rows, []any{
				e.CreationTime, a.ID, a.Title, a.Severity, e.EntityType, "Related", string(e.SHA1), string(e.SHA256), string(e.FileName),
				string(e.IPAddress), string(e.URL), string(e.AccountName), string(e.DomainName), a.MachineID, a.ComputerDNSName, string(e.CommandLine),
			})
		}
	}
	return rows
}

func deviceInfo(t *data) [][]any {
	return each(t.machines, func(m *machine) []any {
		tags, _ := marshal(m.MachineTags) // strings cannot fail
		return []any{
			m.LastSeen, m.ID, m.ComputerDNSName, m.OSPlatform, m.Version, m.OSProcessor, m.LastExternalIP, m.RBACGroupName,
			m.OnboardingStatus, m.HealthStatus, m.ExposureLevel, string(m.AADDeviceID), string(tags),
		}
	})
}

func logonEvents(t *data) [][]any {
	return each(t.logons, func(l *logon) []any {
		return []any{l.time, l.machine.ID, l.machine.ComputerDNSName, "LogonSuccess", l.kind, domain, l.user.name, l.user.sid, l.from}
	})
}

func processEvents(t *data) [][]any {
	return each(t.processes, func(p *process) []any {
		return []any{
			p.time, p.machine.ID, p.machine.ComputerDNSName, "ProcessCreated", p.file, p.line, p.sha1, p.sha256,
			domain, p.user.name, p.above, p.pid,
		}
	})
}

func softwareInventory(t *data) [][]any {
	return each(t.installs, func(in *install) []any {
		return []any{in.machine.ID, in.machine.ComputerDNSName, in.machine.OSPlatform, in.product.vendor, in.product.name, in.version}
	})
}

func softwareVulnerabilities(t *data) [][]any {
	return each(weaknesses(t), func(row *assessment) []any {
		return []any{row.DeviceID, row.DeviceName, row.OSPlatform, row.SoftwareVendor, row.SoftwareName, row.SoftwareVersion, row.CVE, row.Severity}
	})
}
