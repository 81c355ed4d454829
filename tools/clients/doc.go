// Package clients has the SDKs of Go, Node and Python, unmodified, get their
// tokens from the real binary. It is a module of its own: what it needs is none
// of the broker's business. `.ci/run clients` installs the rest.
package clients
