package hsm

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"keysetd.example/hsm/wire"
)

func TestCauseOf(t *testing.T) {
	device := &wire.Error{Code: 0x30, Function: "C_Sign"}
	for _, c := range []struct {
		err  error
		want cause
	}{
		{ErrClosed, causeClosed},
		{fmt.Errorf("sign: %w", &epochEnded{ErrClosed}), causeClosed},
		{fmt.Errorf("key: %w", ErrBadSignature), causeBadSignature},
		{fmt.Errorf("%w (%w)", wire.ErrWorkerGone, &hung{op: wire.OpOpen}), causeCallHung},
		{&wrongSerial{"a", "b"}, causeSerial},
		{&startError{errors.New("no such file")}, causeStart},
		{&pinBlock{why: "refused", cause: &wire.Error{Code: 0xA0}}, causeLogin},
		{&wire.Error{Code: 0xA0}, causeLogin},
		{&wire.Error{Code: 0x101}, causeLogin},
		{&wire.Error{Reason: wire.ModuleMissing}, causeModule},
		{&wire.Error{Reason: wire.TokenMissing}, causeToken},
		{&wire.Error{Reason: wire.TokenNotOne}, causeToken},
		{&wire.Error{Code: 0xE0}, causeToken},
		{&wire.Error{Reason: wire.Protocol}, causeProtocol},
		{fmt.Errorf("read: %w", wire.ErrFrame), causeProtocol},
		{fmt.Errorf("sign: %w", device), causeDevice},
		{&wire.Error{Code: 0x05}, causeDevice},
		{&wire.Error{Code: 0xB3}, causeSession},
		{&wire.Error{Code: 0x90}, causeSession},
		{&wire.Error{Code: 0x60}, causeKeyHandle},
		{&wire.Error{Code: 0x80000001}, causeVendor},
		{&wire.Error{Code: 0xFFFFFFFFFFFFFFFF}, causeVendor},
		{fmt.Errorf("the connection: %w", wire.ErrWorkerGone), causeWorkerDied},
		{errors.New("disk full"), causeOther},
		{&wire.Error{Message: "something"}, causeOther},
	} {
		if got := causeOf(c.err); got != c.want {
			t.Errorf("%v: %s, want %s", c.err, got, c.want)
		}
	}
	// Every code that ends an epoch has a cause of which there is a series.
	for code, known := range ckrs {
		if got := causeOf(&wire.Error{Code: code}); known.verdict == endsEpoch && (!slices.Contains(causes, got) || got == causeOther) {
			t.Errorf("%s: %q", known.name, got)
		}
	}
}
