package main_test

import (
	"crypto"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "keysetd.example/api/v1"
)

// administratorsKey makes a key on the token as an administrator does, with OpenSC's tool.
func (s *site) administratorsKey(kind, label, id string) {
	s.t.Helper()
	s.tool("pkcs11-tool", "--module", softhsm, "--token-label", "e2e", "--login", "--pin", pin,
		"--keypairgen", "--key-type", kind, "--label", label, "--id", id, "--usage-sign")
}

// certified has a CA of OpenSSL's certify the key, and writes the chain.
func (s *site) certified(id, file string) {
	s.t.Helper()
	s.tool("pkcs11-tool", "--module", softhsm, "--token-label", "e2e", "--read-object", "--type", "pubkey", "--id", id, "--output-file", s.path("pub.der"))
	s.tool("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/O=Example/CN=CA", "-days", "30",
		"-keyout", s.path("ca.key"), "-out", s.path("ca.pem"))
	s.tool("openssl", "rsa", "-pubin", "-inform", "DER", "-in", s.path("pub.der"), "-out", s.path("pub.pem"))
	s.tool("openssl", "x509", "-new", "-subj", "/O=Example/CN=partner", "-force_pubkey", s.path("pub.pem"), "-days", "20",
		"-CA", s.path("ca.pem"), "-CAkey", s.path("ca.key"), "-out", s.path("leaf.pem"))
	chain := ""
	for _, name := range []string{"leaf.pem", "ca.pem"} {
		b, err := os.ReadFile(s.path(name))
		if err != nil {
			s.t.Fatal(err)
		}
		chain += string(b)
	}
	s.write(file, chain)
}

// partner is a keyset with this in it, whose changes take three seconds.
func partner(more string) string {
	return `
  partner:
    purpose: jwt
    any_issuer: true
    rotation: {lead: 3s, retain: 3s, clock_skew: 300ms}
    publish: {max_age: 1s}
    max_token_lifetime: 2700ms
` + more
}

// TestStatic goes an administrator's way with keys of his own: two of them, a swap, and to
// keys of keysetd's and back. Verifiers lose nothing on it, and the token none of his keys.
func TestStatic(t *testing.T) {
	t.Parallel()
	const (
		lead   = 3 * time.Second
		retain = 3 * time.Second
		life   = 2500 * time.Millisecond
		accept = "  accept_keys: [rsa-a, rsa-b, rsa-c, ec]\n" // OpenSC's tool leaves keys modifiable
	)
	s := newSite(t)
	for i, label := range []string{"rsa-a", "rsa-b", "rsa-c"} {
		s.administratorsKey("rsa:2048", label, []string{"0a", "0b", "0c"}[i])
	}
	s.administratorsKey("EC:prime256v1", "ec", "0e0f")
	his := s.privateKeys()
	s.certified("0b", "chain.pem")
	const both = `
    mode: static
    static:
      rsa:
        active: {label: rsa-b, kid: partner-b, chain: chain.pem}
        previous: {id: "0a", kid: partner-a}
      p-256: {active: {id: "0e0f"}}
`
	s.configure(partner(both))
	if _, stderr, err := s.keysetd("init", "-c", s.path("keysetd.yaml")); err == nil || !strings.Contains(stderr, "accept_keys") || !strings.Contains(stderr, "rsa-b") {
		t.Fatalf("keys that break the rules: %v\n%s", err, stderr)
	}
	s.token = accept
	s.configure(partner(both))
	d := s.serve() // goes on where init ended

	// What signs is taken over first, what is named as previous after it.
	eventually(t, 5*time.Second, "both are published", func() bool { return len(d.jwks("partner").Keys) == 3 })
	page := d.jwks("partner")
	ec := ""
	for _, k := range page.Keys {
		if k.KeyID != "partner-a" && k.KeyID != "partner-b" {
			ec = k.KeyID
		}
		switch chain := len(k.Certificates); {
		case chain != 0 && k.KeyID != "partner-b", chain != 2 && k.KeyID == "partner-b":
			t.Errorf("%s has %d certificates", k.KeyID, chain)
		case chain == 2 && (k.Certificates[0].Subject.CommonName != "partner" || k.Certificates[0].CheckSignatureFrom(k.Certificates[1]) != nil ||
			!equal(k.Certificates[0].PublicKey, k.Key)):
			t.Errorf("the chain of %s is for %s", k.KeyID, k.Certificates[0].Subject)
		}
	}
	if len(page.Keys) != 3 || len(page.Key("partner-a")) != 1 || len(page.Key("partner-b")) != 1 {
		t.Fatalf("the page has %v", kids(page))
	}
	if thumbprint, err := page.Key(ec)[0].Thumbprint(crypto.SHA256); err != nil || base64.RawURLEncoding.EncodeToString(thumbprint) != ec {
		t.Errorf("the kid %s of a key that has none in the configuration is not its thumbprint", ec)
	}
	signs := func(alg, want string) {
		t.Helper()
		token, kid := d.mustToken("partner", alg, life)
		if kid != want {
			t.Errorf("%s is signed with %s, want %s", alg, kid, want)
		}
		verifies(t, token, d.jwks("partner"))
	}
	signs("RS256", "partner-b")
	signs("PS384", "partner-b")
	signs("ES256", ec)
	for _, alg := range []string{"ES384", "EdDSA"} {
		status, reply := d.token("partner", alg, life)
		if status == http.StatusOK || reply["reason"] != "algorithm_unavailable" || !strings.Contains(reply["detail"].(string), "no active key for") {
			t.Errorf("%s: %d %v", alg, status, reply)
		}
		if offered := d.state("partner").Algorithms; slices.Contains(offered, alg) || !slices.Contains(offered, "ES256") {
			t.Errorf("offered are %v", offered)
		}
	}
	if k := d.state("partner"); k.Mode != "static" || !k.NextRotation.IsZero() {
		t.Errorf("%+v", k)
	}
	d.refused([]string{"rotate", "partner"}, "bad_request", "static", "reload")

	leaves := func(kid string, since time.Time) {
		t.Helper()
		eventually(t, 20*time.Second, kid+" leaves the page", func() bool { return !slices.Contains(kids(d.jwks("partner")), kid) })
		if stayed := time.Since(since); stayed < retain {
			t.Errorf("%s left the page after %v; retain is %v", kid, stayed, retain)
		}
	}

	// The next key is pending, and the old one signs until verifiers know it.
	s.configure(partner(`
    mode: static
    static:
      rsa:
        active: {label: rsa-c, kid: partner-c}
        previous: {label: rsa-b, kid: partner-b, chain: chain.pem}
      p-256: {active: {id: "0e0f"}}
`))
	contains(t, "dry run", d.ctl("reload", "--dry-run"), "keyset partner: other static keys are named", "takes effect in ")
	if page := kids(d.jwks("partner")); slices.Contains(page, "partner-c") || len(page) != 3 {
		t.Errorf("after a dry run the page has %v", page)
	}
	swapped := time.Now()
	contains(t, "reload", d.ctl("reload"), "other static keys are named", "the configuration is loaded")
	d.pendingFirst("partner", "RS256", "partner-b", "partner-c", lead)
	signs("ES256", ec)
	signs("RS256", "partner-c")
	leaves("partner-a", swapped)
	if page := kids(d.jwks("partner")); !slices.Contains(page, "partner-b") { // it is named
		t.Errorf("the page has %v", page)
	}

	// Without a previous one; then with keys of keysetd's own.
	s.configure(partner(`
    mode: static
    static: {rsa: {active: {label: rsa-c, kid: partner-c}}, p-256: {active: {id: "0e0f"}}}
`))
	dropped := time.Now()
	d.ctl("reload")
	leaves("partner-b", dropped)
	signs("RS256", "partner-c")
	s.configure(strings.Replace(partner("    keys: [rsa-2048, p-256]\n"), "lead: 3s", "period: 1h, lead: 3s", 1))
	contains(t, "reload", d.ctl("reload"), "it becomes dynamic")
	next := ""
	eventually(t, 20*time.Second, "keys of keysetd's are pending", func() bool { next = kidOf(in(d.state("partner"), "pending")); return next != "" })
	replaced := d.pendingFirst("partner", "RS256", "partner-c", next, lead)
	if k := d.state("partner"); k.Mode != "dynamic" {
		t.Errorf("mode %s", k.Mode)
	}
	leaves("partner-c", replaced)

	// And back.
	s.configure(partner(`
    mode: static
    static: {rsa: {active: {label: rsa-c, kid: partner-c}}, p-256: {active: {id: "0e0f"}}}
`))
	contains(t, "reload", d.ctl("reload"), "it becomes static")
	d.pendingFirst("partner", "RS256", next, "partner-c", lead)
	signs("ES256", ec)
	eventually(t, 20*time.Second, "the keys that were keysetd's are gone from the token, and his are not", func() bool {
		return slices.Equal(s.privateKeys(), his)
	})

	// Not even what is revoked is destroyed, if it is his.
	out := d.ctl("revoke", "partner-c", "--reason", "it was copied")
	contains(t, "revoke", out, "key partner-c: revoked", "its object is left on the token")
	if page := kids(d.jwks("partner")); slices.Contains(page, "partner-c") {
		t.Errorf("the page has %v", page)
	}
	if status, reply := d.token("partner", "RS256", life); status == http.StatusOK {
		t.Errorf("signed after the revocation: %v", reply)
	}
	signs("ES256", ec)
	d.stop()
	d = s.serve()
	if page := kids(d.jwks("partner")); slices.Contains(page, "partner-c") {
		t.Errorf("after a restart the page has %v", page)
	}
	if k := d.state("partner"); !strings.Contains(k.Problem, "partner-c") {
		t.Errorf("nothing says what is wrong with a configuration that names a revoked key: %q", k.Problem)
	}
	if now := s.privateKeys(); !slices.Equal(now, his) {
		t.Errorf("his keys were\n%v\nand are\n%v", his, now)
	}
}

// pendingFirst follows a change from one key to the next: the next one is on the page for its
// lead before it signs, with its date, and the old one signs until then and stays. It returns when the
// old one was asked to sign last.
func (d *daemon) pendingFirst(keyset, alg, old, next string, lead time.Duration) (signed time.Time) {
	d.t.Helper()
	var published time.Time
	eventually(d.t, 20*time.Second, next+" is pending and has a date", func() bool {
		g := in(d.state(keyset), "pending")
		published = g.Since
		return slices.ContainsFunc(g.Keys, func(k v1.Key) bool { return k.KID == next }) && !g.Until.IsZero()
	})
	if page := kids(d.jwks(keyset)); !slices.Contains(page, next) {
		d.t.Errorf("%s is pending, and the page has %v", next, page)
	}
	if status, reply := d.call("POST", "/v1/keysets/"+keyset+"/jwt", fmt.Sprintf(`{"kid":%q,"alg":%q,"claims":{"exp":%d}}`, next, alg, time.Now().Unix()+2)); status == http.StatusOK || reply["reason"] != "kid_not_active" || !strings.Contains(reply["detail"].(string), "ask again from") {
		d.t.Errorf("asked for %s, which is pending: %d %v", next, status, reply)
	}
	var last string
	eventually(d.t, 20*time.Second, next+" signs", func() bool {
		page, asked := d.jwks(keyset), time.Now()
		token, kid := d.mustToken(keyset, alg, 2500*time.Millisecond)
		switch {
		case kid != old && kid != next:
			d.t.Fatalf("signed with %s, want %s and then %s", kid, old, next)
		case kid == next && time.Since(published) < lead:
			d.t.Fatalf("%s signs %v after it was published", next, time.Since(published))
		}
		verifies(d.t, token, page) // of before it was signed
		if kid == old {
			last, signed = token, asked
		}
		return kid == next
	})
	if last == "" {
		d.t.Errorf("%s was never seen to sign while %s was pending", old, next)
		return signed
	}
	verifies(d.t, last, d.jwks(keyset))
	return signed
}
