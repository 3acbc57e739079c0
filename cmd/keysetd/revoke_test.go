package main_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	v1 "keysetd.example/api/v1"
)

// TestRevoke: what is revoked is off the page and signs nothing when the reply comes, and is gone
// from the token soon after, unless it is to be kept; and nothing brings it back.
func TestRevoke(t *testing.T) {
	t.Parallel()
	s, d := begin(t, byHand)
	gone := func(kid string) {
		t.Helper()
		if page := kids(d.jwks("default")); slices.Contains(page, kid) {
			t.Errorf("the page has %s, which is revoked: %v", kid, page)
		}
		status, reply := d.call("POST", "/v1/keysets/default/jwt", fmt.Sprintf(`{"kid":%q,"claims":{"exp":%d}}`, kid, time.Now().Add(time.Minute).Unix()))
		if status == http.StatusOK || reply["reason"] != "kid_not_active" || !strings.Contains(fmt.Sprint(reply["detail"]), "revoked") {
			t.Errorf("asked for %s, which is revoked: %d %v", kid, status, reply)
		}
	}
	destroyed := func(id string) {
		t.Helper()
		eventually(t, 10*time.Second, "the object is destroyed", func() bool {
			return !slices.Contains(s.privateKeys(), id) && !slices.Contains(s.objects("pubkey"), id)
		})
	}
	d.refused([]string{"revoke", "--keyset", "default", "--reason", "r", "--", "nobody"}, "kid_unknown")

	// Verifiers know the second generation, so it takes over at once.
	d.mayRotate("default", 2, byHandSoon)
	k := d.state("default")
	old, next := in(k, "active").Keys[0], in(k, "pending").Keys[0]
	out := d.ctl("revoke", "--reason", "the first", "--", old.KID)
	contains(t, "revoke", out, "key "+old.KID+": revoked now", "by "+me()+": the first; its object on the token goes too",
		"cached pages may still show a revoked key as good; the last one ends in 3s", "generation 2 is active")
	if strings.Contains(out, "refuses it") {
		t.Errorf("every verifier knows the key that signs now:\n%s", out)
	}
	gone(old.KID)
	if _, kid := d.mustToken("default", "ES256", time.Minute); kid != next.KID {
		t.Errorf("signed with %s, want %s", kid, next.KID)
	}
	destroyed(old.ID)
	if e := d.did("default", "revoked", "the first"); e.Generation != 1 || !slices.Contains(e.KIDs, old.KID) {
		t.Errorf("%+v", e)
	}

	// No verifier surely knows the third generation yet: nothing signs until they do.
	eventually(t, 10*time.Second, "generation 3 is pending", func() bool { return in(d.state("default"), "pending").Number == 3 })
	old, next = next, in(d.state("default"), "pending").Keys[0]
	contains(t, "revoke", d.ctl("revoke", "--reason", "the second", "--", old.KID), "no generation is active", "generation 3 takes over at ")
	if status, reply := d.token("default", "ES256", time.Minute); status != http.StatusServiceUnavailable || reply["reason"] != "not_ready" || reply["retry_after_ms"] == nil {
		t.Errorf("signing without a key: %d %v", status, reply)
	}
	if got := d.ready(); got != http.StatusServiceUnavailable {
		t.Errorf("/readyz says %d", got)
	}
	gone(old.KID)
	k = d.state("default")
	if k.Ready || !strings.Contains(k.Problem, "no key is in use") || len(k.Revoked) != 2 || k.Revoked[0].KID != old.KID {
		t.Errorf("%+v", k)
	}
	destroyed(old.ID)
	eventually(t, 10*time.Second, "generation 3 signs by itself", func() bool {
		status, reply := d.token("default", "ES256", time.Minute)
		return status == http.StatusOK && reply["kid"] == next.KID
	})
	for _, e := range d.history("default") {
		if e.What == "published" && e.Generation == 3 && time.Since(e.At) < byHandSoon {
			t.Errorf("generation 3 signed %v after it was published", time.Since(e.At))
		}
	}

	// The operator does not want to wait.
	eventually(t, 10*time.Second, "generation 4 is pending", func() bool { return in(d.state("default"), "pending").Number == 4 })
	old, next = next, in(d.state("default"), "pending").Keys[0]
	contains(t, "revoke", d.ctl("revoke", "--reason", "the third", "--accept-unpublished", "--keep-object", "--", old.KID),
		"its object is left on the token", "cached pages may lack the key that signs now", "generation 4 is active")
	if _, kid := d.mustToken("default", "ES256", time.Minute); kid != next.KID {
		t.Errorf("signed with %s, want %s", kid, next.KID)
	}
	gone(old.KID)

	// Asked for again it is no error and does nothing; and a restart changes nothing.
	contains(t, "revoke", d.ctl("revoke", "--reason", "again", "--", old.KID), "the third", "its object is left on the token")
	d.stop()
	d = s.serve()
	gone(old.KID)
	if k := d.state("default"); len(k.Revoked) != 3 || in(k, "active").Number != 4 {
		t.Errorf("after the restart: %+v", k)
	}
	eventually(t, 10*time.Second, "the next generation is made", func() bool { return in(d.state("default"), "pending").Number >= 5 })
	if !slices.Contains(s.privateKeys(), old.ID) {
		t.Errorf("the object that was to be kept is gone")
	}

	out = d.ctl("revoke", "--all", "--keyset", "default", "--reason", "the last")
	contains(t, "revoke", out, next.KID, "the last", "no generation is active")
	if page := kids(d.jwks("default")); slices.Contains(page, next.KID) {
		t.Errorf("all are revoked and the page has %v", page)
	}
	eventually(t, 20*time.Second, "another generation signs", func() bool {
		status, _ := d.token("default", "ES256", time.Minute)
		return status == http.StatusOK
	})
	destroyed(next.ID)
	s.audited("revoke", "granted", "the first", `"kid"`)
	s.audited("revoke", "granted", "accept unpublished", "keep object", "the third")
	s.audited("revoke", "granted", "all", "the last")
	s.audited("revoke", "refused", "kid_unknown")
}

// TestRevokeWhileTheWorkerHangs: keys are revoked although nobody can ask the token for anything, with a
// request and the making of a key under way there; their objects go when that is possible again.
func TestRevokeWhileTheWorkerHangs(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.token = "  limits: {sign: 1m}\n" // or the worker would not hang for long
	s.configure(byHand)
	s.mustKeysetd("init", "-c", s.path("keysetd.yaml"))
	d := s.serve()
	k := d.state("default")
	first, second := in(k, "active").Keys[0], in(k, "pending").Keys[0]
	worker := d.worker()
	syscall.Kill(worker, syscall.SIGSTOP)
	defer syscall.Kill(worker, syscall.SIGCONT)
	// On a busy machine its threads run on until one of them has taken the signal.
	eventually(t, 10*time.Second, "the worker is stopped", func() bool { state, _ := procStat(worker); return state == "T" })
	var callers sync.WaitGroup
	for range 20 { // for eight sessions: some are at the worker, others wait
		callers.Go(func() { // whose key is revoked under way
			status, reply, err := d.tryCall("POST", "/v1/keysets/default/jwt", `{"claims":{"exp":`+fmt.Sprint(time.Now().Unix()+30)+`},"alg":"ES256"}`)
			if err != nil || status != http.StatusServiceUnavailable && status != http.StatusGatewayTimeout && reply["reason"] != "kid_not_active" {
				t.Errorf("under way while its key was revoked: %d %v, %v", status, reply, err)
			}
		})
	}
	eventually(t, 10*time.Second, "requests are under way", func() bool { return d.metric(`keysetd_queue_length{token="default"}`) > 0 })
	revoke := func(key v1.Key, says string, more ...string) {
		t.Helper()
		begun := time.Now()
		out := d.ctl(append(append([]string{"revoke", "--reason", "in an outage"}, more...), "--", key.KID)...)
		if took := time.Since(begun); took > 3*time.Second {
			t.Errorf("it took %v", took)
		}
		contains(t, "revoke", out, "revoked now", says)
		if page := kids(d.jwks("default")); slices.Contains(page, key.KID) {
			t.Errorf("the page has %v", page)
		}
		if state, _ := procStat(worker); state != "T" {
			t.Fatalf("the worker is %q and not stopped", state)
		}
	}
	revoke(first, "generation 2 is active", "--accept-unpublished")
	revoke(second, "no generation is active")
	for _, key := range []v1.Key{first, second} {
		if !slices.Contains(s.privateKeys(), key.ID) {
			t.Errorf("an object is gone although nobody can have asked for that")
		}
	}
	syscall.Kill(worker, syscall.SIGCONT)
	eventually(t, 20*time.Second, "the objects are destroyed", func() bool {
		there := s.privateKeys()
		return !slices.Contains(there, first.ID) && !slices.Contains(there, second.ID)
	})
	callers.Wait()
	eventually(t, 20*time.Second, "another key signs", func() bool {
		status, reply := d.token("default", "ES256", time.Minute)
		if reply["kid"] == first.KID || reply["kid"] == second.KID {
			t.Fatalf("a revoked key signs: %v", reply)
		}
		return status == http.StatusOK
	})
}
