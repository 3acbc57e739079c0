// Package hsmtest gives tests real tokens, with the test binary as their worker: SoftHSM in a directory of its
// own; behind the fault module; behind p11-kit; NSS and openCryptoki where present. Conformance is what all
// tokens must pass. Package memory below it is a token without cgo.
package hsmtest

import (
	"os"
	"testing"

	"keysetd.example/hsm/worker"
)

// Main is a TestMain: it runs the tests, or serves as the worker that they started. Every
// package that uses SoftHSM needs
//
//	func TestMain(m *testing.M) { hsmtest.Main(m) }
func Main(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "token" {
		os.Exit(worker.Main())
	}
	os.Exit(m.Run())
}
