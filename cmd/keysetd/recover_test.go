package main_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const selfIssued = `
  default:
    purpose: jwt
    any_issuer: true
    keys: [p-256]
    rotation: {period: PERIOD, retain: 1h, clock_skew: 200ms}
    publish: {max_age: 1s}
    max_token_lifetime: 30m
    certificate: {issuer: self, subject: {organization: Example, country: CH}}
`

func (s *site) rotating(period string) {
	s.configure(strings.Replace(selfIssued, "PERIOD", period, 1))
}

// recover runs `keysetd recover`.
func (s *site) recover(args ...string) (stdout, stderr string, err error) {
	return s.keysetd(append([]string{"recover", "-c", s.path("keysetd.yaml")}, args...)...)
}

func (s *site) mustRecover(args ...string) string {
	s.t.Helper()
	out, stderr, err := s.recover(args...)
	if err != nil {
		s.t.Fatalf("keysetd recover %v: %v\n%s", args, err, stderr)
	}
	return out
}

// refuses runs a command of keysetd's that is to fail and to say all of this.
func (s *site) refuses(args []string, says ...string) (stderr string) {
	s.t.Helper()
	out, stderr, err := s.keysetd(append(args, "-c", s.path("keysetd.yaml"))...)
	if err == nil {
		s.t.Fatalf("keysetd %v was not refused:\n%s", args, out)
	}
	contains(s.t, strings.Join(args, " "), stderr, says...)
	return stderr
}

func (s *site) lose(names ...string) {
	s.t.Helper()
	for _, name := range names {
		if err := os.Remove(s.path(name)); err != nil {
			s.t.Fatal(err)
		}
	}
}

// TestRecover loses the store of a keyset in the middle of its life.
func TestRecover(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.rotating("2s")
	s.mustKeysetd("init", "-c", s.path("keysetd.yaml"))
	d := s.serve()
	token, _ := d.mustToken("default", "ES256", 20*time.Minute)
	eventually(t, 30*time.Second, "generation 3 signs and another one follows", func() bool { return in(d.state("default"), "pending").Number >= 4 })
	before := d.jwks("default") // from which nothing goes for an hour
	d.stop()
	onToken := s.privateKeys()
	s.lose("state.db")

	s.refuses([]string{"serve"}, "there is no store at "+s.path("state.db")+": if it was lost, `keysetd recover` rebuilds it; `keysetd init` makes a new one")
	s.refuses([]string{"init"}, "keysetd recover")
	if _, err := os.Stat(s.path("state.db")); err == nil {
		t.Fatal("a refusal made a store")
	}
	dry := s.mustRecover()
	contains(t, "the dry run", dry, "DRY RUN: nothing is changed", "keysetd recover --write -c "+s.path("keysetd.yaml"))
	if strings.Contains(dry, "COMES BACK") {
		t.Errorf("the revocations are there:\n%s", dry)
	}
	if _, err := os.Stat(s.path("state.db")); err == nil {
		t.Fatal("the dry run made a store")
	}

	s.rotating("12h") // nothing is due while we look
	contains(t, "recover --write", s.mustRecover("--write"), "Made "+s.path("state.db"))
	if now := s.privateKeys(); !slices.Equal(now, onToken) {
		t.Errorf("the token had %v and has %v", onToken, now)
	}
	s.refuses([]string{"recover", "--write"}, s.path("state.db")+" exists")
	contains(t, "a dry run beside a store", s.mustRecover(), "The store "+s.path("state.db")+" exists")

	d = s.serve()
	page, state := d.jwks("default"), d.state("default")
	verifies(t, token, page)
	if len(page.Keys) != len(onToken) || len(onToken) < 4 {
		t.Errorf("the page has %v, the token %v", kids(page), onToken)
	}
	for _, k := range page.Keys {
		contains(t, "the dry run", dry, k.KeyID)
		if len(k.Certificates) != 1 {
			t.Errorf("key %s has %d certificates", k.KeyID, len(k.Certificates))
		}
	}
	for _, kid := range kids(before) {
		if len(page.Key(kid)) != 1 {
			t.Errorf("key %s was published and is not", kid)
		}
	}
	newest := len(onToken) // their numbers begin at 1, and none was destroyed
	again, kid := d.mustToken("default", "ES256", 20*time.Minute)
	verifies(t, again, page)
	if a, p := in(state, "active"), in(state, "pending"); a.Number != newest-1 || kidOf(a) != kid || p.Number != newest {
		t.Errorf("generation %d signs, and %d is pending; %d are on the token", a.Number, p.Number, newest)
	}
	if events := d.history("default"); len(events) == 0 || events[0].What != "recovered" || events[0].By != "recover" {
		t.Errorf("the history begins with %+v", events)
	}
	d.stop()

	// From here on as every day.
	s.rotating("2s")
	d = s.serve()
	eventually(t, 30*time.Second, "the newest generation signs and another one follows", func() bool {
		k := d.state("default")
		return in(k, "active").Number >= newest && in(k, "pending").Number > newest
	})
	last, _ := d.mustToken("default", "ES256", time.Minute)
	verifies(t, last, d.jwks("default"))
	verifies(t, token, d.jwks("default"))
}

// TestRecoverRevoked: a revoked key stays dead although its object is on the token, unless also the
// file is lost that says so.
func TestRecoverRevoked(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.rotating("12h")
	s.mustKeysetd("init", "-c", s.path("keysetd.yaml"))
	d := s.serve()
	revoked := kidOf(in(d.state("default"), "pending"))
	d.ctl("revoke", "--reason", "stolen", "--keep-object", "--", revoked)
	eventually(t, 20*time.Second, "another generation is pending", func() bool { return in(d.state("default"), "pending").Number == 3 })
	d.stop()
	s.lose("state.db")

	out := s.mustRecover("--write")
	contains(t, "recover --write", out, "Left alone", revoked+" was revoked", "stolen", "1 keys stay revoked")
	d = s.serve()
	if k := d.state("default"); in(k, "active").Number != 1 || in(k, "pending").Number != 3 || slices.Contains(kids(d.jwks("default")), revoked) {
		t.Errorf("after the store was rebuilt: %+v", k)
	}
	d.stop()

	s.lose("state.db", "revoked.json")
	out = s.mustRecover()
	contains(t, "without revocations", out, "WARNING", "COMES BACK", s.path("revoked.json"))
	if left, _, _ := strings.Cut(out, "WARNING"); !strings.Contains(left, revoked) || strings.Contains(left, "Left alone") {
		t.Errorf("nobody knows that %s was revoked:\n%s", revoked, out)
	}
	s.write("revoked.json", "{")
	s.refuses([]string{"recover"}, s.path("revoked.json"), "put its backup back", "remove that file")
}

// TestRecoverWhoseStore: keys of two installations are on the token.
func TestRecoverWhoseStore(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.rotating("12h")
	s.refuses([]string{"recover"}, "nothing to recover", "keysetd init")
	s.mustKeysetd("init", "-c", s.path("keysetd.yaml"))
	s.lose("state.db")
	id := regexp.MustCompile(`[0-9a-f]{32}`)
	first := id.FindString(s.mustRecover())
	s.mustKeysetd("init", "--beside-others", "-c", s.path("keysetd.yaml"))
	s.lose("state.db")

	said := s.refuses([]string{"recover"}, "several installations", first+" (4 keys, of keysets audit, default)", "--installation ID")
	ids := slices.Compact(slices.Sorted(slices.Values(id.FindAllString(said, -1))))
	if len(ids) != 2 {
		t.Fatalf("they are %v", ids)
	}
	s.refuses([]string{"recover", "--installation", strings.Repeat("0", 32)}, "no token holds a private key of it", first)
	for _, want := range ids {
		out := s.mustRecover("--installation", want)
		other := ids[1-slices.Index(ids, want)]
		contains(t, "for "+want, out, "For installation "+want, "it is of installation "+other, "--write -c "+s.path("keysetd.yaml")+" --installation "+want)
	}
	s.mustRecover("--write", "--installation", first)
	d := s.serve()
	if page := d.jwks("default"); len(page.Keys) != 2 {
		t.Errorf("the page has %v", kids(page))
	}
	if onToken := s.privateKeys(); len(onToken) != 4 {
		t.Errorf("the token has %v", onToken)
	}
}

// TestRecoverPlanted: who may open a session on the token, but does not know its PIN, lays public keys
// of his own there. None of them is published.
func TestRecoverPlanted(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.rotating("12h")
	s.mustKeysetd("init", "-c", s.path("keysetd.yaml"))
	s.lose("state.db")
	mine := s.objects("pubkey")
	label := regexp.MustCompile(`keysetd/[0-9a-f]{32}/default/2/p-256`).FindString(
		s.tool("pkcs11-tool", "--module", softhsm, "--token-label", "e2e", "--list-objects", "--type", "pubkey"))
	plant := func(id string) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		s.write("planted.der", string(der))
		s.tool("pkcs11-tool", "--module", softhsm, "--token-label", "e2e", "--write-object", s.path("planted.der"), "--type", "pubkey", "--id", id, "--label", label)
	}
	plant(hex.EncodeToString([]byte("a key alone")))
	page := s.mustRecover()
	contains(t, "with a planted key", page, "a public key alone", "--unproven")

	// In the place of one of ours.
	for _, id := range mine {
		s.tool("pkcs11-tool", "--module", softhsm, "--token-label", "e2e", "--delete-object", "--type", "pubkey", "--id", id)
		plant(id)
	}
	contains(t, "with the public keys of ours replaced", s.mustRecover(), "default  -           none", "not proven to belong to its public key", "does not verify")
}
