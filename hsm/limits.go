package hsm

import (
	"fmt"
	"time"

	"keysetd.example/hsm/wire"
)

// limit is the longest an operation may take at the worker. One that takes longer is
// taken to hang, which ends the epoch: a call inside a PKCS#11 library cannot be
// cancelled. A caller's own deadline ends only the caller's wait.
func limit(op wire.Op) time.Duration {
	switch op {
	case wire.OpSign:
		return 10 * time.Second
	case wire.OpGenerate:
		return 10 * time.Minute // an RSA-4096 key in a small token
	}
	return time.Minute
}

// stopLimit is how long a worker is given to finalise the module and exit before it is killed.
const stopLimit = time.Second

// errLimit is the cause of an epoch's end after a call that hung.
func errLimit(op wire.Op) error {
	return fmt.Errorf("%s took longer than its limit of %v", op, limit(op))
}
