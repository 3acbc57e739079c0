package hsm

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestSuspectsAreForgotten(t *testing.T) {
	var s suspects
	now := time.Now()
	one, two := way{identity{id: "1", label: "a"}, 0}, way{identity{id: "2", label: "a"}, 0}
	for epoch := range uint64(suspectAfter) {
		if err := s.check(one, now); err != nil {
			t.Error(err)
		}
		for range 16 { // calls that were under way together end one epoch
			s.ended(one, epoch, now)
			s.ended(two, epoch, now)
		}
	}
	s.forget(Ref{ID: []byte("1"), Label: "a"})
	if err := s.check(one, now); err != nil {
		t.Errorf("a key that is no more: %v", err)
	}
	if err := s.check(two, now); !errors.Is(err, ErrUnavailable) {
		t.Errorf("another key: %v", err)
	}
	if err := s.check(two, now.Add(suspectFirst)); err != nil {
		t.Errorf("after its time: %v", err)
	}
}

func TestSuspend(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntMin(0).Draw(t, "ends")
		d := suspend(n)
		if (d == 0) != (n < suspectAfter) || d > suspectMost || d != 0 && d < suspectFirst || d > suspend(max(n, n+1)) {
			t.Fatalf("suspend(%d) = %v", n, d)
		}
	})
}
