//go:build !unix

package cli

import "io/fs"

// ours does not know here: files have access lists and no modes.
func ours(fs.FileInfo) bool { return true }

// private does not know here either.
func private(fs.FileInfo) bool { return true }
