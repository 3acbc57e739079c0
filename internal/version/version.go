// Package version tells which build this is.
package version

import (
	"runtime"
	"runtime/debug"
)

// Version is set by the linker from `git describe`; a plain `go build` leaves it
// empty, and the module's own version serves instead.
var Version string

// String is the version in one word.
func String() string {
	if Version != "" {
		return Version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

// Go is the version of the Go toolchain.
func Go() string { return runtime.Version() }
