// Package hsmtest gives tests a real token: SoftHSM in a directory of its own, with the
// test binary as its worker. Package memory below it is a token without cgo.
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
