package hsm_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/hsm/hsmtest/memory"
	"keysetd.example/hsm/wire"
	"keysetd.example/internal/keyspec"
)

// service is how long the token of fairness takes for a signature, on the whole.
const service = 10 * time.Millisecond

// fairness runs f with a token of eight sessions that takes as long as service and up to a fifth longer
// for each signature.
func fairness(t *testing.T, f func(t *testing.T, m *memory.Token, token *hsm.Token, key *hsm.Key)) {
	synctest.Test(t, func(t *testing.T) {
		m := memory.New("t", "1234")
		token, err := hsm.Start(m.Config())
		if err != nil {
			t.Fatal(err)
		}
		defer closeToken(t, token)
		key := generate(t, token, keyspec.Ed25519)
		random := rand.New(rand.NewPCG(1, 2))
		for range 10_000 {
			m.Inject(memory.Fault{Op: wire.OpSign, Delay: service + time.Duration(random.Int64N(int64(service/5)))})
		}
		f(t, m, token, key)
	})
}

// flood keeps n calls for s going until stop is called, which tells how many were signed.
func flood(t *testing.T, key *hsm.Key, s hsm.Share, n int) (stop func() int) {
	var signed atomic.Int64
	ctx, cancel := context.WithCancel(hsm.WithShare(t.Context(), s))
	var callers sync.WaitGroup
	for range n {
		callers.Go(func() {
			for ctx.Err() == nil {
				if err := signOnly(ctx, key); err == nil {
					signed.Add(1)
				} else if ctx.Err() == nil {
					t.Errorf("in the flood: %v", err)
					return
				}
			}
		})
	}
	synctest.Wait()
	return func() int { cancel(); callers.Wait(); return int(signed.Load()) }
}

func signOnly(ctx context.Context, key *hsm.Key) error {
	_, err := key.Sign(ctx, []byte("message"), algorithms(key.Public())[0].opts)
	return err
}

// polite signs n times for s with a pause after each, and returns how long each took, the shortest first.
func polite(t *testing.T, key *hsm.Key, s hsm.Share, n int) (took []time.Duration) {
	t.Helper()
	ctx := hsm.WithShare(t.Context(), s)
	for range n {
		start := time.Now()
		if err := signOnly(ctx, key); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(start))
		time.Sleep(service / 3)
	}
	slices.Sort(took)
	return took
}

// A flood of one caller makes another's p99 no more than twice what it was. Where they are not told
// apart, which is how it is without fairness, it is far worse.
func TestFloodBesideAPoliteCaller(t *testing.T) {
	const signatures = 100
	fairness(t, func(t *testing.T, _ *memory.Token, _ *hsm.Token, key *hsm.Key) {
		one, other := hsm.Share{Owner: "one", Priority: 5}, hsm.Share{Owner: "other", Priority: 5}
		p99 := func(took []time.Duration) time.Duration { return took[len(took)*99/100] }
		alone := polite(t, key, one, signatures)
		stop := flood(t, key, other, 500)
		on := polite(t, key, one, signatures)
		off := polite(t, key, other, 3)
		stop()
		if p99(on) > 2*p99(alone) {
			t.Errorf("beside a flood 99 %% take up to %v, alone %v: want twice that at most", p99(on), p99(alone))
		}
		if off[0] < 10*p99(alone) {
			t.Errorf("as part of the flood one took only %v: the flood is none", off[0])
		}
		t.Logf("p50/p99: alone %v/%v, beside a flood %v/%v, as part of it %v/%v", alone[len(alone)/2], p99(alone), on[len(on)/2], p99(on), off[len(off)/2], p99(off))
	})
}

// Those who ask for more than there is get it by priority, and evenly where that is the same,
// however much each asks for. Nobody is left out.
func TestFloodsShare(t *testing.T) {
	fairness(t, func(t *testing.T, _ *memory.Token, _ *hsm.Token, key *hsm.Key) {
		shares := []hsm.Share{{"a", 5}, {"b", 5}, {"c", 6}, {"d", 0}}
		var stops []func() int
		for i, s := range shares {
			stops = append(stops, flood(t, key, s, 50*(1+i)))
		}
		time.Sleep(4 * time.Second)
		var signed []int
		for _, stop := range stops {
			signed = append(signed, stop())
		}
		t.Logf("%v signed %d", shares, signed)
		near := func(a, b int) bool { return max(a, b)-min(a, b) < (a+b)/20 }
		if !near(signed[0], signed[1]) || !near(signed[0]+signed[1], signed[2]) || signed[3] == 0 || signed[3] > signed[0]/10 {
			t.Errorf("%v signed %d", shares, signed)
		}
	})
}

// Work that takes ten times as long is done a tenth as often: floods share the token's time, and not its
// turns. A caller whose calls are short gets no less beside one whose calls are long.
func TestFloodsShareTheTokensTime(t *testing.T) {
	opening(t, keyspec.P256, nil, func(t *testing.T, m *memory.Token, token *hsm.Token, short *hsm.Key) {
		long := generate(t, token, keyspec.Ed25519)
		for _, f := range []memory.Fault{{Op: wire.OpSign, Delay: service}, {Op: wire.OpDecrypt, Delay: service / 10}} {
			f.Times = 1 << 20
			m.Inject(f)
		}
		var count [2]atomic.Int64
		ctx, cancel := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		flood := func(i int, owner string, do func(context.Context) error) {
			ctx := hsm.WithShare(ctx, hsm.Share{Owner: owner, Priority: 5})
			for range 20 {
				callers.Go(func() {
					for ctx.Err() == nil {
						if err := do(ctx); err == nil {
							count[i].Add(1)
						} else if ctx.Err() == nil {
							t.Error(err)
							return
						}
					}
				})
			}
		}
		flood(0, "long", func(ctx context.Context) error { return signOnly(ctx, long) })
		flood(1, "short", func(ctx context.Context) error { return open(ctx, short) })
		time.Sleep(time.Second / 2) // in which what they cost becomes known
		before := [2]int64{count[0].Load(), count[1].Load()}
		time.Sleep(time.Second)
		cancel()
		callers.Wait()
		n, o := count[0].Load()-before[0], count[1].Load()-before[1]
		t.Logf("%d long ones, %d short ones", n, o)
		if o < 8*n || o > 12*n {
			t.Errorf("%d long ones and %d short ones: want ten for one", n, o)
		}
	})
}

// A flood that fills the queue makes room for others, and for no more than they may have; who has
// to go is told when to come again. It is the same while the token is away.
func TestFullQueueMakesRoom(t *testing.T) {
	for _, up := range []bool{true, false} {
		t.Run(fmt.Sprintf("up=%v", up), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := memory.New("t", "1234")
				cfg := m.Config()
				cfg.Sessions, cfg.Queue = 1, 4
				token, err := hsm.Start(cfg)
				if err != nil {
					t.Fatal(err)
				}
				defer closeToken(t, token)
				key := generate(t, token, keyspec.Ed25519)
				free := make(chan struct{})
				if up {
					m.Inject(memory.Fault{Op: wire.OpSign, Hang: free, Times: 2})
					for range 2 {
						go signOnly(t.Context(), key) // which takes the slots
					}
				} else {
					m.Inject(memory.Fault{Op: wire.OpOpen, Hang: free})
					m.Drop()
				}
				synctest.Wait()
				var callers sync.WaitGroup
				var flooded, refused, others atomic.Int64
				for range 4 {
					callers.Go(func() {
						err := signOnly(hsm.WithShare(t.Context(), hsm.Share{Owner: "flood", Priority: 9}), key)
						if o, ok := errors.AsType[*hsm.OverloadedError](err); ok && o.RetryAfter >= 50*time.Millisecond && !errors.Is(err, hsm.ErrUnavailable) {
							refused.Add(1)
						} else if err == nil {
							flooded.Add(1)
						}
					})
				}
				synctest.Wait()
				other := hsm.WithShare(within(t, time.Minute), hsm.Share{Owner: "other"})
				for range 2 {
					callers.Go(func() {
						if signOnly(other, key) == nil {
							others.Add(1)
						}
					})
				}
				synctest.Wait()
				if refused.Load() != 2 {
					t.Errorf("%d were sent away, want 2", refused.Load())
				}
				if err := signOnly(other, key); !errors.Is(err, hsm.ErrOverloaded) {
					t.Errorf("one more than its part: %v", err)
				}
				close(free)
				callers.Wait()
				if flooded.Load() != 2 || others.Load() != 2 {
					t.Errorf("%d and %d signed, want 2 and 2", flooded.Load(), others.Load())
				}
			})
		})
	}
}

// The queue outlives an epoch: who waits in it is served in the next, and who gives up leaves it at once.
func TestQueueOutlivesAnEpoch(t *testing.T) {
	fairness(t, func(t *testing.T, m *memory.Token, token *hsm.Token, key *hsm.Key) {
		var callers sync.WaitGroup
		var signed, gaveUp atomic.Int64
		for i := range 100 {
			ctx, cancel := context.WithCancel(hsm.WithShare(t.Context(), hsm.Share{Owner: fmt.Sprint(i % 3)}))
			defer cancel()
			callers.Go(func() {
				switch err := signOnly(ctx, key); {
				case err == nil:
					signed.Add(1)
				case errors.Is(err, context.Canceled):
					gaveUp.Add(1)
				default:
					t.Errorf("a caller: %v", err)
				}
			})
			if i >= 90 {
				synctest.Wait()
				cancel()
				synctest.Wait()
				if n := gaveUp.Load(); n != int64(i-89) {
					t.Errorf("%d left the queue, want %d", n, i-89)
				}
			}
		}
		for range 2 { // a call that is under way both times is asked for in a third epoch, and in no fourth
			m.Drop()
			synctest.Wait()
			if err := token.Ready(t.Context()); err != nil {
				t.Error(err)
			}
			time.Sleep(service / 2)
		}
		callers.Wait()
		if signed.Load() != 90 {
			t.Errorf("%d signed, want 90", signed.Load())
		}
	})
}
