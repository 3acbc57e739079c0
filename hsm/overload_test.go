package hsm

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestRetryAfter(t *testing.T) {
	for _, c := range []struct {
		queue, sessions int
		each            time.Duration
		up              bool
		want            time.Duration
	}{
		{1024, 8, 0, true, retryLeast},
		{1024, 8, time.Millisecond, true, 128 * time.Millisecond},
		{1024, 1, time.Millisecond, true, 1024 * time.Millisecond},
		{1024, 1, time.Second, true, retryMost},
		{1, 8, time.Millisecond, false, time.Second},
		{1 << 40, 1, 1 << 62, true, retryMost},
	} {
		if got := retryAfter(c.queue, c.sessions, c.each, c.up); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestRecentStaysWithinWhatItSaw(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seen := rapid.SliceOfN(rapid.Int64Range(1, int64(time.Minute)), 1, 100).Draw(t, "seen")
		var r recent
		least, most := seen[0], seen[0]
		for _, d := range seen {
			r.observe(time.Duration(d))
			least, most = min(least, d), max(most, d)
		}
		if got := int64(r.get()); got < least || got > most {
			t.Fatalf("mean %d of %d to %d", got, least, most)
		}
	})
}
