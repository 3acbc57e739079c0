package hsmtest

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/internal/keyspec"
)

// Traits are what tokens differ in. The zero value is a token that can do everything.
type Traits struct {
	// Cannot are the key specs that the token cannot make. Each must be refused as unsupported, and
	// the token stay up.
	Cannot []keyspec.Spec
	// CannotOAEP are the hashes with which the token does not decrypt by RSAES-OAEP, and CannotECDH that it
	// does not derive. Each must show itself when it is probed, and the token stay up.
	CannotOAEP []crypto.Hash
	CannotECDH bool
	// Slow are the key specs that are left out, because they take too long. Left out, all are tried.
	Slow []keyspec.Spec
	// Drop ends the worker from outside. Left out, its process is killed.
	Drop func()
}

// Conformance is what package hsm promises, and package worker needs, of every token, whether
// it is a fake or real. newToken gives a token with no keys that nobody else uses. It counts
// descriptors, so it must not run beside other tests.
func Conformance(t *testing.T, newToken func(testing.TB) hsm.Config, traits Traits) {
	cfg := newToken(t)
	before := descriptors(t)
	token, err := hsm.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c := &conformance{token: token, traits: traits}
	t.Cleanup(func() { c.close(t) })
	if err := token.Ready(limit(t)); err != nil {
		t.Fatal(err)
	}
	for _, part := range []struct {
		name string
		test func(*testing.T)
	}{
		{"generate", c.generateAll},
		{"sign", c.signAll},
		{"decrypt", c.decryptAll},
		{"refused ciphertexts", c.refusedCiphertexts},
		{"list", c.list},
		{"same CKA_ID", c.sameID},
		{"bad digest", c.badDigest},
		{"one use", c.oneUse},
		{"unknown key", c.unknownKey},
		{"concurrency", c.concurrency},
		{"worker killed", c.workerKilled},
		{"destroy", c.destroy},
	} {
		if !t.Run(part.name, part.test) && len(c.keys) == 0 {
			t.FailNow() // there is nothing to go on with
		}
	}
	pid := token.Status().WorkerPID
	c.close(t)
	if pid != 0 && !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		t.Errorf("the worker (pid %d) outlives Close", pid)
	}
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors after Close, %d before Start", after, before)
	}
}

// prefix is what the labels of the suite's keys begin with.
const prefix = "conformance/"

type conformance struct {
	token  *hsm.Token
	traits Traits
	keys   []*made // by generateAll; destroy removes one
}

// made is a key that the token made.
type made struct {
	request hsm.GenerateRequest
	object  hsm.Object
	key     *hsm.Key // nil unless it signs
	opens   *hsm.Key // nil unless it decrypts or derives
}

func (c *conformance) close(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := c.token.Close(ctx); err != nil {
		t.Error(err)
	}
}

// limit is a context for what may take no longer than a minute, the longest of which is
// making an RSA-4096 key.
func limit(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func request(label string, spec keyspec.Spec, usage hsm.Usage) hsm.GenerateRequest {
	id := make([]byte, 16)
	rand.Read(id)
	return hsm.GenerateRequest{ID: id, Label: label, Spec: spec, Usage: usage}
}

func refOf(r hsm.GenerateRequest) hsm.Ref { return hsm.Ref{ID: r.ID, Label: r.Label} }

// descriptors counts the open files of this process, less those that the runtime opened meanwhile.
func descriptors(t *testing.T) int {
	t.Helper()
	open, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	return len(slices.DeleteFunc(open, func(fd string) bool {
		target, err := os.Readlink(fd)
		return err != nil || target == "anon_inode:[eventpoll]" || target == "anon_inode:[eventfd]"
	}))
}

// generateAll makes a key for each spec and usage, or is refused where the token cannot.
func (c *conformance) generateAll(t *testing.T) {
	for _, spec := range keyspec.All() {
		if slices.Contains(c.traits.Slow, spec) {
			continue
		}
		c.generate(t, spec, hsm.Sign)
	}
	c.generate(t, keyspec.RSA2048, hsm.Decrypt)
	for _, spec := range []keyspec.Spec{keyspec.P256, keyspec.P384, keyspec.P521} {
		c.generate(t, spec, hsm.Derive)
	}
	// No token can do these; nor may one be asked for a key that does two things.
	c.refuse(t, request(prefix+"no", keyspec.P256, hsm.Decrypt))
	c.refuse(t, request(prefix+"no", keyspec.RSA2048, hsm.Derive))
	c.refuse(t, request(prefix+"no", "rsa-1024", hsm.Sign))
	if len(c.keys) == 0 {
		t.Fatal("the token can make no key at all")
	}
}

func (c *conformance) generate(t *testing.T, spec keyspec.Spec, usage hsm.Usage) {
	t.Helper()
	r := request(prefix+string(spec)+"/"+string(usage), spec, usage)
	if slices.Contains(c.traits.Cannot, spec) {
		c.refuse(t, r)
		return
	}
	o, err := c.token.Generate(limit(t), r)
	if err != nil {
		t.Errorf("make %s: %v", r.Label, err)
		return
	}
	m := &made{request: r, object: o}
	if err := hsm.CheckAttributes(o, usage); err != nil {
		t.Error(err)
	}
	if o.Label != r.Label || string(o.ID) != string(r.ID) || !o.Public || o.Duplicates != 0 {
		t.Errorf("asked for %s, got %+v", r.Label, o)
	}
	pub, err := x509.ParsePKIXPublicKey(o.PublicKey)
	if err != nil {
		t.Fatalf("%s: %v", r.Label, err)
	}
	if is, err := keyspec.Of(pub); is != spec {
		t.Errorf("%s is a key of spec %q, %v", r.Label, is, err)
	}
	key, err := c.token.Key(refOf(r), pub)
	if err != nil {
		t.Fatal(err)
	}
	if usage == hsm.Sign {
		m.key = key
	} else {
		m.opens = key
	}
	c.keys = append(c.keys, m)
}

// refuse: an unsupported key is told from an outage, leaves nothing, and ends no epoch.
func (c *conformance) refuse(t *testing.T, r hsm.GenerateRequest) {
	t.Helper()
	up := c.token.Status()
	_, err := c.token.Generate(limit(t), r)
	if !errors.Is(err, hsm.ErrUnsupported) || errors.Is(err, hsm.ErrUnavailable) {
		t.Errorf("a key %s for %s, which the token cannot make: %v, want ErrUnsupported", r.Spec, r.Usage, err)
	}
	if now := c.token.Status(); !now.Up || now.Since != up.Since {
		t.Errorf("being asked for a key %s, which it cannot make, took the token down", r.Spec)
	}
	if slices.ContainsFunc(c.objects(t, ""), func(o hsm.Object) bool { return string(o.ID) == string(r.ID) }) {
		t.Errorf("the refused key %s is on the token", r.Label)
	}
}

func (c *conformance) objects(t *testing.T, prefix string) []hsm.Object {
	t.Helper()
	objects, err := c.token.Objects(limit(t), prefix)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// expect compares what the token lists with the keys that were made.
func (c *conformance) expect(t *testing.T) {
	t.Helper()
	listed := c.objects(t, prefix)
	if len(listed) != len(c.keys) {
		t.Errorf("%d keys are listed, %d were made", len(listed), len(c.keys))
	}
	for _, m := range c.keys {
		i := slices.IndexFunc(listed, func(o hsm.Object) bool { return string(o.ID) == string(m.request.ID) })
		if i < 0 {
			t.Errorf("%s is not listed", m.request.Label)
			continue
		}
		o := listed[i]
		if o.Label != m.request.Label || !o.Private || !o.Public || o.Duplicates != 0 || string(o.PublicKey) != string(m.object.PublicKey) {
			t.Errorf("%s is listed as %+v", m.request.Label, o)
		}
		if err := hsm.CheckAttributes(o, m.request.Usage); err != nil {
			t.Error(err)
		}
	}
	if slices.ContainsFunc(listed, func(o hsm.Object) bool { return !strings.HasPrefix(o.Label, prefix) }) {
		t.Errorf("keys of others are listed: %+v", listed)
	}
}
