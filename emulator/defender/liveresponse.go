package defenderemu

import (
	"strconv"
	"time"
)

// liveCommand is one command of a live response session, with its outcome.
type liveCommand struct {
	Index         int       `json:"index"`
	StartTime     stamp     `json:"startTime"`
	EndTime       stamp     `json:"endTime"`
	CommandStatus string    `json:"commandStatus"`
	Errors        []string  `json:"errors"`
	Command       liveInput `json:"command"`
}

// liveInput is one command as it is asked for.
type liveInput struct {
	Type   string      `json:"type"`
	Params []liveParam `json:"params"`
}

type liveParam struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// maxCommands is how many commands a session may have (MDE: "Run live response
// commands on a device").
const maxCommands = 10

// liveResponse reads the commands of a session.
func liveResponse(a *machineAction, in *actionInput) error {
	if len(in.Commands) == 0 {
		return missing("Commands")
	}
	if len(in.Commands) > maxCommands {
		return badRequest("InvalidInput", "Commands has %d elements: a session runs at most %d.", len(in.Commands), maxCommands)
	}
	for i, command := range in.Commands {
		if err := oneOf("type", &command.Type, "PutFile", "RunScript", "GetFile"); err != nil {
			return err
		}
		if command.Params == nil {
			command.Params = []liveParam{}
		}
		a.Commands = append(a.Commands, liveCommand{Index: i, CommandStatus: "Created", Errors: []string{}, Command: command})
	}
	return nil
}

// getLiveResponseResult gives out where a command's output can be fetched, for
// half an hour (MDE: "Get live response results").
func getLiveResponseResult(c *call) (answer, error) {
	a, err := c.finished("LiveResponse")
	if err != nil {
		return answer{}, err
	}
	index, err := strconv.Atoi(c.param("index"))
	if err != nil || index < 0 || index >= len(a.Commands) {
		return answer{}, badRequest("InvalidInput", "index is %q: the session has commands 0 to %d.", c.param("index"), len(a.Commands)-1)
	}
	return c.value(c.fileLink("liveresponse/"+a.ID+"-"+strconv.Itoa(index)+".json", c.now.after(30*time.Minute)))
}
