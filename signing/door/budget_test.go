package door

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	v1 "keysetd.example/api/v1"
	"keysetd.example/signing/policy"
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
		identities := []policy.Identity{group("a"), group("b"), group("c"), group("d"), group("e"), group("f")}
		for uid := range uint32(12) {
			identities = append(identities, user(uid))
		}
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
				h := b.hold(identities[rapid.IntRange(0, len(identities)-1).Draw(t, "who")])
				h.more(rapid.Int64Range(0, 200).Draw(t, "n"))
				holds[i] = h
			}
			var total int64
			groups := int64(0)
			users := map[policy.Identity]int64{}
			for _, h := range holds {
				total += h.taken
				if !h.id.Alone() {
					groups += h.taken
				}
				users[h.id] += h.taken
				if users[h.id] > b.each {
					t.Fatalf("%+v has %d", h.id, users[h.id])
				}
			}
			if total != b.total || total > b.all {
				t.Fatalf("%d of %d are held", b.total, total)
			}
			if groups != b.groups || groups >= b.all/2 {
				t.Fatalf("groups hold %d, counted as %d", groups, b.groups)
			}
			small := b.hold(user(99))
			if free := b.all - total; free == 0 || small.more(min(free/2, b.each)) != nil {
				t.Fatalf("a newcomer has no half of what %d of %d leave", total, b.all)
			}
			small.free()
			join := b.hold(group("z"))
			if n := min((b.all-total)/2, (b.all/2-groups)/2, b.each); join.more(n) != nil {
				t.Fatalf("a new group has no %d where all have %d and groups %d", n, total, groups)
			}
			join.free()
		}
	})
}

// However greedy users are, in the order that is worst: what is left halves with each at the most.
func TestGreedLeavesHalf(t *testing.T) {
	b := newBudget("bytes", 64<<20, 16<<20)
	for uid := range uint32(12) {
		free := b.all - b.total
		h := b.hold(user(uid))
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

// However greedy groups are, and with as many users as they like, a user with a rule of its own has room for
// the longest message over gRPC, and for as much as any.
func TestGroupsLeaveHalf(t *testing.T) {
	b := newBudget("bytes", maxBodies, maxBodiesOfOne)
	for i := range 20 {
		h := b.hold(group(string(rune('a' + i))))
		for _, n := range []int64{1 << 20, 64 << 10, 1 << 10, 1} {
			for h.more(n) == nil {
			}
		}
	}
	if e := b.hold(user(4712)).more(maxBodiesOfOne); e != nil {
		t.Error(e)
	}
	if e := b.hold(user(4713)).more(maxMessage); e != nil {
		t.Error(e)
	}
}

func TestWaitForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget("things", 100, 10)
		first, second := b.hold(user(1)), b.hold(user(1))
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
