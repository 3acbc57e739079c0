package hsm

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	"keysetd.example/hsm/wire"
)

func TestDecide(t *testing.T) {
	proven := pinFacts{serial: "1", source: "s", provenSerial: "1", provenSource: "s"}
	with := func(f pinFacts, change func(*pinFacts)) pinFacts { change(&f); return f }
	for _, c := range []struct {
		name  string
		facts pinFacts
		want  bool
	}{
		{"nothing known", pinFacts{}, true},
		{"proven", proven, true},
		{"refused", with(proven, func(f *pinFacts) { f.state = pinRefused }), false},
		{"cut off, proven", with(proven, func(f *pinFacts) { f.state = pinTrying }), true},
		{"cut off twice, proven", with(proven, func(f *pinFacts) { f.state = pinAgain }), false},
		{"cut off, never proven", pinFacts{state: pinTrying, serial: "1", source: "s"}, false},
		{"cut off, no source known", pinFacts{state: pinTrying, serial: "1", provenSerial: "1"}, false},
		{"cut off, the PIN changed", with(proven, func(f *pinFacts) { f.state = pinTrying; f.source = "other" }), false},
		{"cut off, another token", with(proven, func(f *pinFacts) { f.state = pinTrying; f.serial = "2" }), false},
		{"cut off, proven, count low", with(proven, func(f *pinFacts) { f.state = pinTrying; f.low = true }), false},
		{"count low", with(proven, func(f *pinFacts) { f.low = true }), false},
		{"final try", with(proven, func(f *pinFacts) { f.final = true }), false},
		{"locked", with(proven, func(f *pinFacts) { f.locked = true }), false},
		{"allowed, count low", with(proven, func(f *pinFacts) { f.state = pinAllowed; f.low = true }), true},
		{"unknown state", with(proven, func(f *pinFacts) { f.state = "else" }), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			ok, why := decide(c.facts)
			if ok != c.want || ok == (why != "") {
				t.Errorf("decide = %v, %q; want %v", ok, why, c.want)
			}
		})
	}
}

func anyFacts(t *rapid.T) pinFacts {
	id := rapid.SampledFrom([]string{"", "a", "b"})
	return pinFacts{
		state:  rapid.SampledFrom([]pinState{pinNone, pinTrying, pinAgain, pinRefused, pinAllowed, "else"}).Draw(t, "state"),
		serial: id.Draw(t, "serial"), source: id.Draw(t, "source"),
		provenSerial: id.Draw(t, "provenSerial"), provenSource: id.Draw(t, "provenSource"),
		low: rapid.Bool().Draw(t, "low"), final: rapid.Bool().Draw(t, "final"), locked: rapid.Bool().Draw(t, "locked"),
	}
}

func TestDecideProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := anyFacts(t)
		ok, _ := decide(f)
		if ok && f.state != pinAllowed && (f.low || f.final || f.locked || f.state == pinRefused) {
			t.Fatalf("logs in with %+v", f)
		}
		if ok && f.state == pinTrying && f.source != f.provenSource {
			t.Fatalf("tries a PIN again that was never right: %+v", f)
		}
		if able, _ := conceivable(f); ok && !able {
			t.Fatalf("a login that is allowed is not conceivable: %+v", f)
		}
	})
}

func TestOutcomeOf(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want pinOutcome
	}{
		{"right", nil, pinAccepted},
		{"incorrect", &wire.Error{Code: 0xA0, Function: "C_Login"}, pinWrong},
		{"locked", &wire.Error{Code: 0xA4, Function: "C_Login"}, pinWrong},
		{"expired", &wire.Error{Code: 0xA3, Function: "C_Login"}, pinWrong},
		{"no session", &wire.Error{Code: 0x30, Function: "C_OpenSession"}, pinUntried},
		{"token gone", &wire.Error{Code: 0xE0, Function: "C_Login"}, pinUntried},
		{"device error", &wire.Error{Code: 0x30, Function: "C_Login"}, pinUnknown},
		{"vendor's code", &wire.Error{Code: 0x80000001, Function: "C_Login"}, pinUnknown},
		{"logged in already", &wire.Error{Code: 0x100, Function: "C_Login"}, pinUnknown},
		{"worker died", wire.ErrWorkerGone, pinUnknown},
		{"other", errors.New("other"), pinUnknown},
		{"no code", &wire.Error{Reason: wire.Protocol}, pinUnknown},
	} {
		if got := outcomeOf(c.err); got != c.want {
			t.Errorf("%s: outcome %v, want %v", c.name, got, c.want)
		}
	}
}
