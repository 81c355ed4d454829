//go:build !unix

package cli

import "io/fs"

// limitMode does nothing here: access to a Unix socket is that of its folder.
func limitMode(fs.FileMode) (restore func()) { return func() {} }

// writersOf does not know here: folders have access lists and no modes.
func writersOf(fs.FileInfo) (string, error) { return "", nil }
