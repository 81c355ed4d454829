//go:build !unix

package cli

// keepPrivate does nothing here: access to a Unix socket is that of its folder.
func keepPrivate() (restore func()) { return func() {} }

// forbidCore does nothing here: without a debugger there are no core files.
func forbidCore() error { return nil }
