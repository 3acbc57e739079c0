package main_test

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "keysetd.example/api/v1"
)

// byHand is a keyset that the calendar leaves alone while a test lasts.
const (
	byHand = `
  default:
    purpose: jwt
    any_issuer: true
    keys: [p-256]
    rotation: {period: 1h, lead: 4s, retain: 1h, clock_skew: 200ms, verifier_cache: 2s, manual_burst: 2}
    publish: {max_age: 1s}
    max_token_lifetime: 1m
`
	byHandLead = 4 * time.Second         // from when on what is new may sign
	byHandSoon = 3200 * time.Millisecond // from when on every verifier knows it, which will do in an emergency
)

// begin makes an installation with these keysets, and runs it.
func begin(t *testing.T, keysets string) (*site, *daemon) {
	t.Helper()
	s := newSite(t)
	s.configure(keysets)
	s.mustKeysetd("init", "-c", s.path("keysetd.yaml"))
	return s, s.serve()
}

func me() string { return fmt.Sprintf("uid %d", os.Getuid()) }

// did finds the one event of this kind in a keyset's history whose reason is this, and checks who it was.
func (d *daemon) did(keyset, what, why string) v1.Event {
	d.t.Helper()
	var found []v1.Event
	for _, e := range d.history(keyset) {
		if e.What == what && strings.Contains(e.Why, why) {
			found = append(found, e)
		}
	}
	if len(found) != 1 || found[0].By != me() || time.Since(found[0].At).Abs() > time.Minute {
		d.t.Fatalf("%d events %q because %q: %+v", len(found), what, why, found)
	}
	return found[0]
}

// audited checks that the audit log has a line of this operation and outcome which says all of this.
// Refusals that were counted together have a line within two seconds, and stand there by their reasons
// alone: one of these must be asked for.
func (s *site) audited(operation, outcome string, says ...string) {
	s.t.Helper()
	eventually(s.t, 5*time.Second, fmt.Sprintf("the audit log tells of a %s %s with %q", outcome, operation, says), func() bool {
		for _, l := range s.auditLines("audit.jsonl") {
			told := l.Operation == operation && !slices.ContainsFunc(says, func(word string) bool { return !strings.Contains(l.text, word) }) ||
				slices.ContainsFunc(says, func(word string) bool { return l.Reasons[word] > 0 })
			if told && l.Outcome == outcome && l.Caller.UID == os.Getuid() {
				return true
			}
		}
		return false
	})
}

// mayRotate waits until this generation was pending for so long.
func (d *daemon) mayRotate(keyset string, generation int, lead time.Duration) {
	d.t.Helper()
	eventually(d.t, 20*time.Second, fmt.Sprintf("generation %d may sign", generation), func() bool {
		g := in(d.state(keyset), "pending")
		return g.Number == generation && time.Since(g.Since) > lead
	})
}

// TestRotateByHand: no sooner than verifiers know the next key, once however often it is asked for, and as
// often as is allowed, restarts included.
func TestRotateByHand(t *testing.T) {
	t.Parallel()
	s, d := begin(t, byHand)
	first, second := kidOf(in(d.state("default"), "active")), kidOf(in(d.state("default"), "pending"))
	d.refused([]string{"rotate", "default", "--reason", "too early"}, "not_yet", "generation 2", "may sign from", "again in ")
	plan := d.ctl("plan", "default")
	contains(t, "plan", plan, "activate", "in 1h", "generate")
	if _, kid := d.mustToken("default", "ES256", time.Minute); kid != first {
		t.Errorf("signed with %s after a rotation that was refused", kid)
	}
	d.mayRotate("default", 2, byHandLead)
	contains(t, "rotate", d.ctl("rotate", "default", "--reason", "the first time"), "generation 2 is active", "the next rotation is due in ")
	if published := in(d.state("default"), "active"); kidOf(published) != second {
		t.Errorf("active is %+v, want %s", published, second)
	}
	if _, kid := d.mustToken("default", "ES256", time.Minute); kid != second {
		t.Errorf("signed with %s after the rotation, want %s", kid, second)
	}
	if e := d.did("default", "activated", "the first time"); e.Generation != 2 || !slices.Contains(e.KIDs, second) {
		t.Errorf("%+v", e)
	}

	contains(t, "history", d.ctl("history", "default"), "made", "published", "activated", "retired", me(), "the first time", first, second)

	// It is done: asked for again with the key that was to sign no longer, nothing happens.
	for range 2 {
		contains(t, "rotate", d.ctl("rotate", "default", "--kid", first, "--reason", "again"), "generation 2 is active")
	}
	if strings.Contains(d.ctl("history", "default"), "again") {
		t.Errorf("a repetition stands in the history:\n%s", d.ctl("history", "default"))
	}

	// A reply that is lost: whether or not the first request arrives, there is one rotation.
	d.refused([]string{"rotate", "default"}, "not_yet")
	d.mayRotate("default", 3, byHandLead)
	d.unheard("POST", "/v1/keysets/default/rotate", fmt.Sprintf(`{"kid":%q,"reason":"unheard"}`, second))
	eventually(t, 10*time.Second, "what nobody heard of is done", func() bool { return in(d.state("default"), "active").Number == 3 })
	contains(t, "rotate", d.ctl("rotate", "default", "--kid", second, "--reason", "unheard"), "generation 3 is active")
	d.did("default", "activated", "unheard")

	// Two at once were allowed, and the next in 24 h / 5; a restart changes nothing in that.
	limited := func(what string) {
		t.Helper()
		d.mayRotate("default", 4, byHandLead)
		next := d.did("default", "activated", "the first time").At.Add(24 * time.Hour / 5).Format("2006-01-02T15:04")
		d.refused([]string{"rotate", "default", "--reason", what}, "rate_limited", "5 rotations by hand a day", "the next one is possible at "+next, "again in 4h4")
		if got := in(d.state("default"), "active").Number; got != 3 {
			t.Errorf("%s: generation %d is active", what, got)
		}
	}
	limited("too often")
	d.stop()
	d = s.serve()
	limited("after a restart")
	d.refused([]string{"rotate", "nobody", "--kid", first}, "keyset_unknown")
	d.refused([]string{"rotate", "default", "--kid", "nobody"}, "kid_unknown")

	s.audited("rotate", "refused", "not_yet", "too early")
	s.audited("rotate", "granted", "the first time", first)
	s.audited("rotate", "granted", "unheard", second)
	s.audited("rotate", "refused", "rate_limited", "after a restart")
	s.audited("rotate", "refused", "keyset_unknown")
}

// unheard sends a request and goes away.
func (d *daemon) unheard(method, path, body string) {
	d.t.Helper()
	c, err := net.Dial("unix", d.Socket)
	if err != nil {
		d.t.Fatal(err)
	}
	defer c.Close()
	if _, err := fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", method, path, len(body), body); err != nil {
		d.t.Fatal(err)
	}
}

// TestFreeze: until it is over nothing changes, except what is revoked.
func TestFreeze(t *testing.T) {
	t.Parallel()
	s, d := begin(t, `  default: {purpose: jwt, any_issuer: true, keys: [p-256], rotation: {period: 3s, clock_skew: 200ms}, publish: {max_age: 1s}}`)
	eventually(t, 20*time.Second, "a generation is retired", func() bool { return in(d.state("default"), "retired").Number > 0 })
	contains(t, "freeze", d.ctl("freeze", "default", "--until", "1h", "--reason", "a partner moves"), "frozen; thaws in 59m")
	frozen := d.state("default")
	if left := time.Until(frozen.FrozenUntil); left < 50*time.Minute || left > time.Hour {
		t.Errorf("frozen for %v", left)
	}
	d.did("default", "frozen", "a partner moves")
	d.refused([]string{"rotate", "default"}, "frozen", "thaw it first", "again in ")
	d.refused([]string{"freeze", "default", "--until", "8d"}, "bad_request", "max_freeze")
	contains(t, "plan", d.ctl("plan", "default"), "in 59m", "activate")

	// Longer than a period and a retain, a restart in it.
	d.stop()
	d = s.serve()
	const while = 4 * time.Second
	for begun := time.Now(); time.Since(begun) < while; time.Sleep(200 * time.Millisecond) {
		now := d.state("default")
		if in(now, "active").Number != in(frozen, "active").Number || in(now, "retired").Number != in(frozen, "retired").Number {
			t.Fatalf("in the freeze\n%+v\nwas before\n%+v", now, frozen)
		}
		d.mustToken("default", "ES256", 2*time.Second)
	}
	thawed := time.Now()
	contains(t, "thaw", d.ctl("thaw", "default", "--reason", "they have moved"), "keyset default: generation")
	d.did("default", "thawed", "they have moved")
	eventually(t, 2*time.Second, "what was due is done", func() bool {
		// The restart may have cut off the making of one, whose number is then used up.
		return in(d.state("default"), "active").Number > in(frozen, "active").Number
	})
	t.Logf("rotated %v after the thaw", time.Since(thawed))
	d.ctl("thaw", "default", "--reason", "once more") // is no error
	s.audited("freeze", "granted", "freeze", "until ", "a partner moves")
	s.audited("freeze", "granted", "thaw", "they have moved")
	s.audited("freeze", "refused", "bad_request")
	s.audited("rotate", "refused", "frozen")
}

// TestManualPeriod is Auth0's way: a next key, a current one and previous ones, which are
// good until somebody revokes them.
func TestManualPeriod(t *testing.T) {
	t.Parallel()
	s, d := begin(t, `
  default:
    purpose: jwt
    any_issuer: true
    keys: [p-256]
    rotation: {period: manual, lead: 3s, retain: until-revoked, clock_skew: 200ms}
    publish: {max_age: 1s}
    max_token_lifetime: 1h
`)
	if k := d.state("default"); !k.NextRotation.IsZero() {
		t.Errorf("the next rotation is due at %v", k.NextRotation)
	}
	old := in(d.state("default"), "active").Keys[0]
	token, _ := d.mustToken("default", "ES256", time.Hour)
	for _, generation := range []int{2, 3} {
		d.mayRotate("default", generation, 3*time.Second)
		d.ctl("rotate", "default")
	}
	k := d.state("default")
	if len(k.Generations) < 3 || in(k, "active").Number != 3 {
		t.Fatalf("%+v", k)
	}
	previous := 0
	for _, g := range k.Generations {
		if g.State == "retired" {
			if previous++; !g.Until.IsZero() {
				t.Errorf("generation %d is to go at %v", g.Number, g.Until)
			}
		}
	}
	if previous != 2 {
		t.Errorf("%d previous generations", previous)
	}
	for _, step := range strings.Split(d.ctl("plan", "default"), "\n") {
		if strings.Contains(step, "activate") || strings.Contains(step, "withdraw") {
			t.Errorf("planned: %s", step)
		}
	}
	verifies(t, token, d.jwks("default"))
	d.stop()
	d = s.serve()
	verifies(t, token, d.jwks("default"))
	d.ctl("revoke", "--reason", "it has served", "--", old.KID)
	if page := kids(d.jwks("default")); slices.Contains(page, old.KID) {
		t.Errorf("the page has %v", page)
	}
	eventually(t, 10*time.Second, "the previous key is destroyed", func() bool { return !slices.Contains(s.privateKeys(), old.ID) })
	if got := in(d.state("default"), "active").Number; got != 3 {
		t.Errorf("generation %d signs after a previous key was revoked", got)
	}
}
