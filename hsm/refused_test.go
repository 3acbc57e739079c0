package hsm_test

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"keysetd.example/hsm"
	"keysetd.example/hsm/hsmtest/memory"
	"keysetd.example/hsm/wire"
	"keysetd.example/internal/keyspec"
)

// Nobody learns from an answer why a ciphertext is refused, and the token has its work with each.
func TestRefusedCiphertexts(t *testing.T) {
	m := memory.New("t", "1234")
	cfg := m.Config()
	cfg.Metrics = hsm.NewMetrics()
	reg := prometheus.NewRegistry()
	reg.MustRegister(cfg.Metrics)
	token := ready(t, cfg)
	key := keyTo(t, token, keyspec.RSA2048, hsm.Decrypt)
	pub := key.Public().(*rsa.PublicKey)
	good := seal(pub)
	if err := open(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	asked := func() float64 {
		return series(t, reg)["keysetd_token_operation_duration_seconds{mechanism=RSA_PKCS_OAEP_SHA1,operation=decrypt,token=t}"]
	}
	changed := bytes.Clone(good)
	changed[255] ^= 1
	told := map[string]bool{}
	for name, c := range map[string][]byte{
		"changed": changed, "short": good[1:], "long": append([]byte{0}, good...), "empty": nil,
		"the modulus": pub.N.Bytes(), "beyond it": bytes.Repeat([]byte{0xff}, 256), "zero": make([]byte, 256),
	} {
		before := asked()
		plaintext, err := key.Decrypt(t.Context(), c, &rsa.OAEPOptions{Hash: crypto.SHA1})
		if !errors.Is(err, hsm.ErrDecrypt) || plaintext != nil || strings.Contains(err.Error(), "CKR") {
			t.Errorf("%s: %x, %v", name, plaintext, err)
		} else {
			told[err.Error()] = true
		}
		if n := asked() - before; n != 1 {
			t.Errorf("%s: the token was asked %v times", name, n)
		}
	}
	if len(told) != 1 {
		t.Errorf("different errors: %v", told)
	}
	ec := keyTo(t, token, keyspec.P256, hsm.Derive)
	peer, err := ecdh.P384().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	m.Inject(memory.Fault{Op: wire.OpDecrypt, Drop: true}) // nobody asks
	for _, p := range []*ecdh.PublicKey{nil, peer.PublicKey()} {
		if z, err := ec.ECDH(t.Context(), p); !errors.Is(err, hsm.ErrDecrypt) || z != nil {
			t.Errorf("%v: %x, %v", p, z, err)
		}
	}
	if m.Started() != 1 {
		t.Errorf("%d workers", m.Started())
	}
}

// What no key does is refused before the token is asked.
func TestDecryptUnsupported(t *testing.T) {
	m := memory.New("t", "1234")
	token := ready(t, m.Config())
	rsaKey, ecKey, edKey := keyTo(t, token, keyspec.RSA2048, hsm.Decrypt), keyTo(t, token, keyspec.P256, hsm.Derive), keyTo(t, token, keyspec.Ed25519, hsm.Sign)
	peer, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	m.Inject(memory.Fault{Op: wire.OpDecrypt, Drop: true}) // nobody asks
	for name, opts := range map[string]*rsa.OAEPOptions{
		"nothing": nil, "no hash": {}, "SHA-512": {Hash: crypto.SHA512}, "another MGF1": {Hash: crypto.SHA256, MGFHash: crypto.SHA1},
		"a label": {Hash: crypto.SHA1, Label: []byte{0}},
	} {
		if _, err := rsaKey.Decrypt(t.Context(), seal(rsaKey.Public().(*rsa.PublicKey)), opts); !errors.Is(err, hsm.ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, key := range []*hsm.Key{ecKey, edKey} {
		if _, err := key.Decrypt(t.Context(), nil, &rsa.OAEPOptions{Hash: crypto.SHA1}); !errors.Is(err, hsm.ErrUnsupported) {
			t.Errorf("RSAES-OAEP with a %T: %v", key.Public(), err)
		}
	}
	for _, key := range []*hsm.Key{rsaKey, edKey} {
		if _, err := key.ECDH(t.Context(), peer.PublicKey()); !errors.Is(err, hsm.ErrUnsupported) {
			t.Errorf("ECDH with a %T: %v", key.Public(), err)
		}
	}
	for _, c := range []struct {
		key  *hsm.Key
		hash crypto.Hash
		not  bool
	}{
		{rsaKey, crypto.SHA1, false}, {rsaKey, crypto.SHA256, false}, {rsaKey, 0, true}, {rsaKey, crypto.SHA512, true},
		{ecKey, 0, false}, {ecKey, crypto.SHA1, true}, {edKey, 0, true}, {edKey, crypto.SHA1, true},
	} {
		if got := c.key.DecryptUnsupported(c.hash); got != c.not {
			t.Errorf("%T, %v: %v", c.key.Public(), c.hash, got)
		}
		if err := c.key.ProbeDecrypt(t.Context(), c.hash); c.not && !errors.Is(err, hsm.ErrUnsupported) {
			t.Errorf("%T, %v: %v", c.key.Public(), c.hash, err)
		}
		m.Clear()
	}
	mgf := &rsa.OAEPOptions{Hash: crypto.SHA1, MGFHash: crypto.SHA1}
	if p, err := rsaKey.Decrypt(t.Context(), seal(rsaKey.Public().(*rsa.PublicKey)), mgf); string(p) != "plaintext" || err != nil {
		t.Errorf("%q, %v", p, err)
	}
}
