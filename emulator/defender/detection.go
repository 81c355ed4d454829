package defenderemu

// detection is a kind of alert.
type detection struct {
	title, description         string
	severity, category, source string
	family, threat             string
	techniques                 []string
	file, command              string // what ran; empty: nothing
	host                       string // whom it talked to; empty: nobody
}

// detections are the kinds of alert that occur, common ones first.
var detections = []detection{
	{
		title: "'Wacatac' malware was prevented", severity: "Low", category: "Malware", source: "WindowsDefenderAv",
		description: "Malware and unwanted software was found and blocked before it ran.",
		family:      "Wacatac", threat: "Trojan:Win32/Wacatac.B!ml", techniques: []string{},
		file: "invoice_0871.exe", command: "invoice_0871.exe /S",
	},
	{
		title: "Suspicious PowerShell command line", severity: "Medium", category: "Execution", source: "WindowsDefenderAtp",
		description: "A PowerShell process was started with an encoded command, as attackers do to hide what it downloads.",
		techniques:  []string{"T1059.001", "T1027"},
		file:        "powershell.exe", command: "powershell.exe -NoP -W Hidden -Enc SQBFAFgA", host: "cdn.dropper.test",
	},
	{
		title: "Connection to a custom network indicator", severity: "Informational", category: "CommandAndControl", source: "CustomTI",
		description: "A machine connected to an address that an indicator names.",
		techniques:  []string{"T1071"}, host: "beacon.dropper.test",
	},
	{
		title: "Email messages containing malicious URL removed after delivery", severity: "Informational", category: "InitialAccess", source: "OfficeATP",
		description: "Messages with a link found malicious after delivery were removed from mailboxes.",
		techniques:  []string{"T1566.002"}, host: "login.phish.test",
	},
	{
		title: "Suspicious process injection observed", severity: "Medium", category: "DefenseEvasion", source: "WindowsDefenderAtp",
		description: "A process injected code into another one, which lets it hide behind a trusted name.",
		techniques:  []string{"T1055"},
		file:        "rundll32.exe", command: `rundll32.exe C:\ProgramData\x.dll,Start`,
	},
	{
		title: "Anomalous account lookups", severity: "Low", category: "Discovery", source: "WindowsDefenderAtp",
		description: "A process listed users and groups of the domain in an unusual way.",
		techniques:  []string{"T1087.002", "T1069.002"},
		file:        "net.exe", command: `net.exe group "Domain Admins" /domain`,
	},
	{
		title: "Suspicious scheduled task", severity: "Medium", category: "Persistence", source: "WindowsDefenderAtp",
		description: "A scheduled task that starts a script from a temporary folder was registered.",
		techniques:  []string{"T1053.005"},
		file:        "schtasks.exe", command: `schtasks.exe /create /tn Updater /tr C:\Users\Public\u.ps1 /sc minute`,
	},
	{
		title: "Possible attempt to steal credentials", severity: "High", category: "CredentialAccess", source: "WindowsDefenderAtp",
		description: "A process read the memory of lsass.exe, where credentials of signed-in users are kept.",
		techniques:  []string{"T1003.001"},
		file:        "procdump64.exe", command: "procdump64.exe -ma lsass.exe out.dmp",
	},
	{
		title: "Suspicious remote activity", severity: "High", category: "LateralMovement", source: "WindowsDefenderAtp",
		description: "A service was created on this machine from another one.",
		techniques:  []string{"T1021.002", "T1569.002"},
		file:        "psexesvc.exe", command: "psexesvc.exe -accepteula",
	},
	{
		title: "Ransomware behavior detected in the file system", severity: "High", category: "Impact", source: "WindowsDefenderAtp",
		description: "Many files were renamed and overwritten in a short time.",
		family:      "Lockbit", threat: "Ransom:Win32/Lockbit.STA", techniques: []string{"T1486", "T1490"},
		file: "svch0st.exe", command: "svch0st.exe -path C:\\",
	},
	{
		title: "Unusual volume of file deletion", severity: "Medium", category: "Exfiltration", source: "MCAS",
		description: "A user downloaded and deleted far more files than on other days.",
		techniques:  []string{"T1048"}, host: "share.storage.test",
	},
}
