package defenderemu

import (
	"slices"
	"time"
)

// logon is a user's logon to a machine.
type logon struct {
	machine *machine
	user    *user
	kind    string // Interactive, RemoteInteractive or Network
	time    stamp
	from    string // address; empty: at the machine itself
}

// process is the start of a process on a machine.
type process struct {
	machine           *machine
	user              *user
	time              stamp
	file, line, above string // above: the process that started it
	sha1, sha256      string
	pid               int
}

// newLogons gives every machine its usual user and a few visits. The usual
// user's logons come first.
func newLogons(d dice, machines []machine, users []user) []logon {
	var logons []logon
	for i := range machines {
		m, owner := &machines[i], &users[i%len(users)]
		for range 2 + d.IntN(3) {
			logons = append(logons, logon{m, owner, "Interactive", m.LastSeen.after(-d.within(20 * 24 * time.Hour)), ""})
		}
		if d.percent(30) {
			guest := &users[d.IntN(len(users))]
			kind := pick(d, []string{"RemoteInteractive", "Network"})
			logons = append(logons, logon{m, guest, kind, m.LastSeen.after(-d.within(9 * 24 * time.Hour)), d.address()})
		}
	}
	return logons
}

// routine is what runs on a machine day by day.
var routine = []struct{ file, line, above string }{
	{"svchost.exe", "svchost.exe -k netsvcs -p", "services.exe"},
	{"chrome.exe", `"chrome.exe" --type=renderer`, "chrome.exe"},
	{"outlook.exe", `"OUTLOOK.EXE" /recycle`, "explorer.exe"},
	{"teams.exe", `"ms-teams.exe"`, "explorer.exe"},
	{"powershell.exe", "powershell.exe -File C:\\ops\\inventory.ps1", "taskeng.exe"},
	{"cmd.exe", "cmd.exe /c whoami", "explorer.exe"},
}

// newProcesses makes what runs every day, and beside it what the alerts are about.
func newProcesses(d dice, machines []machine, users []user, alerts []alert) []process {
	hashes := make([][2]string, len(routine))
	for i := range hashes {
		hashes[i] = [2]string{d.hex(40), d.hex(64)}
	}
	var all []process
	for i := range machines {
		m := &machines[i]
		for range 4 {
			r := d.IntN(len(routine))
			all = append(all, process{
				machine: m, user: &users[i%len(users)], time: m.LastSeen.after(-d.within(20 * 24 * time.Hour)),
				file: routine[r].file, line: routine[r].line, above: routine[r].above,
				sha1: hashes[r][0], sha256: hashes[r][1], pid: 1000 + 4*d.IntN(4000),
			})
		}
	}
	for i := range alerts {
		all = append(all, started(&alerts[i], machines, users)...)
	}
	return all
}

// started returns the processes in an alert's evidence.
func started(a *alert, machines []machine, users []user) []process {
	m := slices.IndexFunc(machines, func(m machine) bool { return m.ID == a.MachineID })
	u := slices.IndexFunc(users, func(u user) bool { return u.name == a.RelatedUser.UserName })
	var all []process
	for _, e := range a.Evidence {
		if e.EntityType == "Process" {
			all = append(all, process{
				machine: &machines[m], user: &users[u], time: e.CreationTime, file: string(e.FileName), line: string(e.CommandLine),
				above: "explorer.exe", sha1: string(e.SHA1), sha256: string(e.SHA256), pid: *e.ProcessID,
			})
		}
	}
	return all
}
