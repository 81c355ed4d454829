package store

import (
	"os"
	"path/filepath"
)

// stateFolder is where this user's programs keep what outlives a run. On
// Windows it is the half of the profile that stays on this machine, as its
// keychain does; on Linux that of the XDG Base Directory Specification.
func stateFolder(goos string) (string, error) {
	switch goos {
	case "windows":
		return os.UserCacheDir() // %LocalAppData%
	case "darwin":
		return os.UserConfigDir() // ~/Library/Application Support
	}
	if folder := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(folder) { // a relative one counts for nothing
		return folder, nil
	}
	home, err := os.UserHomeDir()
	return filepath.Join(home, ".local", "state"), err
}
