package setup_test

import (
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"tokenbroker/setup"
)

// cmdlets are those that the scripts use, with their parameters as in the
// reference of the module Microsoft.Graph,
// https://learn.microsoft.com/powershell/microsoftgraph/overview.
var cmdlets = map[string]string{
	"Connect-MgGraph":                                 "-Environment -TenantId -Scopes -NoWelcome",
	"Get-MgContext":                                   "",
	"Get-MgApplication":                               "-ApplicationId -Filter -All -Property",
	"New-MgApplication":                               "-DisplayName -SignInAudience",
	"Update-MgApplication":                            "-ApplicationId -SignInAudience -RequiredResourceAccess -Web -PublicClient -IsFallbackPublicClient -KeyCredentials",
	"Add-MgApplicationPassword":                       "-ApplicationId -PasswordCredential",
	"Get-MgApplicationFederatedIdentityCredential":    "-ApplicationId -All",
	"New-MgApplicationFederatedIdentityCredential":    "-ApplicationId -BodyParameter",
	"Update-MgApplicationFederatedIdentityCredential": "-ApplicationId -FederatedIdentityCredentialId -BodyParameter",
	"Get-MgServicePrincipal":                          "-ServicePrincipalId -Filter",
	"New-MgServicePrincipal":                          "-AppId",
	"Get-MgServicePrincipalAppRoleAssignment":         "-ServicePrincipalId -All",
	"New-MgServicePrincipalAppRoleAssignment":         "-ServicePrincipalId -PrincipalId -ResourceId -AppRoleId",
	"Get-MgOauth2PermissionGrant":                     "-Filter -All",
	"New-MgOauth2PermissionGrant":                     "-ClientId -ConsentType -ResourceId -Scope",
	"Update-MgOauth2PermissionGrant":                  "-OAuth2PermissionGrantId -Scope",
	"Set-StrictMode":                                  "-Version",
	"Start-Sleep":                                     "-Seconds",
	"Write-Host":                                      "",
	"Write-Output":                                    "",
	"Where-Object":                                    "",
	"Test-Path":                                       "-LiteralPath",
	"New-Item":                                        "-ItemType -Path",
	"New-Object":                                      "",
	"Set-Acl":                                         "-LiteralPath -AclObject",
	"Set-Content":                                     "-LiteralPath -Value -NoNewline -Encoding",
	"Remove-Item":                                     "-LiteralPath",
	"Invoke-Again":                                    "",
	"Get-Resource":                                    "",
	"Get-PermissionId":                                "",
	"Grant-Permission":                                "",
}

// operators begin with a hyphen too.
var operators = strings.Fields("-eq -ne -ge -gt -and -not -join -contains")

var (
	psCmdlet    = regexp.MustCompile(`^[A-Z][a-z]+-[A-Z][A-Za-z0-9]*`)
	psParameter = regexp.MustCompile(`^-[A-Za-z][A-Za-z0-9]*`)
)

// checkBraces reads a script as PowerShell cuts it up: strings, comments and
// brackets. It returns the script without what stands in strings and comments.
func checkBraces(text string) (string, error) {
	if i := strings.IndexFunc(text, func(r rune) bool { return r >= 0x80 }); i >= 0 {
		return "", fmt.Errorf("%.10q is not ASCII: a code page might read it as a quote", text[i:])
	}
	var open []byte
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '#':
			for i+1 < len(text) && text[i+1] != '\n' {
				i++
			}
		case '\'':
			end := i + 1
			for ; end < len(text) && (text[end] != '\'' || end+1 < len(text) && text[end+1] == '\''); end++ {
				if text[end] == '\'' {
					end++
				}
			}
			if end >= len(text) {
				return "", fmt.Errorf("a string without an end: %.40q", text[i:])
			}
			i = end
			b.WriteString("''")
		case '"':
			end, err := psExpandable(text, i+1)
			if err != nil {
				return "", err
			}
			i = end
			b.WriteString(`""`)
		case '`':
			return "", fmt.Errorf("a backquote: %.40q", text[i:])
		case '(', '{', '[':
			open = append(open, c)
			b.WriteByte(c)
		case ')', '}', ']':
			if len(open) == 0 || !slices.Contains([]string{"()", "{}", "[]"}, string([]byte{open[len(open)-1], c})) {
				return "", fmt.Errorf("%c closes nothing: %.40q", c, text[i:])
			}
			open = open[:len(open)-1]
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	if len(open) > 0 {
		return "", fmt.Errorf("%q stay open", open)
	}
	return b.String(), nil
}

// psExpandable returns the end of a double-quoted string.
func psExpandable(text string, i int) (int, error) {
	for depth := 0; i < len(text); i++ {
		switch {
		case strings.HasPrefix(text[i:], "$("):
			depth++
			i++
		case depth > 0 && text[i] == '(':
			depth++
		case depth > 0 && text[i] == ')':
			depth--
		case text[i] == '`' || text[i] == '\n':
			return 0, fmt.Errorf("a backquote or a line break in a string: %.40q", text[i:])
		case depth == 0 && text[i] == '"':
			return i, nil
		}
	}
	return 0, fmt.Errorf("a string without an end")
}

// psValue reads what psQuote writes.
func psValue(expression string) (string, error) {
	if inner, ok := strings.CutPrefix(expression, "("); ok {
		expression, ok = strings.CutSuffix(inner, ")")
		if !ok {
			return "", fmt.Errorf("no end: %s", expression)
		}
	}
	var units []uint16
	for rest := expression; ; {
		switch {
		case strings.HasPrefix(rest, "'"):
			text := ""
			for rest = rest[1:]; !strings.HasPrefix(rest, "'") || strings.HasPrefix(rest, "''"); {
				if rest == "" {
					return "", fmt.Errorf("no end: %s", expression)
				}
				text += rest[:1]
				if rest[0] == '\'' {
					rest = rest[1:]
				}
				rest = rest[1:]
			}
			units = append(units, utf16.Encode([]rune(text))...)
			rest = rest[1:]
		case strings.HasPrefix(rest, "[char]0x") && len(rest) >= 12:
			unit, err := strconv.ParseUint(rest[8:12], 16, 16)
			if err != nil {
				return "", err
			}
			units = append(units, uint16(unit))
			rest = rest[12:]
		default:
			return "", fmt.Errorf("not an expression of strings: %s", expression)
		}
		if rest == "" {
			return string(utf16.Decode(units)), nil
		}
		var more bool
		if rest, more = strings.CutPrefix(rest, " + "); !more {
			return "", fmt.Errorf("not an expression of strings: %s", expression)
		}
	}
}

func checkPowerShell(t fataler, text string, want *setup.Want, p *setup.Plan) {
	code, err := checkBraces(text)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	cmdlet, seen := "", map[string]bool{}
	words := regexp.MustCompile(`[\s(){};|=,@&]+`).Split(code, -1)
	for i, word := range words {
		if name := psCmdlet.FindString(word); name != "" {
			if _, known := cmdlets[name]; !known || name != word {
				t.Errorf("%q is no command that a script may call", word)
			}
			cmdlet = name
			seen[name] = true
			continue
		}
		parameter := psParameter.FindString(word)
		if parameter == "" || slices.Contains(operators, parameter) || i > 0 && words[i-1] == "600" { // chmod 600 -- file
			continue
		}
		if !slices.Contains(strings.Fields(cmdlets[cmdlet]), parameter) {
			t.Errorf("%s has no parameter %s", cmdlet, parameter)
		}
	}
	var needed, named []string
	for _, permission := range p.Permissions() {
		needed = append(needed, permission.Name)
	}
	for _, m := range regexp.MustCompile(`(?m)^\$\w+ = Get-PermissionId \$\w+ '([^']*)'$`).FindAllStringSubmatch(text, -1) {
		named = append(named, m[1])
	}
	if diff := cmp.Diff(needed, named); diff != "" {
		t.Errorf("permissions looked up (-want +got):\n%s", diff)
	}
	grants := 0
	for _, m := range regexp.MustCompile(`(?m)^    Grant-Permission \$\w+\.Id (\S.*)$`).FindAllStringSubmatch(text, -1) {
		grants += len(strings.Fields(m[1]))
	}
	if grants != len(needed) {
		t.Errorf("got %d grants, want %d", grants, len(needed))
	}
	given := map[string]string{"name": want.Name}
	if c, ok := want.Credential.(setup.Secret); ok {
		given["secretFile"] = c.File
	}
	if want.Name != "" {
		given["filter"] = givenIn(want)["FILTER"]
	}
	for name, want := range given {
		m := regexp.MustCompile(`(?m)^\$` + name + ` = (.*)$`).FindStringSubmatch(text)
		if want == "" {
			continue
		}
		if m == nil {
			t.Fatalf("$%s is not set in\n%s", name, text)
		}
		if got, err := psValue(m[1]); got != want || err != nil {
			t.Errorf("$%s: got %q (%v), want %q", name, got, err, want)
		}
	}
}

func TestAnyPowerShellScriptIsWellFormed(t *testing.T) {
	wants := anyWant(t)
	rapid.Check(t, func(t *rapid.T) {
		want := wants.Draw(t, "want")
		p, err := setup.New(catalogueOf(t), want)
		if err != nil {
			t.Fatal(err)
		}
		text, err := p.Script(setup.PowerShell)
		if err != nil {
			t.Fatal(err)
		}
		checkPowerShell(t, text, &want, p)
	})
}

// PowerShell itself has the last word, where it is installed.
func TestPowerShellReadsTheScripts(t *testing.T) {
	pwsh, err := exec.LookPath("pwsh")
	if err != nil {
		t.Log("no pwsh here: checked by structure alone")
		return
	}
	const parse = `$faults = $null; $null = [Management.Automation.Language.Parser]::ParseInput(($input | Out-String), [ref]$null, [ref]$faults); $faults; exit $faults.Count`
	for name, want := range scenarios(t) {
		cmd := exec.CommandContext(t.Context(), pwsh, "-NoProfile", "-NonInteractive", "-Command", parse)
		cmd.Stdin = strings.NewReader(script(t, plan(t, want), setup.PowerShell))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
}

func TestThePowerShellCheckFindsFaults(t *testing.T) {
	for text, want := range map[string]string{
		"$a = 'x":                              "without an end",
		"$a = \"x":                             "without an end",
		"$a = \"x`\"":                          "a backquote",
		"$a = x`y":                             "a backquote",
		"if ($a) { b":                          "stay open",
		"if ($a) )":                            "closes nothing",
		"$a = '\u2019'":                        "might read it as a quote",
		"\u2019":                               "might read it as a quote",
		"Get-MgUser -All":                      "no command that a script may call",
		"Get-MgApplication -Everything":        "has no parameter -Everything",
		"$xdr_1 = Get-PermissionId $xdr 'A.B'": "permissions looked up",
	} {
		faults := &recorder{}
		checkPowerShell(faults, text, &setup.Want{}, plan(t, setup.Want{Endpoints: endpoints(t, "GET /api/incidents"), Credential: setup.Secret{Days: 1, File: "f"}}))
		if !strings.Contains(faults.text, want) {
			t.Errorf("%s: got %q, want a fault with %q", text, faults.text, want)
		}
	}
}
