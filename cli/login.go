package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tokenbroker/broker"
	"tokenbroker/entra"
)

func newLogin(sys System) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "login IDENTITY",
		Short: "Sign a user in to an identity of the running broker",
		Long: "login signs a user in to an identity of kind device-code or browser. The running broker\n" +
			"does it; the command says what to do and waits, for a quarter of an hour at most.\n" +
			"With --direct no broker has to run: the sign-in is kept where the identity's store is,\n" +
			"and a broker that runs or starts there goes on with it.",
		Example: "  tokenbroker login me\n" +
			"  tokenbroker login me --browser --prompt select_account\n" +
			"  tokenbroker login me --direct --config tokenbroker.yaml",
		Args: cobra.ExactArgs(1),
	}
	form := url.Values{}
	flags := cmd.Flags()
	browser := flags.Bool("browser", false, "by a browser that is sent back to the broker, whatever the identity's kind")
	prompt := flags.String("prompt", "", "with a browser: select_account, login or consent (default select_account)")
	scope := flags.String("scope", "", "what to consent to (default: that of the identity's first route)")
	direct := directFlags(cmd, sys)
	running := clientFlags(cmd, sys)
	output := outputFlag(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		form.Set("identity", args[0])
		for name, value := range map[string]string{"prompt": *prompt, "scope": *scope} {
			if value != "" {
				form.Set(name, value)
			}
		}
		if *browser {
			form.Set("browser", "true")
		}
		login := running.login
		if direct.on {
			login = direct.login
		}
		account, err := login(cmd.Context(), sys, form)
		switch {
		case err != nil:
			return err
		case *output == "json":
			return writeJSON(sys.Out, map[string]any{"identity": args[0], "account": account})
		}
		_, err = fmt.Fprintf(&printable{sys.Out}, "%s: %s is signed in\n", args[0], field(account.Username))
		return err
	}
	return cmd
}

// login has the broker sign a user in, and shows what to do.
func (c *client) login(ctx context.Context, sys System, form url.Values) (*broker.Account, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	resp, err := c.send(ctx, http.MethodPost, "/login", form)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxAnswer)
	for lines.Scan() {
		var problem json.RawMessage
		line := signInLine{Problem: &problem}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return nil, c.strange()
		}
		switch {
		case line.Account != nil:
			return line.Account, nil
		case len(problem) > 0:
			return nil, refusal(resp, problem)
		case line.Prompt == nil:
			return nil, c.strange()
		}
		line.Prompt.show(ctx, sys, func(pasted string) error {
			return c.post(ctx, "/login/answer", url.Values{"identity": form["identity"], "url": {pasted}}, &struct{}{})
		})
	}
	if err := lines.Err(); err != nil {
		return nil, c.unreachable(err)
	}
	return nil, entra.Errorf(entra.Unavailable, "", "%s: it ended before the sign-in did", c.where())
}

// show says what to do, and takes the address that the browser ended at where
// that may be pasted.
func (p *signInPrompt) show(ctx context.Context, sys System, answer func(pasted string) error) {
	out := &printable{sys.Err}
	fmt.Fprintln(out, p.Message)
	if p.UserCode == "" {
		fmt.Fprintln(out, p.URL)
		if sys.In != nil {
			go paste(ctx, sys, answer) // ends with ctx at the next line, or with the program
		}
	}
}

// paste passes on the addresses that the user pastes, until one is the right
// one.
func paste(ctx context.Context, sys System, answer func(pasted string) error) {
	lines := bufio.NewScanner(sys.In)
	for lines.Scan() && ctx.Err() == nil {
		pasted := strings.TrimSpace(lines.Text())
		if pasted == "" {
			continue
		}
		err := answer(pasted)
		if err == nil || ctx.Err() != nil {
			return
		}
		fmt.Fprintln(&printable{sys.Err}, "tokenbroker: "+faults(err))
	}
}

func newLogout(sys System) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "logout IDENTITY",
		Short: "Sign the user of an identity out of the running broker",
		Args:  cobra.ExactArgs(1),
	}
	direct := directFlags(cmd, sys)
	running := clientFlags(cmd, sys)
	output := outputFlag(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		answer := struct {
			Identity string `json:"identity"`
		}{args[0]}
		err := error(nil)
		if direct.on {
			err = direct.logout(cmd.Context(), sys, args[0])
		} else {
			err = running.post(cmd.Context(), "/logout", url.Values{"identity": {args[0]}}, &answer)
		}
		if err != nil {
			return err
		}
		if *output == "json" {
			return writeJSON(sys.Out, answer)
		}
		_, err = fmt.Fprintf(sys.Out, "%s: nobody is signed in\n", args[0])
		return err
	}
	return cmd
}

func newWhoami(sys System) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "whoami [IDENTITY]",
		Short: "Say who is signed in to the running broker",
		Long: "whoami says who is signed in to each identity that users sign in to. With a name it is\n" +
			"about that one, and the exit code is 1 where nobody is.",
		Args: cobra.MaximumNArgs(1),
	}
	direct := directFlags(cmd, sys)
	running := clientFlags(cmd, sys)
	output := outputFlag(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		form := url.Values{}
		if len(args) > 0 {
			form.Set("identity", args[0])
		}
		var answer struct {
			Users []whoIs `json:"users"`
		}
		err := error(nil)
		if direct.on {
			answer.Users, err = direct.whoami(cmd.Context(), sys, form.Get("identity"))
		} else {
			err = running.ask(cmd.Context(), http.MethodGet, "/whoami", form, &answer)
		}
		if err != nil {
			return err
		}
		if *output == "json" {
			err = writeJSON(sys.Out, answer)
		} else {
			err = writeUsers(sys, answer.Users)
		}
		if err == nil && len(args) > 0 && (len(answer.Users) != 1 || answer.Users[0].Account == nil) {
			return exitError(exitFailed)
		}
		return err
	}
	return cmd
}

func writeUsers(sys System, users []whoIs) error {
	rows := [][]string{{"IDENTITY", "TENANT", "USER", "SIGNED IN"}}
	for _, u := range users {
		row := []string{u.Identity, string(u.Tenant), "-", field(u.Detail)}
		if u.Account != nil {
			row[2], row[3] = field(u.Account.Username), u.Account.SignedIn.UTC().Format(time.RFC3339)
		}
		rows = append(rows, row)
	}
	return table(sys.Out, rows)
}
