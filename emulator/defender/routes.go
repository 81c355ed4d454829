package defenderemu

import (
	"maps"
	"net/http"
	"strings"

	"tokenbroker/defender"
)

// routes says who answers which endpoint, by its name in the catalogue.
func routes() map[string]handler {
	all := map[string]handler{
		"GET /api/incidents":            listIncidents,
		"GET /api/incidents/{id}":       getIncident,
		"PATCH /api/incidents/{id}":     updateIncident,
		"POST /api/advancedhunting/run": runQuery,
		"POST /api/advancedqueries/run": runQuery,

		"GET /api/alerts":                         listAlerts,
		"POST /api/alerts/batchUpdate":            updateAlerts,
		"POST /api/alerts/CreateAlertByReference": createAlert,
		"GET /api/alerts/{id}":                    getAlert,
		"PATCH /api/alerts/{id}":                  updateAlert,
		"GET /api/alerts/{id}/domains":            listAlertEvidence("Domains", domainOf),
		"GET /api/alerts/{id}/files":              listAlertEvidence("Files", fileOf),
		"GET /api/alerts/{id}/ips":                listAlertEvidence("Ips", ipOf),
		"GET /api/alerts/{id}/machine":            getAlertMachine,
		"GET /api/alerts/{id}/user":               getAlertUser,
		"GET /api/investigations":                 listInvestigations,
		"GET /api/investigations/{id}":            getInvestigation,

		"GET /api/files/{id}":                getFile,
		"GET /api/files/{id}/alerts":         alertsAbout(aboutFile),
		"GET /api/files/{id}/machines":       machinesAbout(aboutFile),
		"GET /api/files/{id}/stats":          statsAbout(aboutFile, func(c *call, p *prevalence) { p.SHA1 = c.param("id") }),
		"GET /api/domains/{domain}/alerts":   alertsAbout(aboutDomain),
		"GET /api/domains/{domain}/machines": machinesAbout(aboutDomain),
		"GET /api/domains/{domain}/stats":    statsAbout(aboutDomain, func(c *call, p *prevalence) { p.Host = c.param("domain") }),
		"GET /api/ips/{ip}/alerts":           alertsAbout(aboutIP),
		"GET /api/ips/{ip}/stats":            statsAbout(aboutIP, func(c *call, p *prevalence) { p.IPAddress = c.param("ip") }),
		"GET /api/users/{id}/alerts":         alertsAbout(aboutUser),
		"GET /api/users/{id}/machines":       listUserMachines,

		"GET /api/indicators":              listIndicators,
		"POST /api/indicators":             submitIndicator,
		"POST /api/indicators/import":      importIndicators,
		"POST /api/indicators/BatchDelete": deleteIndicators,
		"DELETE /api/indicators/{id}":      deleteIndicator,

		"GET /api/machines":        listMachines,
		"GET /api/machines/{id}":   getMachine,
		"PATCH /api/machines/{id}": updateMachine,
		"GET /api/machines/findbyip(ip='{ip}',timestamp={timestamp})": findMachinesByIP,
		"GET /api/machines/findbytag":                                 findMachinesByTag,
		"GET /api/machines/{id}/alerts":                               listMachineAlerts,
		"GET /api/machines/{id}/logonusers":                           listMachineUsers,
		"GET /api/machines/{id}/software":                             listMachineSoftware,
		"GET /api/machines/{id}/vulnerabilities":                      listMachineVulnerabilities,
		"GET /api/machines/{id}/recommendations":                      listMachineRecommendations,
		"POST /api/machines/{id}/tags":                                tagMachine,
		"POST /api/machines/AddOrRemoveTagForMultipleMachines":        tagMachines,
		"POST /api/machines/{id}/setDeviceValue":                      setDeviceValue,
		"GET /api/deviceavinfo":                                       listAntivirus,

		"POST /api/machines/{id}/isolate":                                                      act("Isolate", isolation),
		"POST /api/machines/{id}/unisolate":                                                    act("Unisolate", nil),
		"POST /api/machines/{id}/restrictCodeExecution":                                        act("RestrictCodeExecution", nil),
		"POST /api/machines/{id}/unrestrictCodeExecution":                                      act("UnrestrictCodeExecution", nil),
		"POST /api/machines/{id}/runAntiVirusScan":                                             act("RunAntiVirusScan", scanning),
		"POST /api/machines/{id}/offboard":                                                     act("Offboard", nil),
		"POST /api/machines/{id}/collectInvestigationPackage":                                  act("CollectInvestigationPackage", nil),
		"POST /api/machines/{id}/StopAndQuarantineFile":                                        act("StopAndQuarantineFile", quarantine),
		"POST /api/machines/{id}/runliveresponse":                                              act("LiveResponse", liveResponse),
		"POST /api/machines/{id}/startInvestigation":                                           startInvestigation,
		"GET /api/machineactions":                                                              listActions,
		"GET /api/machineactions/{id}":                                                         getAction,
		"POST /api/machineactions/{id}/cancel":                                                 cancelAction,
		"GET /api/machineactions/{id}/getPackageUri":                                           getPackageURI,
		"GET /api/machineactions/{id}/GetLiveResponseResultDownloadLink(index={commandIndex})": getLiveResponseResult,
		"GET /api/libraryfiles":                                                                listLibrary,
		"POST /api/libraryfiles":                                                               uploadLibrary,
		"DELETE /api/libraryfiles/{fileName}":                                                  deleteLibraryFile,

		"GET /api/Software":                                  listSoftware,
		"GET /api/Software/{id}":                             getSoftware,
		"GET /api/Software/{id}/distributions":               listDistributions,
		"GET /api/Software/{id}/machineReferences":           listSoftwareMachines,
		"GET /api/Software/{id}/vulnerabilities":             listSoftwareVulnerabilities,
		"GET /api/vulnerabilities":                           listVulnerabilities,
		"GET /api/vulnerabilities/machinesVulnerabilities":   listMachinesVulnerabilities,
		"GET /api/vulnerabilities/{cveId}":                   getVulnerability,
		"GET /api/vulnerabilities/{cveId}/machineReferences": listVulnerabilityMachines,
		"GET /api/recommendations":                           listRecommendations,
		"GET /api/recommendations/{id}":                      getRecommendation,
		"GET /api/recommendations/{id}/machineReferences":    listRecommendationMachines,
		"GET /api/recommendations/{id}/software":             getRecommendationSoftware,
		"GET /api/recommendations/{id}/vulnerabilities":      listRecommendationVulnerabilities,
		"GET /api/exposureScore":                             getExposureScore,
		"GET /api/exposureScore/ByMachineGroups":             listExposureScores,
		"GET /api/configurationScore":                        getConfigurationScore,

		"GET /api/machines/SoftwareInventoryByMachine":              export(inventory),
		"GET /api/machines/SoftwareVulnerabilitiesByMachine":        export(weaknesses),
		"GET /api/machines/SoftwareVulnerabilityChangesByMachine":   exportChanges,
		"GET /api/machines/SoftwareInventoryNoProductCodeByMachine": export(none),
		"GET /api/Machines/BrowserExtensionsInventoryByMachine":     export(none),
		"GET /api/machines/certificateAssessmentByMachine":          export(none),
		"GET /api/machines/HardwareFirmwareInventoryByMachine":      export(none),
		"GET /api/machines/SecureConfigurationsAssessmentByMachine": export(none),
		"GET /api/machines/baselineComplianceAssessmentByMachine":   export(none),
		"GET /api/machines/SoftwareInventoryExport":                 exportFiles("softwareinventory"),
		"GET /api/machines/SoftwareVulnerabilitiesExport":           exportFiles("softwarevulnerabilities"),
		"GET /api/machines/SoftwareInventoryNonCpeExport":           exportFiles("noncpe"),
		"GET /api/machines/browserextensionsinventoryExport":        exportFiles("browserextensions"),
		"GET /api/machines/certificateAssessmentExport":             exportFiles("certificates"),
		"GET /api/machines/HardwareFirmwareInventoryExport":         exportFiles("firmware"),
		"GET /api/machines/SecureConfigurationsAssessmentExport":    exportFiles("configurations"),
		"GET /api/machines/BaselineComplianceAssessmentExport":      exportFiles("baselines"),
		"GET /api/machines/InfoGatheringExport":                     exportFiles("infogathering"),

		"GET /api/DeviceAuthenticatedScanDefinitions":                                   listScans,
		"POST /api/DeviceAuthenticatedScanDefinitions":                                  addScan,
		"PATCH /api/DeviceAuthenticatedScanDefinitions/{id}":                            updateScan,
		"POST /api/DeviceAuthenticatedScanDefinitions/BatchDelete":                      deleteScans,
		"POST /api/DeviceAuthenticatedScanDefinitions/GetScanHistoryByScanDefinitionId": getScanHistory,

		"GET /v1.0/security/incidents":                                   listGraphIncidents,
		"GET /v1.0/security/incidents/{id}":                              getGraphIncident,
		"PATCH /v1.0/security/incidents/{id}":                            updateGraphIncident,
		"POST /v1.0/security/incidents/{id}/comments":                    commentGraphIncident,
		"GET /v1.0/security/alerts_v2":                                   listGraphAlerts,
		"GET /v1.0/security/alerts_v2/{id}":                              getGraphAlert,
		"PATCH /v1.0/security/alerts_v2/{id}":                            updateGraphAlert,
		"POST /v1.0/security/alerts_v2/{id}/comments":                    commentGraphAlert,
		"POST /v1.0/security/runHuntingQuery":                            runGraphQuery,
		"GET /v1.0/security/secureScores":                                listSecureScores,
		"GET /v1.0/security/secureScores/{id}":                           getSecureScore,
		"GET /v1.0/security/secureScoreControlProfiles":                  listScoreControls,
		"GET /v1.0/security/secureScoreControlProfiles/{id}":             getScoreControl,
		"PATCH /v1.0/security/secureScoreControlProfiles/{id}":           updateScoreControl,
		"GET /v1.0/security/identities/healthIssues":                     listHealthIssues,
		"GET /v1.0/security/identities/healthIssues/{id}":                getHealthIssue,
		"PATCH /v1.0/security/identities/healthIssues/{id}":              updateHealthIssue,
		"GET /v1.0/security/attackSimulation/simulations":                listSimulations,
		"GET /v1.0/security/attackSimulation/simulations/{id}":           getCampaign("simulations"),
		"GET /v1.0/security/attackSimulation/simulationAutomations/{id}": getCampaign("simulationAutomations"),
		"GET /v1.0/security/attackSimulation/operations/{id}":            getCampaign("operations"),

		"GET /api/v1/alerts/": listCloudAppAlerts,
	}
	maps.Copy(all, intelRoutes())
	return all
}

// bind finds the handler of every endpoint.
func bind(c *defender.Catalogue) map[*defender.Endpoint]handler {
	named := map[string]handler{}
	for name, h := range routes() {
		named[strings.ToLower(name)] = h
	}
	bound := map[*defender.Endpoint]handler{}
	for i := range c.Endpoints() {
		e := &c.Endpoints()[i]
		h, ok := named[strings.ToLower(e.String())]
		if !ok {
			h = absent(e)
		}
		bound[e] = h
	}
	return bound
}

// absent answers for an endpoint that has no data here: a list is empty, a
// single thing is not there, and what would change something is switched off.
func absent(e *defender.Endpoint) handler {
	collection := e.Path[strings.LastIndexByte(e.Path, '/')+1:]
	return func(c *call) (answer, error) {
		switch {
		case e.Method != http.MethodGet:
			return answer{}, refuse(http.StatusForbidden, "DisabledFeature", "This emulator does not stand in for %s", e)
		case strings.HasPrefix(collection, "{"):
			return answer{}, notFound("%s was not found", c.URL.Path)
		}
		return list(c, listing{of: collection}, []reference{})
	}
}

// listCloudAppAlerts answers as Defender for Cloud Apps does: there are none.
func listCloudAppAlerts(*call) (answer, error) {
	return answer{body: object{{"data", []reference{}}, {"hasNext", false}, {"total", 0}}}, nil
}
