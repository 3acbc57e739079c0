package rotation_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/hsm/wire"
)

// A key that the token makes after it was given up is destroyed; and nothing waits for it.
func TestManagerRemovesWhatComesLate(t *testing.T) {
	for _, late := range []time.Duration{time.Second, 30 * time.Second, 3 * time.Minute, 9 * time.Minute} {
		t.Run(late.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				h.token.cutOff = late
				h.mustStart()
				defer h.stop()
				after(1)
				h.token.restart() // it ended the epoch
				h.wake()
				h.want("2 active, 3 pending")
				if a := h.keyset().Document.Abandoned; len(a) != 1 || a[0].Generation != 1 {
					t.Fatalf("on record: %+v", a)
				}
				h.tally()
				after(25 * time.Minute)
				if a := h.keyset().Document.Abandoned; len(a) != 0 {
					t.Errorf("still on record: %+v", a)
				}
				h.tally()
				if got := h.keyset().Problem; len(h.events("removed")) != 1 || !strings.Contains(h.log.String(), "made late was destroyed") || got != "" {
					t.Errorf("problem %q, log:\n%s", got, h.log.String())
				}
			})
		})
	}
}

// What a token that refuses leaves is nothing to come back to.
func TestManagerKeepsNoRecordOfRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.token.fail = func(operation string) error {
			if operation == "generate" {
				return fmt.Errorf("make key: %w", &wire.Error{Code: 0xD1}) // CKR_TEMPLATE_INCONSISTENT
			}
			return nil
		}
		h.mustStart()
		defer h.stop()
		after(time.Minute)
		if d := h.keyset().Document; d.Last < 5 || len(d.Abandoned)+len(d.Intents) != 0 {
			t.Errorf("%+v", d)
		}
	})
}

// A token that cuts off each attempt gets no more of them than the record has room for.
func TestManagerBoundsTheRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.token.fail = func(operation string) error {
			if operation == "generate" {
				return hsm.ErrUnavailable
			}
			return nil
		}
		h.mustStart()
		defer h.stop()
		after(3 * time.Hour)
		d := h.keyset().Document
		if len(d.Abandoned) != 64 || d.Last != 64 || !strings.Contains(h.keyset().Problem, "has cut off 64 attempts") {
			t.Errorf("%d on record of %d, problem %q", len(d.Abandoned), d.Last, h.keyset().Problem)
		}
		h.token.restart()
		h.token.set(func(f *fakeToken) { f.fail = nil })
		h.wake()
		after(5 * time.Minute)
		if d := h.keyset().Document; len(d.Abandoned) != 0 || len(d.Generations) != 2 || h.keyset().Problem != "" {
			t.Errorf("%d on record, %s, problem %q", len(d.Abandoned), h.state(), h.keyset().Problem)
		}
	})
}
