package hsmtest_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/hsm/hsmtest"
	"keysetd.example/internal/keyspec"
)

// soak: KEYSETD_SOAK=1 asks for the long form of the tests that have one.
var soak = os.Getenv("KEYSETD_SOAK") == "1"

// seedVariable replays the faults of an earlier run; when each meets which call is up to the machine.
const seedVariable = "KEYSETD_SOAK_SEED"

func seed(t *testing.T) uint64 {
	t.Helper()
	s := uint64(time.Now().UnixNano())
	if text := os.Getenv(seedVariable); text != "" {
		var err error
		if s, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", seedVariable, err)
		}
	}
	t.Logf("the faults are those of %s=%d", seedVariable, s)
	return s
}

// backWithin is how soon after a fault is over all callers sign again: the two seconds that keysetd
// promises, which the long form holds it to. The short form runs beside other packages' tests on the same
// cores, and with the race detector several times as slow: there it is a bound against waiting for
// something that nobody does.
func backWithin() time.Duration {
	if soak {
		return 2 * time.Second * slowness
	}
	return 6 * time.Second * slowness
}

// TestSoakFailures injects failures of all kinds while callers sign and keys come and go, on
// several tokens at once, since most of a recovery is waiting.
func TestSoakFailures(t *testing.T) {
	failures, keys := 52, []int{2, 4, 6, 8}
	if soak {
		failures, keys = 1000, []int{4, 30, 100, 300}
	}
	s := seed(t)
	var worlds []*world
	start := grown(t)
	for i, n := range keys {
		worlds = append(worlds, newWorld(t, rand.New(rand.NewPCG(s, uint64(i))), n))
	}
	each := func(do func(*world)) {
		var all sync.WaitGroup
		for _, w := range worlds {
			all.Go(func() { do(w) })
		}
		all.Wait()
	}
	each((*world).warmUp)
	if t.Failed() {
		return
	}
	before := grown(t)
	each(func(w *world) { w.suffer(failures / len(worlds)) })
	before.compare(t, grown(t))
	each((*world).settle)
	for _, w := range worlds {
		w.close()
	}
	end := grown(t)
	if end.children != start.children || end.descriptors > start.descriptors {
		t.Errorf("after Close: %v; before Start: %v", end, start)
	}
	var all tally
	for _, w := range worlds {
		all.add(w.tally)
	}
	t.Log(all.String())
}

// world is a token behind the fault module, with those who use it.
type world struct {
	t      *testing.T
	random *rand.Rand // the injector's own
	fault  *hsmtest.Faulty
	soft   *hsmtest.Soft
	token  *hsm.Token

	keys  []*hsm.Key
	there map[string]bool // CKA_IDs of keys
	tally tally

	callers [8]atomic.Int64 // signatures that each has had
	churn   churn
}

// tally is what a world counted.
type tally struct {
	signatures, refused, made, cut, nameless int64
	rounds                                   map[string]int
	slowest                                  time.Duration
	slowestKind                              string
}

func (a *tally) add(b tally) {
	a.signatures += b.signatures
	a.refused += b.refused
	a.made += b.made
	a.cut += b.cut
	a.nameless += b.nameless
	if a.rounds == nil {
		a.rounds = map[string]int{}
	}
	for kind, n := range b.rounds {
		a.rounds[kind] += n
	}
	if b.slowest > a.slowest {
		a.slowest, a.slowestKind = b.slowest, b.slowestKind
	}
}

func (a *tally) String() string {
	n := 0
	for _, times := range a.rounds {
		n += times
	}
	return fmt.Sprintf("%d failures of %d kinds; %d signatures, %d refused; %d keys made and destroyed, %d attempts cut off, %d objects without a name; all callers signing again after at most %v (%s)",
		n, len(a.rounds), a.signatures, a.refused, a.made, a.cut, a.nameless, a.slowest.Round(time.Millisecond), a.slowestKind)
}

// newWorld begins with the keys on the token, made without faults.
func newWorld(t *testing.T, random *rand.Rand, keys int) *world {
	t.Helper()
	w := &world{t: t, random: random, soft: hsmtest.SoftHSM(t), there: map[string]bool{}}
	w.tally.rounds = map[string]int{}
	w.fault = hsmtest.NewFaulty(t, w.soft)
	cfg := w.fault.Config()
	cfg.Verify = hsm.VerifyNone // the callers verify, so that nothing else does it for the token
	cfg.Limits = hsm.Limits{
		Open: 2 * time.Second, Login: 2 * time.Second, List: 2 * time.Second, Destroy: 2 * time.Second, Generate: 2 * time.Second,
		Sign: 300 * time.Millisecond, Finalise: 300 * time.Millisecond,
	}
	w.token = start(t, cfg)
	specs := []keyspec.Spec{keyspec.P256, keyspec.RSA2048, keyspec.P384, keyspec.P256, keyspec.P256}
	for i := range keys {
		spec := specs[i%len(specs)]
		if i > 10 {
			spec = keyspec.P256 // RSA keys take long to make
		}
		key, ref := generate(t, w.token, spec)
		w.keys, w.there[string(ref.ID)] = append(w.keys, key), true
	}
	return w
}

func (w *world) close() {
	if err := w.token.Close(within(w.t, 20*time.Second)); err != nil {
		w.t.Error(err)
	}
}
