package signing

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"keysetd.example/signing/policy"
)

// However requests and swaps interleave: nobody holds a state that is drained, and each is in the end.
func TestTermsUnderLoad(t *testing.T) {
	const swaps, callers = 2000, 4
	s := New(Config{}, new(State))
	var (
		mu      sync.Mutex
		drained = map[*State]<-chan struct{}{}
		done    = make(chan struct{})
		wg      sync.WaitGroup
	)
	for range callers {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				a := s.begin(policy.Caller{}, "", "")
				runtime.Gosched()
				mu.Lock()
				over := drained[a.term.state]
				mu.Unlock()
				select {
				case <-over: // nil, which blocks, while the state is the current one
					t.Error("a state is drained and in use")
				default:
				}
				a.leave()
				a.leave()
			}
		})
	}
	var all []<-chan struct{}
	for range swaps {
		old, state := s.term.Load().state, new(State)
		over := s.Swap(state)
		mu.Lock()
		drained[old] = over
		mu.Unlock()
		all = append(all, over)
	}
	close(done)
	wg.Wait()
	for i, over := range all {
		select {
		case <-over:
		case <-time.After(10 * time.Second):
			t.Fatalf("swap %d of %d is never drained", i+1, swaps)
		}
	}
	if n := s.term.Load().holds.Load(); n != 1 {
		t.Errorf("the newest term has %d holds, want that of being the current one", n)
	}
}

// Swaps at the same time leave no state behind.
func TestTermsSwappedTogether(t *testing.T) {
	s := New(Config{}, new(State))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 500 {
				a := s.begin(policy.Caller{}, "", "")
				over := s.Swap(new(State))
				a.leave()
				<-over
			}
		})
	}
	wg.Wait()
	if n := s.term.Load().holds.Load(); n != 1 {
		t.Errorf("the newest term has %d holds", n)
	}
}

// A request that loaded the current term just before it was over looks again.
func TestTermOver(t *testing.T) {
	s := New(Config{}, new(State))
	old := s.term.Load()
	if <-s.Swap(new(State)); old.hold() {
		t.Error("a term that is over was entered")
	}
}
