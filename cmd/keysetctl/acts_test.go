package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	v1 "keysetd.example/api/v1"
	"keysetd.example/internal/keyspec"
	"keysetd.example/rotation"
	"keysetd.example/signing/signingtest"
)

// noon is when the tests of what is printed take place.
var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func by() string { return fmt.Sprintf("uid %d", os.Getuid()) }

// asked checks what the operator was asked for last.
func asked(t *testing.T, w *signingtest.World, want string) {
	t.Helper()
	calls := w.Operator.Calls()
	if len(calls) == 0 || calls[len(calls)-1] != want {
		t.Errorf("asked for %q, want %s", calls, want)
	}
}

// TestRotate: the kid that signs goes with the request, so that it can be repeated.
func TestRotate(t *testing.T) {
	w, _ := serve(t)
	out := mustCtl(t, "", "rotate", "default", "--reason", "a try")
	asked(t, w, "rotate default {By:"+by()+" Why:a try KID:"+w.KIDs[keyspec.RSA2048]+"}")
	for _, want := range []string{"keyset default: generation 1 is active, since 1h0m ago (2", "keyset default: the next rotation is due in 59m"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	mustCtl(t, "", "rotate", "default", "--kid", "-k")
	asked(t, w, "rotate default {By:"+by()+" Why: KID:-k}")
	if out := mustCtl(t, "", "rotate", "empty"); !strings.Contains(out, "keyset empty: no generation is active\nkeyset empty: not ready to sign") {
		t.Errorf("%s", out)
	}
	asked(t, w, "rotate empty {By:"+by()+" Why: KID:}")
	if out := mustCtl(t, "", "rotate", "--help"); !strings.Contains(out, "repeated, it rotates once") {
		t.Errorf("%s", out)
	}
	if out := mustCtl(t, "", "rotate", "default", "--json"); !strings.HasPrefix(out, "{\n  \"keyset\": {") {
		t.Errorf("%s", out)
	}
}

// TestUnknownOutcome: where it is not known what became of it, the error says how to ask again.
func TestUnknownOutcome(t *testing.T) {
	w, _ := serve(t)
	kid := w.KIDs[keyspec.RSA2048]
	over := make(chan struct{})
	t.Cleanup(func() { close(over) }) // before the server is shut down, which waits for it
	w.Operator.Hook = func(context.Context) { <-over }
	for line, want := range map[string]string{
		"rotate default --timeout 1s":                              "no answer within 1s; it may have been done: `keysetctl rotate default --kid " + kid + "` asks again, and rotates once",
		"revoke --reason r --keyset raw --timeout 100ms -- " + kid: "it may have been done: revoke it again",
	} {
		_, err := ctl(t, "", strings.Fields(line)...)
		if err == nil || !strings.Contains(oneLine(err), want) {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// TestRefusals: each says what to do next, on one line.
func TestRefusals(t *testing.T) {
	w, _ := serve(t)
	for _, test := range []struct {
		line string
		err  error
		want string
	}{
		{"rotate default", &rotation.Refusal{Kind: rotation.RefusedNotYet, Detail: "generation 2 may sign from 2026-11-21T15:00:00Z", At: time.Now().Add(time.Hour + time.Minute)},
			"keysetctl: rotating keyset default: not_yet: generation 2 may sign from 2026-11-21T15:00:00Z; again in 1h"},
		{"rotate default", &rotation.Refusal{Kind: rotation.RefusedRateLimited, Detail: "five a day", At: time.Now().Add(49 * time.Hour)}, "rate_limited: five a day; again in 2d"},
		{"rotate default", &rotation.Refusal{Kind: rotation.RefusedFrozen, Detail: "frozen; thaw it first", At: time.Now().Add(time.Hour)}, "frozen: frozen; thaw it first; again in "},
		{"rotate default", &rotation.Refusal{Kind: rotation.RefusedUnknownKID, Detail: "no such key"}, "kid_unknown: no such key (at /kid)"},
		{"thaw default", errors.New("a fault"), "thawing keyset default: internal: "},
		{"freeze default --until 1h", &rotation.Refusal{Kind: rotation.RefusedBadRequest, Detail: "too long"}, "freezing keyset default: bad_request: too long"},
		{"plan default", &rotation.Refusal{Kind: rotation.RefusedUnknownKeyset, Detail: "no such keyset"}, "reading the plan of keyset default: keyset_unknown: no such keyset"},
		{"history default", errors.New("a fault"), "reading the history of keyset default: internal: "},
		{"reload", &v1.Error{Reason: v1.BadConfiguration, Detail: "/etc/keysetd/keysetd.yaml:3: no\n  more"}, "reloading the configuration: bad_configuration: /etc/keysetd/keysetd.yaml:3: no more"},
		{"clock accept", errors.New("a fault"), "accepting the clock: internal: "},
		{"revoke k --keyset raw --reason r", &rotation.Refusal{Kind: rotation.RefusedUnknownKID, Detail: "no such key"}, "revoking key k: kid_unknown: no such key"},
	} {
		w.Operator.Err = test.err
		out, err := ctl(t, "", strings.Fields(test.line)...)
		if err == nil || out != "" || exitCode(err) != 1 || !strings.Contains(oneLine(err), test.want) || strings.Contains(oneLine(err), "\n") {
			t.Errorf("%s: %q, %v; want %s", test.line, out, err, test.want)
		}
	}
}

func TestFreezeAndThaw(t *testing.T) {
	w, _ := serve(t)
	mustCtl(t, "", "freeze", "default", "--until", "2036-01-01T00:00:00+01:00", "--reason", "holidays")
	asked(t, w, "freeze default {By:"+by()+" Why:holidays KID:} 2035-12-31T23:00:00Z")
	mustCtl(t, "", "thaw", "default", "--reason", "over")
	asked(t, w, "thaw default {By:"+by()+" Why:over KID:}")
}

func TestInstant(t *testing.T) {
	for s, want := range map[string]time.Time{
		"90m": noon.Add(90 * time.Minute), "2d": noon.Add(48 * time.Hour), "0.5d": noon.Add(12 * time.Hour), "1h30m": noon.Add(90 * time.Minute),
		"2026-11-21T12:00:01Z": noon.Add(time.Second), "2026-11-21T14:00:00+01:00": noon.Add(time.Hour),
	} {
		if got, err := instant(s, noon); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v, %v; want %v", s, got, err, want)
		}
	}
	for s, want := range map[string]string{
		"": "is missing", "tomorrow": "is neither", "2026-11-22": "is neither", "5": "is neither", "d": "is neither", "1h2d": "is neither",
		"-1h": "is not in the future", "0s": "is not in the future", "2026-11-21T12:00:00Z": "is not in the future", "0d": "is not between",
		"-2d": "is not between", "NaNd": "is not between", "Infd": "is not between", "36501d": "is not between",
	} {
		if got, err := instant(s, noon); err == nil || exitCode(err) != 2 || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
}

func TestReload(t *testing.T) {
	w, _ := serve(t)
	w.Operator.Reloaded = v1.ReloadReply{Changes: []v1.KeysetChange{}}
	if out := mustCtl(t, "", "reload", "--dry-run", "--remove", "old", "--remove", "older"); out != "nothing would change\n" {
		t.Errorf("%s", out)
	}
	asked(t, w, "reload "+by()+" {DryRun:true Remove:[old older]}")
	w.Operator.Reloaded.Applied = true
	if out := mustCtl(t, "", "reload"); out != "the configuration is loaded; nothing changed\n" {
		t.Errorf("%s", out)
	}
	asked(t, w, "reload "+by()+" {DryRun:false Remove:[]}")
	changes := []v1.KeysetChange{{Change: "two callers are new"}, {Keyset: "default", Change: "p-256 is added", At: noon.Add(12 * time.Hour)}}
	const lines = "two callers are new\nkeyset default: p-256 is added; takes effect in 12h0m (2026-11-22T00:00:00Z)\n"
	for applied, want := range map[bool]string{false: lines, true: lines + "the configuration is loaded\n"} {
		var out bytes.Buffer
		if err := printReload(&out, &v1.ReloadReply{Applied: applied, Changes: changes}, noon); err != nil || out.String() != want {
			t.Errorf("applied %v: %v\n%s", applied, err, out.String())
		}
	}
	if out := mustCtl(t, "", "reload", "--json"); !strings.Contains(out, `"applied": true`) {
		t.Errorf("%s", out)
	}
}

func TestClockAccept(t *testing.T) {
	w, _ := serve(t)
	if out := mustCtl(t, "", "clock", "accept"); !strings.HasPrefix(out, "the clock is accepted") {
		t.Errorf("%s", out)
	}
	asked(t, w, "clock accept {By:"+by()+" Why: KID:}")
	if out := mustCtl(t, "", "clock", "accept", "--json"); out != "{}\n" {
		t.Errorf("%s", out)
	}
}

func TestPlanAndHistory(t *testing.T) {
	w, _ := serve(t)
	w.Operator.Steps = []rotation.Forecast{{At: noon, Step: rotation.Step{Kind: rotation.StepActivate, Generation: 2, Reason: "it is time"}}}
	w.Operator.Events = []rotation.Event{{At: noon, What: "rotated", Generation: 2, KIDs: []string{"a", "b"}, By: "uid 0", Why: "a\x1b[2J\tb"}}
	if out := mustCtl(t, "", "plan", "default"); !strings.HasPrefix(out, "WHEN ") || !strings.Contains(out, "(2026-11-21T12:00:00Z)  activate  2           it is time\n") {
		t.Errorf("%s", out)
	}
	if out := mustCtl(t, "", "history", "default", "--limit", "3"); !strings.HasPrefix(out, "WHEN ") || !strings.Contains(out, "(2026-11-21T12:00:00Z)  rotated  2           uid 0  a [2J b  a b\n") {
		t.Errorf("%s", out)
	}
	asked(t, w, "history default 3")
	mustCtl(t, "", "history", "default")
	asked(t, w, "history default 100")
	for _, line := range []string{"plan default --json", "history default --json"} {
		if out := mustCtl(t, "", strings.Fields(line)...); !strings.Contains(out, `"at": "2026-11-21T12:00:00Z"`) {
			t.Errorf("%s: %s", line, out)
		}
	}
}

func TestPrintNow(t *testing.T) {
	k := v1.Keyset{
		Name: "default", Ready: true, FrozenUntil: noon.Add(48 * time.Hour), NextRotation: noon.Add(3 * 24 * time.Hour),
		Coming:      []v1.Coming{{Algorithm: "PS384", At: noon.Add(time.Hour)}, {Algorithm: "RS384", At: noon.Add(time.Hour)}, {Algorithm: "ES256", At: noon.Add(2 * time.Hour)}},
		Problem:     "the clock made a step",
		Generations: []v1.Generation{{Number: 1, State: "retired"}, {Number: 2, State: "active", Since: noon}},
	}
	const want = `keyset default: generation 2 is active, since now (2026-11-21T12:00:00Z)
keyset default: the next rotation is due in 3d0h (2026-11-24T12:00:00Z)
keyset default: frozen; thaws in 2d0h (2026-11-23T12:00:00Z)
keyset default: PS384, RS384 can be asked for in 1h0m (2026-11-21T13:00:00Z)
keyset default: ES256 can be asked for in 2h0m (2026-11-21T14:00:00Z)
keyset default: the clock made a step
`
	var out bytes.Buffer
	if err := printAct(&out, &v1.ActReply{Keyset: k}, noon); err != nil || out.String() != want {
		t.Errorf("%v\n%s\nwant\n%s", err, out.String(), want)
	}
	out.Reset()
	if err := printStatus(&out, &v1.KeysetList{Keysets: []v1.Keyset{k}}, noon); err != nil || !strings.HasSuffix(out.String(), want[strings.Index(want, "keyset default: frozen"):]) {
		t.Errorf("%v\n%s", err, out.String())
	}
	k.FrozenUntil = noon
	if said := strings.Join(remarksOn(k, noon), "\n"); strings.Contains(said, "frozen") {
		t.Errorf("a freeze that is over: %s", said)
	}
}
