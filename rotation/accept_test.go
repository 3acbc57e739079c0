package rotation

import (
	"testing"
	"time"
)

func TestAcceptClock(t *testing.T) {
	doc := document(gen(1, Retired), gen(2, Active), gen(3, Pending))
	doc.Entries = []Entry{{Algorithm: "RS384", State: Pending, Published: t0, UsableFrom: at("5m30s")}}
	doc.Abandoned, doc.Intents = []Abandoned{late("x")}, []Intent{attempt(4, Generate)}
	doc.Revoked = []Revocation{{KID: "old", At: t0}}
	doc.Allowance = at("4h")

	if same, events := doc.acceptClock(by, 0, t0); len(events) != 0 || !same.Allowance.Equal(doc.Allowance) {
		t.Errorf("a clock that is right: %+v", events)
	}

	// Behind: what is said to have happened later happened now, and what follows from it keeps its distance.
	back, events := doc.acceptClock(by, 0, at("-1h"))
	if len(events) != 1 || events[0].What != "clock accepted" || events[0].By != "uid 1000" || back.newest().After(at("-1h")) {
		t.Errorf("%+v, newest %v", events, back.newest())
	}
	for name, got := range map[string][2]time.Time{
		"retained":          {back.Generations[0].RetainUntil, at("11h")},
		"signed since":      {back.Generations[1].Activated, at("-1h")},
		"period":            {back.Generations[1].Scheduled, at("-1h")},
		"published before":  {back.Generations[1].Published, at("-6h")},
		"known":             {back.Generations[2].UsableFrom, at("-54m30s")},
		"entry known":       {back.Entries[0].UsableFrom, at("-54m30s")},
		"bodies stale":      {back.StaleUntil, at("-54m30s")},
		"looked for":        {back.Abandoned[0].Looked, at("-1h")},
		"begun before":      {back.Abandoned[0].Begun, at("-2h")},
		"allowance":         {back.Allowance, at("3h")},
		"revoked":           {back.Revoked[0].At, at("-1h")},
		"intent":            {back.Intents[0].At, at("-1h")},
		"not there, still":  {back.Generations[2].Retired, time.Time{}},
		"retired, as it is": {doc.Generations[0].Retired, t0},
	} {
		if !got[0].Equal(got[1]) {
			t.Errorf("back: %s %v, want %v", name, got[0].Sub(t0), got[1].Sub(t0))
		}
	}

	// Bodies of a longer max-age, put down before the clock was wrong, stay as long as they do.
	doc.StaleUntil, doc.StaleSince = at("3h"), at("-2h")
	if back, _ := doc.acceptClock(by, 0, at("-1h")); !back.StaleUntil.Equal(at("3h")) {
		t.Errorf("bodies of before are stale from %v", back.StaleUntil)
	}

	// Set ahead by a year: no time has passed.
	year := 365 * 24 * time.Hour
	ahead, events := doc.acceptClock(by, year, t0.Add(year+time.Second))
	if len(events) != 1 {
		t.Errorf("%+v", events)
	}
	for name, got := range map[string][2]time.Time{
		"retained":   {ahead.Generations[0].RetainUntil, at("12h")},
		"signed":     {ahead.Generations[1].Activated, t0},
		"published":  {ahead.Generations[2].Published, t0},
		"known":      {ahead.Generations[2].UsableFrom, at("5m30s")},
		"bodies":     {ahead.StaleUntil, at("3h")},
		"looked for": {ahead.Abandoned[0].Looked, t0},
	} {
		if !got[0].Equal(got[1].Add(year)) {
			t.Errorf("ahead: %s %v, want %v", name, got[0].Sub(t0), got[1].Sub(t0))
		}
	}
	if obs := (Observation{Up: up("hsm"), Counted: map[string]bool{"hsm": true}}); len(mustPlan(ahead, obs, t0.Add(year+time.Second))) != 0 {
		t.Errorf("due at once: %v", mustPlan(ahead, obs, t0.Add(year+time.Second)))
	}
	// What was longer ago than the step is not moved beyond now.
	if recent, _ := doc.acceptClock(by, time.Hour, at("30m")); recent.newest().After(at("30m")) {
		t.Errorf("newest %v", recent.newest())
	}
}

func mustPlan(d Document, obs Observation, now time.Time) (kinds []StepKind) {
	steps, _ := Plan(d, testPolicy(), obs, now)
	for _, s := range steps {
		if s.Kind != StepSweep && s.Kind != StepEntries {
			kinds = append(kinds, s.Kind)
		}
	}
	return kinds
}
