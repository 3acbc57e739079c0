package policy

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"pgregory.net/rapid"
)

func TestReserve(t *testing.T) {
	p := mustNew(t, token(func(r *Rule) { r.Rate, r.Burst = 10, 3 }))
	reserve := p.Judge(Caller{UID: 1}, asked("{}")).Reserve
	now := noon
	for i, step := range []struct {
		wait  time.Duration
		n     int
		ok    bool
		retry time.Duration
	}{
		{0, 3, true, 0},
		{0, 1, false, 100 * time.Millisecond},
		{0, 2, false, 200 * time.Millisecond},
		{60 * time.Millisecond, 1, false, 40 * time.Millisecond},
		{40 * time.Millisecond, 1, true, 0},
		{0, 1, false, 100 * time.Millisecond},
		{time.Hour, 3, true, 0}, // it does not pile up beyond the burst
		{0, 1, false, 100 * time.Millisecond},
		{299 * time.Millisecond, 5, false, time.Millisecond}, // more than a burst, when all of that is there
		{time.Millisecond, 5, true, 0},
		{0, 1, false, 300 * time.Millisecond},
		{300 * time.Millisecond, 1, true, 0},
	} {
		now = now.Add(step.wait)
		if i == 0 { // the next request is counted by the same bucket
			reserve = p.Judge(Caller{UID: 1}, asked("{}")).Reserve
		}
		if retry, ok := reserve(step.n, now); ok != step.ok || retry != step.retry {
			t.Errorf("step %d: %v, %v; want %v, %v", i, retry, ok, step.retry, step.ok)
		}
	}
}

func TestBurstDefaults(t *testing.T) {
	for rate, want := range map[float64]int{0.1: 1, 1: 1, 2.5: 2, 100: 100} {
		if got := (Rule{Rate: rate}).burst(); got != want {
			t.Errorf("rate %v: burst %d, want %d", rate, got, want)
		}
	}
}

// Each rule counts by itself, all that come by it together, and only what is signed.
func TestReserveByRule(t *testing.T) {
	group := func(name string, op Operation) Rule {
		return Rule{
			Name: name, GID: new(uint32(5)), Keysets: []string{"a"}, Operations: []Operation{op, Read},
			Algorithms: []jose.SignatureAlgorithm{All}, Rate: 1, Burst: 3,
		}
	}
	p := mustNew(t, group("tokens", JWT), group("payloads", Sign))
	take := func(uid uint32, op Operation) bool {
		r := asked("{}")
		r.Operation = op
		_, ok := p.Judge(Caller{UID: uid, GID: 5}, r).Reserve(1, noon)
		return ok
	}
	for uid := range uint32(10) { // a user with subordinate uids is as many as it likes
		if want := uid < 3; take(uid, JWT) != want || take(uid, Sign) != want {
			t.Errorf("uid %d: the members are not counted together, or not by rule", uid)
		}
	}
	r := asked("")
	r.Operation = Read
	if v := p.Judge(Caller{UID: 1, GID: 5}, r); !v.Granted || v.Reserve != nil {
		t.Errorf("reading: %+v", v)
	}
}

func TestReserveAtOnce(t *testing.T) {
	const burst = 200_000
	r := newRate(1, burst)
	var granted atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range burst {
				if _, ok := r.reserve(1, noon); ok {
					granted.Add(1)
				}
			}
		})
	}
	all.Wait()
	if granted.Load() != burst {
		t.Errorf("%d were granted", granted.Load())
	}
}

// In no span of time is more granted than the burst, or the largest request, and what the rate gives, and retry is
// when it is granted and not before.
func TestReserveKeepsTheRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.Float64Range(0.5, 1e4).Draw(t, "rate")
		burst := rapid.IntRange(1, 50).Draw(t, "burst")
		r := newRate(rate, burst)
		start, now, granted, largest := noon, noon, 0, burst
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(3*r.interval)).Draw(t, "wait")))
			n := rapid.IntRange(1, 2*burst).Draw(t, "n")
			largest = max(largest, n)
			retry, ok := r.reserve(n, now)
			if !ok {
				if _, early := r.reserve(n, now.Add(retry-1)); early || retry <= 0 {
					t.Fatalf("granted before the retry time of %v", retry)
				}
				now = now.Add(retry)
				if _, ok = r.reserve(n, now); !ok {
					t.Fatalf("refused after %v", retry)
				}
			}
			granted += n
			if most := float64(largest) + now.Sub(start).Seconds()/r.interval.Seconds(); float64(granted) > most+1e-6 {
				t.Fatalf("%d granted, at most %v", granted, most)
			}
		}
	})
}
