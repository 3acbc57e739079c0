package hsm_test

import (
	"testing"
	"testing/synctest"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/hsm/hsmtest/memory"
	"keysetd.example/hsm/wire"
)

// A key that is lost, and one that is put back, is seen in the same epoch.
func TestRefresh(t *testing.T) {
	bubble(t, nil, func(t *testing.T, m *memory.Token, token *hsm.Token, key *hsm.Key, _ *wire.Object) {
		lost := hsm.Ref{Label: "test/p-256"}
		expect := func(when string, want int) {
			t.Helper()
			if objects, err := token.Objects(t.Context(), ""); err != nil || len(objects) != want {
				t.Errorf("%s: %d keys, %v, want %d", when, len(objects), err, want)
			}
		}
		expect("at first", 1)
		m.Lose(lost)
		time.Sleep(11 * time.Second)
		expect("lost, not looked", 1)
		token.Refresh()
		expect("lost", 0)
		if err := sign(t, t.Context(), key); err == nil {
			t.Error("a lost key signs")
		}
		m.Restore(lost)
		for range 9 {
			time.Sleep(time.Second)
			token.Refresh()
			expect("put back a moment ago", 0)
		}
		time.Sleep(time.Second)
		token.Refresh()
		expect("put back", 1)
		if err := sign(t, t.Context(), key); err != nil || m.Started() != 1 {
			t.Errorf("put back: %v, %d workers", err, m.Started())
		}
	})
}

// However often it is called, the keys are listed once in ten seconds, and none is lost from sight
// while they are.
func TestRefreshIsBounded(t *testing.T) {
	bubble(t, nil, func(t *testing.T, m *memory.Token, token *hsm.Token, _ *hsm.Key, _ *wire.Object) {
		if _, err := token.Objects(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		free := make(chan struct{})
		m.Inject(memory.Fault{Op: wire.OpList, Hang: free})
		m.Inject(memory.Fault{Op: wire.OpList, Times: 100, Drop: true}) // nobody asks again
		for range 100 {
			token.Refresh()
			go token.Objects(t.Context(), "")
			time.Sleep(10 * time.Millisecond)
		}
		close(free)
		synctest.Wait()
		for range 99 {
			token.Refresh()
			if objects, err := token.Objects(t.Context(), ""); err != nil || len(objects) != 1 {
				t.Fatalf("%d keys, %v", len(objects), err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if m.Started() != 1 {
			t.Errorf("%d workers", m.Started())
		}
		m.Clear()
		m.Drop()
		synctest.Wait()
		token.Refresh() // while it is down, or just up
		if objects, err := token.Objects(t.Context(), ""); err != nil || len(objects) != 1 {
			t.Errorf("after an outage: %d keys, %v", len(objects), err)
		}
	})
}
