// Package process is the worker of package keysetdtest's daemons: a test binary that is started once
// more. It imports little, so that its init, which makes of the process a worker, runs before most others.
package process

import (
	"fmt"
	"os"
	"syscall"

	"keysetd.example/hsm/worker"
)

// Variable is the environment variable that tells a process what it is to be. No test has it in
// its own environment, and none of its other children inherits it. The command line would not do: a
// worker's is `token`, which may be a command of the project under test.
const Variable = "KEYSETDTEST_PROCESS"

// The values of Variable.
const (
	Daemon = "daemon"
	Worker = "worker"
)

// A process with Variable never gets to main, whatever else it was given: main would be the tests,
// which would start a daemon, which would be the tests again. A daemon is made by package
// keysetdtest's init, since it needs more than is here.
func init() {
	switch role := os.Getenv(Variable); role {
	case "", Daemon:
	case Worker:
		syscall.Exit(worker.Main())
	default:
		fmt.Fprintf(os.Stderr, "keysetdtest: %s is %q, which is no process of package keysetdtest\n", Variable, role)
		syscall.Exit(2)
	}
}
