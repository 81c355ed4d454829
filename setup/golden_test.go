package setup_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tokenbroker/setup"
)

// What a reviewer would see: after a change of a template, run the tests with
// -update and read the difference.
func TestScriptsAreAsInTheGoldenFiles(t *testing.T) {
	for name, want := range scenarios(t) {
		p := plan(t, want)
		texts := map[string]string{"tokenbroker.yaml": p.Config(tenantID, clientID)}
		for _, f := range setup.Formats() {
			texts[f.FileName()] = script(t, p, f)
		}
		want.Now = now
		checkAz(t, texts["register.sh"], &want, p)
		checkPowerShell(t, texts["register.ps1"], &want, p)
		checkTerraform(t, texts["register.tf"], &want, p)
		for file, text := range texts {
			golden := filepath.Join("testdata", "golden", name, file)
			if *update {
				if err := os.MkdirAll(filepath.Dir(golden), 0o750); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(golden, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), text); diff != "" {
				t.Errorf("%s (-want +got):\n%s", golden, diff)
			}
		}
	}
}
