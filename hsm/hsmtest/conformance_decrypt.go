package hsmtest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1" // of RSA-OAEP
	_ "crypto/sha256"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"sync"
	"testing"

	"keysetd.example/hsm"
	"keysetd.example/hsm/wire"
)

// ways are the hashes by which a key of pub decrypts; 0 stands for ECDH.
func ways(pub crypto.PublicKey) []crypto.Hash {
	if _, ok := pub.(*rsa.PublicKey); ok {
		return []crypto.Hash{crypto.SHA1, crypto.SHA256}
	}
	return []crypto.Hash{0}
}

// cannot tells whether the token does not decrypt so.
func (c *conformance) cannot(hash crypto.Hash) bool {
	return hash == 0 && c.traits.CannotECDH || hash != 0 && slices.Contains(c.traits.CannotOAEP, hash)
}

// decryptAll: every key that decrypts or derives does so in every way that the token has, and where it has
// not, that shows itself and is known from then on. Many at once.
func (c *conformance) decryptAll(t *testing.T) {
	up := c.token.Status()
	var callers sync.WaitGroup
	for _, m := range c.keys {
		if m.opens == nil {
			continue
		}
		for _, hash := range ways(m.opens.Public()) {
			err := m.opens.ProbeDecrypt(limit(t), hash)
			if can := !c.cannot(hash); can != (err == nil) || !can && !errors.Is(err, hsm.ErrUnsupported) || m.opens.DecryptUnsupported(hash) != !can {
				t.Errorf("probe %s by %v: %v, known not to work: %v", m.request.Label, hash, err, m.opens.DecryptUnsupported(hash))
			}
			for range 4 {
				callers.Go(func() {
					for range 4 {
						err := openOnce(limit(t), m.opens, hash)
						if c.cannot(hash) != errors.Is(err, hsm.ErrUnsupported) || !c.cannot(hash) && err != nil {
							t.Errorf("%s by %v: %v", m.request.Label, hash, err)
						}
					}
				})
			}
		}
	}
	callers.Wait()
	if now := c.token.Status(); now.WorkerPID == up.WorkerPID && now.Since != up.Since {
		t.Error("decrypting took the token down")
	}
}

// refusedCiphertexts: whatever is wrong with a ciphertext is told in one way, takes nothing down, and
// harms none of the others.
func (c *conformance) refusedCiphertexts(t *testing.T) {
	up := c.token.Status()
	for _, m := range c.keys {
		if m.opens == nil {
			continue
		}
		for _, hash := range ways(m.opens.Public()) {
			if c.cannot(hash) {
				continue
			}
			ctx := limit(t)
			for name, refused := range refusals(t, ctx, m.opens, hash) {
				for range 20 { // more than there are sessions
					if plaintext, err := refused(); !errors.Is(err, hsm.ErrDecrypt) || plaintext != nil || errors.Is(err, hsm.ErrUnsupported) {
						t.Errorf("%s, %s: %v", m.request.Label, name, err)
					} else if code, ok := errors.AsType[*wire.Error](err); ok {
						t.Errorf("%s, %s: the error tells a code: %v", m.request.Label, name, code)
					}
				}
			}
			if err := openOnce(ctx, m.opens, hash); err != nil {
				t.Errorf("%s afterwards: %v", m.request.Label, err)
			}
		}
	}
	for _, key := range c.fast() {
		if err := signOnce(limit(t), key, algorithms(key.Public())[0]); err != nil {
			t.Errorf("a signature afterwards: %v", err)
		}
	}
	if now := c.token.Status(); now.Since != up.Since {
		t.Error("a ciphertext that cannot be decrypted took the token down")
	}
}

// refusals are what is not to be decrypted.
func refusals(t *testing.T, ctx context.Context, key *hsm.Key, hash crypto.Hash) map[string]func() ([]byte, error) {
	pub, ok := key.Public().(*rsa.PublicKey)
	if !ok {
		other := ecdh.P256()
		if key.Public().(*ecdsa.PublicKey).Params().BitSize == 256 {
			other = ecdh.P384()
		}
		peer, err := other.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return map[string]func() ([]byte, error){
			"another curve": func() ([]byte, error) { return key.ECDH(ctx, peer.PublicKey()) },
			"no point":      func() ([]byte, error) { return key.ECDH(ctx, nil) },
		}
	}
	good, err := rsa.EncryptOAEP(hash.New(), rand.Reader, pub, []byte("plaintext"), nil)
	if err != nil {
		t.Fatal(err)
	}
	labelled, err := rsa.EncryptOAEP(hash.New(), rand.Reader, pub, []byte("plaintext"), []byte("label"))
	if err != nil {
		t.Fatal(err)
	}
	padded := slices.Concat([]byte{0, 2}, bytes.Repeat([]byte{1}, len(good)-6), []byte{0}, []byte("key")) // RFC 8017 §7.2.1
	v15 := new(big.Int).Exp(new(big.Int).SetBytes(padded), big.NewInt(int64(pub.E)), pub.N).FillBytes(make([]byte, len(good)))
	changed := bytes.Clone(good)
	changed[len(changed)/2] ^= 1
	all := map[string]func() ([]byte, error){}
	for name, ciphertext := range map[string][]byte{
		"changed": changed, "a label": labelled, "PKCS #1 v1.5": v15, "zero": make([]byte, len(good)),
		"one": append(make([]byte, len(good)-1), 1), "the modulus": pub.N.Bytes(), "too large": bytes.Repeat([]byte{0xff}, len(good)),
		"empty": nil, "too short": good[1:], "too long": append([]byte{0}, good...),
	} {
		all[name] = func() ([]byte, error) { return key.Decrypt(ctx, ciphertext, &rsa.OAEPOptions{Hash: hash}) }
	}
	return all
}

// openOnce encrypts something random to key's public half by the standard library alone, and has it
// decrypted; with hash 0 it agrees on a secret.
func openOnce(ctx context.Context, key *hsm.Key, hash crypto.Hash) error {
	var got, want []byte
	var err error
	switch pub := key.Public().(type) {
	case *rsa.PublicKey:
		want = make([]byte, 16)
		rand.Read(want)
		sealed, sealErr := rsa.EncryptOAEP(hash.New(), rand.Reader, pub, want, nil)
		if sealErr != nil {
			return sealErr
		}
		got, err = key.Decrypt(ctx, sealed, &rsa.OAEPOptions{Hash: hash})
	case *ecdsa.PublicKey:
		theirs, curveErr := pub.ECDH()
		if curveErr != nil {
			return curveErr
		}
		ours, curveErr := theirs.Curve().GenerateKey(rand.Reader)
		if curveErr != nil {
			return curveErr
		}
		if want, curveErr = ours.ECDH(theirs); curveErr != nil {
			return curveErr
		}
		got, err = key.ECDH(ctx, ours.PublicKey())
	default:
		return fmt.Errorf("a key of type %T does not decrypt", pub)
	}
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return errors.New("it was decrypted to something else")
	}
	return nil
}
