package defenderemu

import (
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"
)

// machineAction is something that is done to a machine, as the API writes it
// (MDE: "MachineAction resource type").
type machineAction struct {
	ID                  string        `json:"id"`
	Type                string        `json:"type"`
	Scope               optional      `json:"scope"`
	Requestor           string        `json:"requestor"`
	RequestorComment    string        `json:"requestorComment"`
	Status              string        `json:"status"`
	MachineID           string        `json:"machineId"`
	ComputerDNSName     string        `json:"computerDnsName"`
	Created             stamp         `json:"creationDateTimeUtc"`
	LastUpdate          stamp         `json:"lastUpdateDateTimeUtc"`
	CancellationBy      optional      `json:"cancellationRequestor"`
	CancellationComment optional      `json:"cancellationComment"`
	CancellationTime    stamp         `json:"cancellationDateTimeUtc"`
	ErrorHResult        int           `json:"errorHResult"`
	RelatedFileInfo     *relatedFile  `json:"relatedFileInfo"`
	Commands            []liveCommand `json:"commands"`
}

type relatedFile struct {
	FileIdentifier     string `json:"fileIdentifier"`
	FileIdentifierType string `json:"fileIdentifierType"`
}

// actionInput is what the bodies of the actions may hold.
type actionInput struct {
	Comment       *string     `json:"Comment"`
	IsolationType string      `json:"IsolationType"`
	ScanType      string      `json:"ScanType"`
	SHA1          string      `json:"Sha1"`
	Commands      []liveInput `json:"Commands"`
}

// settled brings an action to what it is at a later time: what was pending is
// done after a while.
func (a machineAction) settled(now stamp, after time.Duration) machineAction {
	done := a.Created.after(after)
	if a.Status != "Pending" || now.Before(done.Time) {
		return a
	}
	a.Status, a.LastUpdate = "Succeeded", done
	a.Commands = each(a.Commands, func(c *liveCommand) liveCommand {
		return liveCommand{Index: c.Index, StartTime: a.Created, EndTime: done, CommandStatus: "Completed", Errors: []string{}, Command: c.Command}
	})
	return a
}

// act starts an action of a kind. The kind's own part of the body is read by
// fill, where it has one.
func act(kind string, fill func(*machineAction, *actionInput) error) handler {
	return func(c *call) (answer, error) {
		m, err := c.machine()
		if err != nil {
			return answer{}, err
		}
		var in actionInput
		if err := c.decode(&in); err != nil {
			return answer{}, err
		}
		if in.Comment == nil || *in.Comment == "" {
			return answer{}, missing("Comment")
		}
		a := machineAction{
			ID: newGUID(), Type: kind, Requestor: c.requestor(), RequestorComment: *in.Comment, Status: "Pending",
			MachineID: m.ID, ComputerDNSName: m.ComputerDNSName, Created: c.now, LastUpdate: c.now, Commands: []liveCommand{},
		}
		if fill != nil {
			if err := fill(&a, &in); err != nil {
				return answer{}, err
			}
		}
		c.data.actions = append(c.data.actions, a)
		return c.created("MachineActions", a)
	}
}

func isolation(a *machineAction, in *actionInput) error {
	err := oneOf("IsolationType", &in.IsolationType, "Full", "Selective", "UnManagedDevice")
	a.Scope = optional(in.IsolationType)
	return err
}

func scanning(a *machineAction, in *actionInput) error {
	err := oneOf("ScanType", &in.ScanType, "Quick", "Full")
	a.Scope = optional(in.ScanType)
	return err
}

func quarantine(a *machineAction, in *actionInput) error {
	a.RelatedFileInfo = &relatedFile{in.SHA1, "Sha1"}
	if in.SHA1 == "" {
		return missing("Sha1")
	}
	if !isHex(in.SHA1, 40) {
		return badRequest("InvalidHashValue", "Hash value %q is invalid.", in.SHA1)
	}
	return nil
}

// isHex reports whether s is n hexadecimal digits.
func isHex(s string, n int) bool {
	_, err := hex.DecodeString(s)
	return err == nil && len(s) == n
}

// oneOf holds a parameter to its values. They are not case-sensitive: the value
// is brought to the spelling that the API answers with.
func oneOf(parameter string, value *string, values ...string) error {
	if *value == "" {
		return missing(parameter)
	}
	i := slices.IndexFunc(values, func(v string) bool { return strings.EqualFold(v, *value) })
	if i < 0 {
		return badRequest("InvalidInput", "%s is %q: want one of %s.", parameter, *value, strings.Join(values, ", "))
	}
	*value = values[i]
	return nil
}

func listActions(c *call) (answer, error) {
	return list(c, listing{of: "MachineActions"}, each(c.data.actions, func(a *machineAction) machineAction {
		return a.settled(c.now, c.server.cfg.ActionTime)
	}))
}

// action finds the action that the path names, as it was written last.
func (c *call) action() (*machineAction, error) {
	for i := range c.data.actions {
		if a := &c.data.actions[i]; strings.EqualFold(a.ID, c.param("id")) {
			return a, nil
		}
	}
	return nil, notFound("MachineAction %s was not found", c.param("id"))
}

func getAction(c *call) (answer, error) {
	a, err := c.action()
	if err != nil {
		return answer{}, err
	}
	return c.one("MachineActions", a.settled(c.now, c.server.cfg.ActionTime))
}

// cancelAction: MDE, "Cancel machine action API".
func cancelAction(c *call) (answer, error) {
	a, err := c.action()
	if err != nil {
		return answer{}, err
	}
	var in struct {
		Comment *string `json:"Comment"`
	}
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	if in.Comment == nil {
		return answer{}, missing("Comment")
	}
	if now := a.settled(c.now, c.server.cfg.ActionTime); now.Status != "Pending" {
		return answer{}, badRequest("BadRequest", "MachineAction %s cannot be cancelled: its status is %s.", a.ID, now.Status)
	}
	a.Status, a.LastUpdate = "Cancelled", c.now
	a.CancellationBy, a.CancellationComment, a.CancellationTime = optional(c.requestor()), optional(*in.Comment), c.now
	return c.one("MachineActions", *a)
}

// finished returns the action that the path names if it is of a kind and done.
func (c *call) finished(kind string) (machineAction, error) {
	a, err := c.action()
	if err != nil {
		return machineAction{}, err
	}
	done := a.settled(c.now, c.server.cfg.ActionTime)
	if done.Type != kind || done.Status != "Succeeded" {
		return machineAction{}, notFound("MachineAction %s has no result: it is %s, %s", done.ID, done.Type, done.Status)
	}
	return done, nil
}

// getPackageURI gives out where an investigation package can be fetched. The
// URL is a JSON string inside a JSON string (MDE: "Get package SAS URI API").
func getPackageURI(c *call) (answer, error) {
	a, err := c.finished("CollectInvestigationPackage")
	if err != nil {
		return answer{}, err
	}
	link := c.fileLink("packages/"+a.ID+".zip", c.now.after(time.Hour))
	if _, plain := c.server.faults.take(PlainPackageURI, c.Request); plain {
		return c.value(link)
	}
	return c.value(strconv.Quote(link))
}

// newActions makes a few actions of the past.
func newActions(d dice, now stamp, machines []machine) []machineAction {
	var all []machineAction
	for _, kind := range []string{"RunAntiVirusScan", "Isolate", "Unisolate", "CollectInvestigationPackage", "StopAndQuarantineFile", "RunAntiVirusScan"} {
		m := &machines[d.IntN(len(machines))]
		at := now.after(-24*time.Hour - d.within(20*24*time.Hour))
		a := machineAction{
			ID: d.guid(), Type: kind, Requestor: "soc@example.test", RequestorComment: "Part of an incident", Status: "Succeeded",
			MachineID: m.ID, ComputerDNSName: m.ComputerDNSName, Created: at, LastUpdate: at.after(5 * time.Minute), Commands: []liveCommand{},
		}
		switch kind {
		case "Isolate", "RunAntiVirusScan":
			a.Scope = "Full"
		case "StopAndQuarantineFile":
			a.RelatedFileInfo = &relatedFile{d.hex(40), "Sha1"}
		}
		all = append(all, a)
	}
	return all
}
