package hsm

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"keysetd.example/hsm/wire"
)

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name string
		op   wire.Op
		err  error
		want verdict
		is   error // what sentinel wraps; nil for none
	}{
		{"device error", wire.OpSign, &wire.Error{Code: 0x30}, endsEpoch, ErrUnavailable},
		{"token removed", wire.OpSign, &wire.Error{Code: 0xE0}, endsEpoch, ErrUnavailable},
		{"session handle", wire.OpSign, &wire.Error{Code: 0xB3}, endsEpoch, ErrUnavailable},
		{"login lost", wire.OpList, &wire.Error{Code: 0x101}, endsEpoch, ErrUnavailable},
		{"stale handle", wire.OpSign, &wire.Error{Code: 0x82}, endsEpoch, ErrUnavailable},
		{"general error", wire.OpSign, &wire.Error{Code: 0x05}, endsEpoch, ErrUnavailable},
		{"vendor's", wire.OpSign, &wire.Error{Code: 0x80000123}, endsEpoch, ErrUnavailable},
		{"all ones", wire.OpSign, &wire.Error{Code: 0xFFFFFFFFFFFFFFFF}, endsEpoch, ErrUnavailable},
		{"worker gone", wire.OpSign, wire.ErrWorkerGone, endsEpoch, ErrUnavailable},
		{"garbage", wire.OpSign, fmt.Errorf("read: %w", wire.ErrFrame), endsEpoch, ErrUnavailable},
		{"protocol", wire.OpSign, &wire.Error{Reason: wire.Protocol}, endsEpoch, ErrUnavailable},
		{"full token", wire.OpGenerate, &wire.Error{Code: 0x31}, thisRequest, nil},
		{"device memory", wire.OpSign, &wire.Error{Code: 0x31}, endsEpoch, ErrUnavailable},
		{"length", wire.OpSign, &wire.Error{Code: 0x21}, thisRequest, nil},
		{"mechanism", wire.OpSign, &wire.Error{Code: 0x70}, unsupported, ErrUnsupported},
		{"key type", wire.OpSign, fmt.Errorf("sign: %w", &wire.Error{Code: 0x63}), unsupported, ErrUnsupported},
		{"no such spec", wire.OpGenerate, &wire.Error{Reason: wire.Unsupported}, unsupported, ErrUnsupported},
		{"no key", wire.OpSign, &wire.Error{Reason: wire.KeyMissing}, thisRequest, ErrKeyNotFound},
		{"two keys", wire.OpSign, &wire.Error{Reason: wire.KeyNotOne}, thisRequest, nil},
		{"another call's", wire.OpGenerate, &epochEnded{&wire.Error{Code: 0x31}}, endsEpoch, ErrUnavailable},
		{"another call's missing key", wire.OpSign, &epochEnded{&wire.Error{Reason: wire.KeyMissing}}, endsEpoch, ErrUnavailable},
		{"PIN", wire.OpLogin, &wire.Error{Code: 0xA0}, refusedPIN, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := judge(c.op, c.err); got != c.want {
				t.Errorf("judge = %v, want %v", got, c.want)
			}
			err := sentinel(c.op, c.err)
			for _, s := range []error{ErrUnavailable, ErrUnsupported, ErrKeyNotFound} {
				if errors.Is(err, s) != (s == c.is) {
					t.Errorf("errors.Is(%v, %v) = %v", err, s, s != c.is)
				}
			}
			if w, ok := errors.AsType[*wire.Error](c.err); ok {
				if kept, _ := errors.AsType[*wire.Error](err); kept != w {
					t.Errorf("%v lost the PKCS#11 code", err)
				}
			}
		})
	}
}

// What we do not know to be harmless ends the epoch.
func TestUnknownCodesEndTheEpoch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		code := rapid.Uint64Min(1).Draw(t, "code")
		if _, known := ckrs[code]; known {
			t.Skip()
		}
		if got := judge(wire.OpSign, &wire.Error{Code: code}); got != endsEpoch {
			t.Fatalf("judge(0x%X) = %v", code, got)
		}
	})
}

func TestDescribe(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("log in: %w", &wire.Error{Code: 0xA0, Function: "C_Login"}), "CKR_PIN_INCORRECT"},
		{&wire.Error{Code: 0x80001234, Function: "C_Sign"}, "vendor"},
		{wire.ErrWorkerGone, wire.ErrWorkerGone.Error()},
	} {
		if got := describe(c.err); !strings.Contains(got, c.want) {
			t.Errorf("describe = %q, want it to hold %q", got, c.want)
		}
	}
}
