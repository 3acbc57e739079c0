package hsm

import (
	"testing"
	"time"

	"keysetd.example/internal/keyspec"
)

func TestCost(t *testing.T) {
	if len(keyspec.All()) != specs {
		t.Errorf("%d key specs", len(keyspec.All()))
	}
	none, some, short := new(recent), new(recent), new(recent)
	some.observe(3 * time.Millisecond)
	short.observe(1)
	for name, c := range map[string]struct {
		cost cost
		want uint64
	}{
		"nothing is known": {cost{}, 1}, "nothing was done": {cost{none, none}, 1}, "nothing like it": {cost{none, some}, 3000},
		"its kind": {cost{some, short}, 3000}, "hardly anything": {cost{short, some}, 1},
	} {
		if got := c.cost.micros(); got != c.want {
			t.Errorf("%s: %d µs, want %d", name, got, c.want)
		}
	}
}
