package door

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	v1 "keysetd.example/api/v1"
)

func TestRoom(t *testing.T) {
	for _, tt := range []struct {
		total, has, n int64
		ok, own       bool
	}{
		{0, 0, 16, true, false}, {16, 16, 1, false, true}, {48, 0, 8, true, false}, {48, 0, 9, false, false},
		{0, 0, 17, false, true}, {60, 12, 1, false, false}, {60, 0, 2, true, false}, {64, 0, 1, false, false},
	} {
		if ok, own := room(64, 16, tt.total, tt.has, tt.n); ok != tt.ok || own != tt.own {
			t.Errorf("%+v: %v %v", tt, ok, own)
		}
	}
}

// Whatever is taken and given back: the bounds hold, nothing is lost, something is always left, and
// who has nothing may have half of it.
func TestBudgetHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBudget("things", 640, 160)
		holds := map[int]*hold{}
		for i := range rapid.IntRange(1, 100).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				for _, h := range holds {
					h.free()
					h.free()
					break
				}
			case 1:
				for _, h := range holds {
					h.keep(rapid.Int64Range(0, 200).Draw(t, "keep"))
					break
				}
			default:
				h := b.hold(rapid.Uint32Range(0, 20).Draw(t, "uid"))
				h.more(rapid.Int64Range(0, 200).Draw(t, "n"))
				holds[i] = h
			}
			var total int64
			users := map[uint32]int64{}
			for _, h := range holds {
				total += h.taken
				users[h.uid] += h.taken
				if users[h.uid] > b.each {
					t.Fatalf("uid %d has %d", h.uid, users[h.uid])
				}
			}
			if total != b.total || total > b.all {
				t.Fatalf("%d of %d are held", b.total, total)
			}
			small := b.hold(99)
			if free := b.all - total; free == 0 || small.more(min(free/2, b.each)) != nil {
				t.Fatalf("a newcomer has no half of what %d of %d leave", total, b.all)
			}
			small.free()
		}
	})
}

// However greedy users are, in the order that is worst: what is left halves with each at the most.
func TestGreedLeavesHalf(t *testing.T) {
	b := newBudget("bytes", 64<<20, 16<<20)
	for uid := range uint32(12) {
		free := b.all - b.total
		h := b.hold(uid)
		for h.more(1<<10) == nil {
		}
		if left := b.all - b.total; left < free/2 {
			t.Fatalf("user %d leaves %d of %d", uid, left, free)
		}
	}
	if left := b.all - b.total; left < 16<<10 {
		t.Errorf("twelve greedy users leave %d bytes", left)
	}
}

func TestWaitForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget("things", 100, 10)
		first, second := b.hold(1), b.hold(1)
		if e := first.more(10); e != nil {
			t.Fatal(e)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if e := second.wait(ctx, 1); e == nil || e.Reason != v1.RateLimited {
			t.Errorf("%v", e)
		}
		time.AfterFunc(time.Minute, func() { first.keep(9) })
		if e := second.wait(t.Context(), 1); e != nil {
			t.Error(e)
		}
	})
}
