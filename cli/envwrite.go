package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// writeEnv writes variables for the program that will set them, and notes as its
// comments.
func writeEnv(w io.Writer, format string, variables []envVariable, notes []string) error {
	if format == "json" {
		return writeJSON(w, envJSON(variables, notes))
	}
	var b strings.Builder
	if format == "k8s" && len(variables) > 0 {
		b.WriteString("env:\n")
	}
	line := map[string]func(envVariable) string{"shell": shellLine, "dotenv": dotenvLine, "k8s": k8sLine, "powershell": powershellLine}[format]
	for _, v := range variables {
		b.WriteString(line(v))
	}
	for _, note := range notes {
		b.WriteString("# " + note + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// firstKey is a script for sed that prints the first line that is neither empty
// nor a comment, as the broker reads a file of keys.
const firstKey = `/^[[:space:]]*[^#[:space:]]/{s/^[[:space:]]*//;s/[[:space:]]*$//;p;q;}`

// shellLine is POSIX. The key is read in an assignment of its own, whose failure
// is not lost as that of an export would be.
func shellLine(v envVariable) string {
	if v.keyFile == "" {
		return "export " + v.name + "=" + shellQuote(v.value) + "\n"
	}
	return fmt.Sprintf("%[1]s=\"$(sed -n '%[2]s' < %[3]s)\"\nexport %[1]s\n", v.name, firstKey, shellQuote(v.keyFile))
}

// shellQuote makes one word of s: nothing means anything between single quotes
// but the next one (POSIX.1-2024, Shell Command Language §2.2.2).
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// dotenvLine is for docker compose, Node and their like. Without need it quotes
// nothing: docker run --env-file takes quotes for a part of the value.
func dotenvLine(v envVariable) string {
	switch {
	case v.keyFile != "":
		return fmt.Sprintf("# %s= the first key in %s: a .env file runs no command, and a file that holds a key belongs in no repository.\n", v.name, field(v.keyFile))
	case strings.Trim(v.value, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./:@%+,-[]") == "":
		return v.name + "=" + v.value + "\n"
	case !strings.Contains(v.value, "'"):
		return v.name + "='" + v.value + "'\n"
	}
	return v.name + `="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`).Replace(v.value) + "\"\n"
}

// k8sLine is an element of a container's env. A JSON string is one of YAML.
func k8sLine(v envVariable) string {
	if v.keyFile == "" {
		quoted, _ := json.Marshal(v.value) // a string: it cannot fail
		return fmt.Sprintf("  - {name: %s, value: %s}\n", v.name, quoted)
	}
	return fmt.Sprintf("  # the Secret holds the first key in %s alone: no comment, no line break\n", field(v.keyFile)) +
		fmt.Sprintf("  - {name: %s, valueFrom: {secretKeyRef: {name: YOUR-SECRET, key: YOUR-KEY}}}\n", v.name)
}

func powershellLine(v envVariable) string {
	if v.keyFile == "" {
		return "$env:" + v.name + " = " + powershellQuote(v.value) + "\n"
	}
	return fmt.Sprintf("$env:%s = (Get-Content -ErrorAction Stop -LiteralPath %s | Where-Object { $_ -match '^\\s*[^#\\s]' } | Select-Object -First 1).Trim()\n", v.name, powershellQuote(v.keyFile))
}

// powershellQuote doubles what ends a string between single quotes. Those of
// typography do too: "about_Quoting_Rules", learn.microsoft.com/powershell.
func powershellQuote(s string) string {
	for _, quote := range []string{"'", "‘", "’", "‚", "‛"} {
		s = strings.ReplaceAll(s, quote, quote+quote)
	}
	return "'" + s + "'"
}

// envView is what env prints as JSON.
type envView struct {
	Variables []envVariableView `json:"variables"`
	Notes     []string          `json:"notes"`
}

type envVariableView struct {
	Name    string `json:"name"`
	Value   string `json:"value,omitempty"`
	KeyFile string `json:"key_file,omitempty"` // whose first key is the value
}

func envJSON(variables []envVariable, notes []string) envView {
	view := envView{Variables: []envVariableView{}, Notes: notes}
	for _, v := range variables {
		view.Variables = append(view.Variables, envVariableView{v.name, v.value, v.keyFile})
	}
	return view
}
