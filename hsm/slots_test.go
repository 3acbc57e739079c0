package hsm

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

// Whoever takes slots, waits for them and gives up: never more have one than there are, and
// in the end all are free.
func TestSlotsAreNeitherLostNorMade(t *testing.T) {
	const n = 3
	s := slots{free: n}
	var holding atomic.Int64
	var callers sync.WaitGroup
	for i := range 16 {
		callers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 0))
			p := &place{share: Share{Owner: string(rune('a' + i%4))}}
			for range 2000 {
				if !s.take() {
					granted := s.enter(p)
					if random.IntN(2) == 0 {
						s.abandon(p)
						continue
					}
					<-granted
				}
				if h := holding.Add(1); h > n {
					t.Errorf("%d hold a slot", h)
				}
				holding.Add(-1)
				s.release()
			}
		})
	}
	callers.Wait()
	if s.free != n || len(s.line.shares) != 0 {
		t.Errorf("%d slots are free, %d shares wait; want %d and none", s.free, len(s.line.shares), n)
	}
}

// A slot that is given back goes to whoever waits, not to whoever comes by.
func TestNobodyOvertakesTheLine(t *testing.T) {
	s := slots{free: 1}
	if !s.take() || s.take() {
		t.Fatal("there is not one slot")
	}
	granted := s.enter(new(place))
	s.release()
	if s.take() {
		t.Error("a newcomer took the slot")
	}
	select {
	case <-granted:
	default:
		t.Error("the one who waits has no slot")
	}
}

// Who gives up when it has just got a slot leaves it to the next, or to whoever comes.
func TestSlotOfOneWhoGaveUp(t *testing.T) {
	s := slots{free: 1}
	first, second := new(place), new(place)
	s.enter(first)
	granted := s.enter(second)
	s.abandon(first)
	select {
	case <-granted:
	default:
		t.Fatal("the next has no slot")
	}
	s.abandon(second)
	if !s.take() {
		t.Error("the slot is lost")
	}
}
