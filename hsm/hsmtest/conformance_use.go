package hsmtest

import (
	"crypto"
	"crypto/x509"
	"errors"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/internal/keyspec"
)

// signing are the keys that sign.
func (c *conformance) signing() []*hsm.Key {
	var keys []*hsm.Key
	for _, m := range c.keys {
		if m.key != nil {
			keys = append(keys, m.key)
		}
	}
	return keys
}

// fast are the keys that sign and are not slow at it on any token, or all if none is.
func (c *conformance) fast() []*hsm.Key {
	var keys []*hsm.Key
	for _, k := range c.signing() {
		if spec, _ := keyspec.Of(k.Public()); spec == keyspec.P256 || spec == keyspec.RSA2048 {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return c.signing()
	}
	return keys
}

// signAll: every key signs in every way that its type has.
func (c *conformance) signAll(t *testing.T) {
	for _, key := range c.signing() {
		for _, opts := range algorithms(key.Public()) {
			if err := signOnce(limit(t), key, opts); err != nil {
				spec, _ := keyspec.Of(key.Public())
				t.Errorf("%s by %v: %v", spec, opts, err)
			}
		}
	}
}

// list: Objects gives the keys with the prefix, all of them, and none of others.
func (c *conformance) list(t *testing.T) {
	spec, err := keyspec.Of(c.fast()[0].Public())
	if err != nil {
		t.Fatal(err)
	}
	other := request("other/"+prefix, spec, hsm.Sign)
	if _, err := c.token.Generate(limit(t), other); err != nil {
		t.Fatal(err)
	}
	c.expect(t)
	if all := c.objects(t, ""); len(all) != len(c.keys)+1 {
		t.Errorf("%d keys on the token, want %d", len(all), len(c.keys)+1)
	}
	if n, err := c.token.Destroy(limit(t), refOf(other)); n != 2 || err != nil {
		t.Errorf("destroyed %d objects, %v, want private and public key", n, err)
	}
	c.expect(t)
}

// sameID: a CKA_ID that is in use is not used again, whatever the label, and the key that has it
// stays as it is.
func (c *conformance) sameID(t *testing.T) {
	key := c.keys[0]
	for _, label := range []string{key.request.Label, prefix + "twice"} {
		r := key.request
		r.Label = label
		if _, err := c.token.Generate(limit(t), r); err == nil || errors.Is(err, hsm.ErrUnavailable) {
			t.Errorf("a second key %s with the same CKA_ID: %v, want a refusal", label, err)
		}
	}
	c.expect(t)
}

// badDigest: a digest of another length than its hash's is not signed.
func (c *conformance) badDigest(t *testing.T) {
	for _, key := range c.signing() {
		for _, opts := range algorithms(key.Public()) {
			if opts == crypto.Hash(0) {
				continue // Ed25519 signs messages, of any length
			}
			size := opts.HashFunc().Size()
			for _, n := range []int{0, size - 1, size + 1} {
				sig, err := key.Sign(limit(t), make([]byte, n), opts)
				if !errors.Is(err, hsm.ErrBadDigest) || sig != nil {
					t.Errorf("%T signs %d bytes for %v: %v", key.Public(), n, opts, err)
				}
			}
		}
	}
}

// oneUse: a key that decrypts or derives does not sign, and being asked to takes nothing down.
func (c *conformance) oneUse(t *testing.T) {
	up := c.token.Status()
	for _, m := range c.keys {
		if m.request.Usage == hsm.Sign {
			continue
		}
		pub, err := x509.ParsePKIXPublicKey(m.object.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		key, err := c.token.Key(refOf(m.request), pub)
		if err != nil {
			t.Fatal(err)
		}
		for _, opts := range algorithms(pub) {
			if err := signOnce(limit(t), key, opts); !errors.Is(err, hsm.ErrTemplate) {
				t.Errorf("sign with %s: %v, want ErrTemplate", m.request.Label, err)
			}
		}
	}
	if now := c.token.Status(); now.Since != up.Since {
		t.Error("a signature by a key that is not for it took the token down")
	}
}

// unknownKey: a key that is not there is told from an outage, and takes no other's place.
func (c *conformance) unknownKey(t *testing.T) {
	there := c.keys[0]
	up := c.token.Status()
	for name, ref := range map[string]hsm.Ref{
		"CKA_ID":       {ID: request("", "", "").ID},
		"label":        {Label: prefix + "nobody"},
		"other label":  {ID: there.request.ID, Label: prefix + "nobody"},
		"other CKA_ID": {ID: request("", "", "").ID, Label: there.request.Label},
	} {
		key, err := c.token.Key(ref, c.fast()[0].Public())
		if err != nil {
			t.Fatal(err)
		}
		err = signOnce(limit(t), key, algorithms(key.Public())[0])
		if !errors.Is(err, hsm.ErrKeyNotFound) || errors.Is(err, hsm.ErrUnavailable) {
			t.Errorf("a key that is unknown by its %s: %v, want ErrKeyNotFound", name, err)
		}
	}
	if now := c.token.Status(); now.Since != up.Since {
		t.Error("an unknown key took the token down")
	}
}

// concurrency: more callers than sessions, all at once.
func (c *conformance) concurrency(t *testing.T) {
	keys := c.fast()
	ctx := limit(t)
	var callers sync.WaitGroup
	for i := range 16 {
		key := keys[i%len(keys)]
		opts := algorithms(key.Public())
		callers.Go(func() {
			for j := range 6 {
				if err := signOnce(ctx, key, opts[(i+j)%len(opts)]); err != nil {
					t.Errorf("caller %d: %v", i, err)
				}
			}
		})
	}
	callers.Wait()
}

// workerKilled: signing again, with the same keys, and by nobody's help.
func (c *conformance) workerKilled(t *testing.T) {
	up := c.token.Status()
	if c.traits.Drop != nil {
		c.traits.Drop()
	} else if err := syscall.Kill(up.WorkerPID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	for _, key := range c.signing() {
		if err := signOnce(limit(t), key, algorithms(key.Public())[0]); err != nil {
			t.Errorf("after the worker was killed: %v", err)
		}
	}
	c.decryptAll(t)
	if took := time.Since(killed); took > 10*time.Second {
		t.Errorf("signing again took %v", took)
	}
	for c.token.Status().Since == up.Since { // a signature may have been faster than the news
		if time.Since(killed) > 10*time.Second {
			t.Fatal("the token did not notice that its worker was killed")
		}
		time.Sleep(time.Millisecond)
	}
	c.expect(t)
}

// destroy: what is destroyed is gone, a second time is no error, the others stay.
func (c *conformance) destroy(t *testing.T) {
	i := slices.IndexFunc(c.keys, func(m *made) bool { return m.key != nil })
	gone := c.keys[i]
	for _, want := range []int{2, 0} {
		if n, err := c.token.Destroy(limit(t), refOf(gone.request)); n != want || err != nil {
			t.Errorf("destroyed %d objects, %v, want %d", n, err, want)
		}
	}
	c.keys = slices.Delete(c.keys, i, i+1)
	c.expect(t)
	if err := signOnce(limit(t), gone.key, algorithms(gone.key.Public())[0]); !errors.Is(err, hsm.ErrKeyNotFound) {
		t.Errorf("sign with a destroyed key: %v, want ErrKeyNotFound", err)
	}
	if n, err := c.token.Destroy(limit(t), hsm.Ref{Label: c.keys[0].request.Label}); n != 0 || err == nil || errors.Is(err, hsm.ErrUnavailable) {
		t.Errorf("destroyed %d objects by their label alone, %v, want a refusal: labels are not unique", n, err)
	}
	c.expect(t)
	for _, key := range c.signing() {
		if err := signOnce(limit(t), key, algorithms(key.Public())[0]); err != nil {
			t.Errorf("after another key was destroyed: %v", err)
		}
	}
}
