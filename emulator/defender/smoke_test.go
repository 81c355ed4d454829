package defenderemu
import "testing"
func TestSmoke(t *testing.T) {
	e := newEmulator(t)
	for _, p := range []string{"/api/incidents?$top=1","/api/machines?$top=1","/api/alerts?$top=1&$expand=evidence","/v1.0/security/incidents?$top=1&$expand=alerts"} {
		b := e.get(p)
		s := b.Body.String()
		if len(s) > 3500 { s = s[:3500] }
		t.Log(p, b.Code, s)
	}
	for _, p := range []string{"/api/incidents","/api/machines","/api/alerts","/api/machines/SoftwareVulnerabilitiesByMachine"} {
		b := e.get(p)
		t.Log(p, b.Code, b.Body.Len(), len(e.list(p).Value))
	}
}
