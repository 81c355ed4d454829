//go:build !unix

package cli

// forbidCore does nothing here: without a debugger there are no core files.
func forbidCore() error { return nil }
