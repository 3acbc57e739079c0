package worker

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1" // RSA-OAEP of RFC 7518 §4.3
	"crypto/x509"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/miekg/pkcs11"

	"keysetd.example/hsm/wire"
	"keysetd.example/internal/keyspec"
)

// keyFor makes a key for a usage and returns its public half.
func (p *process) keyFor(t testing.TB, id string, spec keyspec.Spec, usage wire.Usage) crypto.PublicKey {
	t.Helper()
	o, _, err := p.Generate(t.Context(), wire.GenerateRequest{ID: []byte(id), Label: id, Spec: spec, Usage: usage})
	if err != nil {
		t.Fatal(err)
	}
	pub, err := x509.ParsePKIXPublicKey(o.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return pub
}

// sealed encrypts to pub with SHA-1, which is all that SoftHSM has.
func sealed(t testing.TB, pub crypto.PublicKey, plaintext []byte) []byte {
	t.Helper()
	c, err := rsa.EncryptOAEP(crypto.SHA1.New(), rand.Reader, pub.(*rsa.PublicKey), plaintext, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// agreement is a point for pub's key, and the secret that is shared with whoever sent it. What is wanted of the secret
// is tried for until it is so.
func agreement(t testing.TB, pub crypto.PublicKey, wanted func(secret []byte) bool) (point, secret []byte) {
	t.Helper()
	to, err := pub.(*ecdsa.PublicKey).ECDH()
	if err != nil {
		t.Fatal(err)
	}
	for {
		ours, err := to.Curve().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if secret, err = ours.ECDH(to); err != nil {
			t.Fatal(err)
		}
		if wanted(secret) {
			return ours.PublicKey().Bytes(), secret
		}
	}
}

func anySecret([]byte) bool { return true }

func decryptRequest(id string, m wire.Mechanism, data []byte) wire.DecryptRequest {
	return wire.DecryptRequest{Key: wire.Ref{ID: []byte(id)}, Mechanism: m, Data: data}
}

func TestDecrypt(t *testing.T) {
	p, dir := newToken(t, 1)
	for _, spec := range []keyspec.Spec{keyspec.RSA2048, keyspec.RSA3072} {
		pub := p.keyFor(t, string(spec), spec, wire.Decrypt)
		longest := spec.Bits()/8 - 2*20 - 2 // RFC 8017 §7.1.1
		for _, n := range []int{0, 1, 16, longest} {
			plaintext := make([]byte, n)
			rand.Read(plaintext[:n/2]) // and zeros at its end, which belong to it
			r := decryptRequest(string(spec), wire.OAEPSHA1, sealed(t, pub, plaintext))
			for _, p := range []*process{p, reopen(t, dir)} {
				d, took, err := p.Decrypt(t.Context(), r)
				if err != nil || !d.OK || !bytes.Equal(d.Plaintext, plaintext) || took.Call <= 0 {
					t.Errorf("%s, %d bytes: %x (%v) in %v, %v", spec, n, d.Plaintext, d.OK, took, err)
				}
			}
		}
	}
}

func TestDerive(t *testing.T) {
	p, dir := newToken(t, 1)
	for _, spec := range []keyspec.Spec{keyspec.P256, keyspec.P384, keyspec.P521} {
		pub := p.keyFor(t, string(spec), spec, wire.Derive)
		for name, wanted := range map[string]func([]byte) bool{
			"any": anySecret, "a zero in front": func(s []byte) bool { return s[0] == 0 },
		} {
			point, secret := agreement(t, pub, wanted)
			for _, p := range []*process{p, reopen(t, dir)} {
				d, _, err := p.Decrypt(t.Context(), decryptRequest(string(spec), wire.ECDH1, point))
				if err != nil || !d.OK || !bytes.Equal(d.Plaintext, secret) {
					t.Errorf("%s, %s: %v, %v, %d bytes, want %d", spec, name, d.OK, err, len(d.Plaintext), len(secret))
				}
			}
		}
	}
}

// A module that drops zeros in front, one that minds what is left on it, and those that do worse.
func TestDeriveByOddModules(t *testing.T) {
	for _, tt := range []struct {
		fault    string
		function string // "": it works
	}{{"derive-strips", ""}, {"derive-is-tidy", ""}, {"derive-lies", "C_GetAttributeValue"}, {"derive-unreadable", "C_GetAttributeValue"}} {
		p, _ := newToken(t, 1, "FAULT="+tt.fault)
		pub := p.keyFor(t, "ec", keyspec.P256, wire.Derive)
		for range 3 {
			point, secret := agreement(t, pub, func(s []byte) bool { return s[0] == 0 })
			d, _, err := p.Decrypt(t.Context(), decryptRequest("ec", wire.ECDH1, point))
			if tt.function == "" {
				if err != nil || !d.OK || !bytes.Equal(d.Plaintext, secret) {
					t.Errorf("%s: %v, %v, %x, want %x", tt.fault, d.OK, err, d.Plaintext, secret)
				}
			} else if e := errorOf(err); e.Function != "C_GetAttributeValue" && e.Function != "C_DestroyObject" || e.Code == 0 || d.OK {
				t.Errorf("%s: %v, %v", tt.fault, d.OK, err)
			}
		}
	}
}

// Every ciphertext that the token refuses gets the same answer, by the same way, and costs nothing, the session
// included.
func TestRefusedCiphertext(t *testing.T) {
	for _, fault := range []string{"none", "decrypt-stays-active"} {
		opened := filepath.Join(t.TempDir(), "opened")
		p, _ := newToken(t, 1, "FAULT="+fault, "OPENED="+opened)
		pub := p.keyFor(t, "rsa", keyspec.RSA2048, wire.Decrypt)
		other := p.keyFor(t, "other", keyspec.RSA2048, wire.Decrypt)
		p.generate(t, "ec", keyspec.P256)
		good := sealed(t, pub, []byte("plaintext"))
		wrong := bytes.Clone(good)
		wrong[len(wrong)-1] ^= 1
		decrypt := func(c []byte) wire.Decrypted {
			t.Helper()
			d, took, err := p.Decrypt(t.Context(), decryptRequest("rsa", wire.OAEPSHA1, c))
			if err != nil || took.Call <= 0 {
				t.Fatalf("%s: %v, took %v", fault, err, took)
			}
			return d
		}
		sessions := func() byte {
			b, err := os.ReadFile(opened)
			if err != nil || len(b) != 1 {
				t.Fatalf("%v, %v", b, err)
			}
			return b[0]
		}
		decrypt(good)
		before := sessions()
		for name, c := range map[string][]byte{
			"changed": wrong, "another key's": sealed(t, other, []byte("plaintext")), "zero": make([]byte, 256), "too large": bytes.Repeat([]byte{0xff}, 256),
			"too short": good[1:], "empty": nil, "too long": append([]byte{0}, good...),
		} {
			if d := decrypt(c); d.OK || len(d.Plaintext) != 0 {
				t.Errorf("%s, %s: %x", fault, name, d.Plaintext)
			}
		}
		if d := decrypt(good); !d.OK || string(d.Plaintext) != "plaintext" {
			t.Errorf("%s: afterwards %v", fault, d)
		}
		decrypt(wrong)
		if _, _, err := p.Sign(t.Context(), signRequest()); err != nil {
			t.Errorf("%s: a signature afterwards: %v", fault, err)
		}
		if n := sessions() - before; fault == "none" && n != 0 {
			t.Errorf("%d sessions were opened for ciphertexts that were refused", n)
		}
	}
}

// What the module says of itself is told from what it says of a ciphertext.
func TestDecryptByOddModules(t *testing.T) {
	for _, tt := range []struct {
		fault string
		code  uint64 // 0: refused
	}{{"decrypt-loses", pkcs11.CKR_DEVICE_ERROR}, {"decrypt-vendor", 0}, {"decrypt-lies", pkcs11.CKR_GENERAL_ERROR}} {
		p, _ := newToken(t, 1, "FAULT="+tt.fault)
		c := sealed(t, p.keyFor(t, "rsa", keyspec.RSA2048, wire.Decrypt), []byte("plaintext"))
		for range 2 {
			d, _, err := p.Decrypt(t.Context(), decryptRequest("rsa", wire.OAEPSHA1, c))
			if e := errorOf(err); e.Code != tt.code || d.OK || tt.code != 0 && e.Function != "C_Decrypt" {
				t.Errorf("%s: %v, %v", tt.fault, d.OK, err)
			}
		}
	}
}

func TestDecryptRefuses(t *testing.T) {
	p, _ := newToken(t, 1)
	c := sealed(t, p.keyFor(t, "rsa", keyspec.RSA2048, wire.Decrypt), []byte("plaintext"))
	point, _ := agreement(t, p.keyFor(t, "ec", keyspec.P256, wire.Derive), anySecret)
	p.generate(t, "sign-rsa", keyspec.RSA2048)
	p.generate(t, "sign-ec", keyspec.P256)
	p.generate(t, "ed", keyspec.Ed25519)
	for name, tt := range map[string]struct {
		request wire.DecryptRequest
		reason  wire.Reason
		code    uint64
	}{
		"no such key":        {decryptRequest("none", wire.OAEPSHA1, c), wire.KeyMissing, 0},
		"any key":            {decryptRequest("", wire.OAEPSHA1, c), wire.Protocol, pkcs11.CKR_ARGUMENTS_BAD},
		"mechanism 0":        {decryptRequest("rsa", 0, c), wire.Unsupported, 0},
		"one to sign":        {decryptRequest("rsa", wire.RSAPKCS, c), wire.Unsupported, 0},
		"EC key for RSA":     {decryptRequest("ec", wire.OAEPSHA1, c), wire.Unsupported, 0},
		"RSA key for ECDH":   {decryptRequest("rsa", wire.ECDH1, point), wire.Unsupported, 0},
		"Ed25519 key":        {decryptRequest("ed", wire.ECDH1, point), wire.Unsupported, 0},
		"half a point":       {decryptRequest("ec", wire.ECDH1, point[:33]), wire.Protocol, pkcs11.CKR_DATA_LEN_RANGE},
		"no point":           {decryptRequest("ec", wire.ECDH1, nil), wire.Protocol, pkcs11.CKR_DATA_LEN_RANGE},
		"RSA key that signs": {decryptRequest("sign-rsa", wire.OAEPSHA1, c), "", pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED},
		"EC key that signs":  {decryptRequest("sign-ec", wire.ECDH1, point), "", pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED},
		// SoftHSM 2.6.1 has SHA-1 only.
		"SHA-256": {decryptRequest("rsa", wire.OAEPSHA256, c), "", pkcs11.CKR_ARGUMENTS_BAD},
	} {
		d, _, err := p.Decrypt(t.Context(), tt.request)
		if e := errorOf(err); e.Reason != tt.reason || e.Code != tt.code || d.OK {
			t.Errorf("%s: %v, %v", name, d.OK, err)
		}
	}
	for id, r := range map[string]wire.DecryptRequest{"rsa": decryptRequest("rsa", wire.OAEPSHA1, c), "ec": decryptRequest("ec", wire.ECDH1, point)} {
		if d, _, err := p.Decrypt(t.Context(), r); err != nil || !d.OK {
			t.Errorf("%s afterwards: %v, %v", id, d.OK, err)
		}
	}
}

// Decryptions, derivations, signatures, lists and new keys at once.
func TestAllAtOnce(t *testing.T) {
	p, _ := newToken(t, 4)
	rsaKey, ecKey := p.keyFor(t, "rsa", keyspec.RSA2048, wire.Decrypt), p.keyFor(t, "ec-derive", keyspec.P256, wire.Derive)
	p.generate(t, "ec", keyspec.P256)
	var callers sync.WaitGroup
	for i := range 8 {
		callers.Go(func() {
			for j := range 50 {
				plaintext := []byte{byte(i), byte(j)}
				r := decryptRequest("rsa", wire.OAEPSHA1, sealed(t, rsaKey, plaintext))
				if i%2 == 0 {
					var point []byte
					point, plaintext = agreement(t, ecKey, anySecret)
					r = decryptRequest("ec-derive", wire.ECDH1, point)
				}
				if d, _, err := p.Decrypt(t.Context(), r); err != nil || !bytes.Equal(d.Plaintext, plaintext) {
					t.Errorf("caller %d: %v", i, err)
					return
				}
				if _, _, err := p.Sign(t.Context(), signRequest()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	callers.Go(func() {
		for i := range 20 {
			if o, _, err := p.List(t.Context(), wire.ListRequest{}); err != nil || len(o) < 3 {
				t.Errorf("list: %d keys, %v", len(o), err)
			}
			if _, _, err := p.Generate(t.Context(), wire.GenerateRequest{ID: []byte{byte(i), 1}, Label: "l", Spec: keyspec.P256, Usage: wire.Sign}); err != nil {
				t.Error(err)
			}
		}
	})
	callers.Wait()
}
