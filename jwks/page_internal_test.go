package jwks

import (
	"testing"
	"time"
)

func TestLastModified(t *testing.T) {
	at := func(s string) time.Time {
		d, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for _, tc := range []struct {
		name      string
		now       time.Time
		before    time.Time
		wantClock string
	}{
		{"the first page", at("2026-03-01T12:00:00.5Z"), time.Time{}, "12:00:01"},
		{"on the second", at("2026-03-01T12:00:00Z"), time.Time{}, "12:00:01"},
		{"another zone", at("2026-03-01T13:00:00.5+01:00"), time.Time{}, "12:00:01"},
		{"a later page", at("2026-03-01T12:00:02.1Z"), at("2026-03-01T12:00:01Z"), "12:00:03"},
		{"two in a second", at("2026-03-01T12:00:00.9Z"), at("2026-03-01T12:00:01Z"), "12:00:02"},
		{"the clock was set back", at("2026-03-01T11:00:00.5Z"), at("2026-03-01T12:00:01Z"), "12:00:02"},
	} {
		if got := lastModified(tc.now, tc.before); got.Format(time.TimeOnly) != tc.wantClock || got.Location() != time.UTC || got.Nanosecond() != 0 {
			t.Errorf("%s: %v, want %s", tc.name, got, tc.wantClock)
		}
	}
}
