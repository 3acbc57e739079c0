package hsm

import (
	"cmp"
	"time"
)

// cost is what an operation is expected to take of the token. The zero value is that of one of which nothing
// is known.
type cost struct {
	kind *recent // of those like it, of the same method and key spec
	all  *recent // of all: while there was none like it, it is taken to be like any other
}

// micros is the cost in microseconds, 1 at least: what the line charges the share, by what is known when it
// is served, since many may have come before anything was.
func (c cost) micros() uint64 {
	if c.kind == nil {
		return 1
	}
	return max(uint64(cmp.Or(c.kind.get(), c.all.get())/time.Microsecond), 1)
}

// kind is where the durations of m with keys like k are kept.
func (k *Key) kind(m method) *recent { return &k.token.kinds[m][k.spec] }
