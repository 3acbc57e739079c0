package hsm

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"testing"

	"keysetd.example/hsm/wire"
)

var (
	testRSA, _     = rsa.GenerateKey(rand.Reader, 2048)
	testP256, _    = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	testP521, _    = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	testEd25519    = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	testHash32     = bytes.Repeat([]byte{7}, 32)
	testHash48     = bytes.Repeat([]byte{7}, 48)
	testHash64     = bytes.Repeat([]byte{7}, 64)
	pssHash        = func(salt int) *rsa.PSSOptions { return &rsa.PSSOptions{SaltLength: salt, Hash: crypto.SHA256} }
	testEd25519ctx = &ed25519.Options{Context: "c"}
	testEd25519ph  = &ed25519.Options{Hash: crypto.SHA512}
)

func TestPrepare(t *testing.T) {
	for _, c := range []struct {
		name   string
		pub    crypto.PublicKey
		digest []byte
		opts   crypto.SignerOpts
		want   wire.Mechanism
		length int
		err    error
	}{
		{"RS256", &testRSA.PublicKey, testHash32, crypto.SHA256, wire.RSAPKCS, 19 + 32, nil},
		{"RS384", &testRSA.PublicKey, testHash48, crypto.SHA384, wire.RSAPKCS, 19 + 48, nil},
		{"RS512", &testRSA.PublicKey, testHash64, crypto.SHA512, wire.RSAPKCS, 19 + 64, nil},
		{"PS256", &testRSA.PublicKey, testHash32, pssHash(rsa.PSSSaltLengthEqualsHash), wire.RSAPSS256, 32, nil},
		{"PS256, salt named", &testRSA.PublicKey, testHash32, pssHash(32), wire.RSAPSS256, 32, nil},
		{"PS256, automatic salt", &testRSA.PublicKey, testHash32, pssHash(rsa.PSSSaltLengthAuto), 0, 0, ErrUnsupported},
		{"PS256, short salt", &testRSA.PublicKey, testHash32, pssHash(20), 0, 0, ErrUnsupported},
		{"SHA-1", &testRSA.PublicKey, testHash32[:20], crypto.SHA1, 0, 0, ErrUnsupported},
		{"no hash", &testRSA.PublicKey, testHash32, crypto.Hash(0), 0, 0, ErrUnsupported},
		{"no options", &testRSA.PublicKey, testHash32, nil, 0, 0, ErrUnsupported},
		{"RS256, short", &testRSA.PublicKey, testHash32[:31], crypto.SHA256, 0, 0, ErrBadDigest},
		{"RS256, long", &testRSA.PublicKey, testHash48, crypto.SHA256, 0, 0, ErrBadDigest},
		{"RS256, empty", &testRSA.PublicKey, nil, crypto.SHA256, 0, 0, ErrBadDigest},
		{"ES256", &testP256.PublicKey, testHash32, crypto.SHA256, wire.ECDSA, 32, nil},
		{"P-256 with SHA-512", &testP256.PublicKey, testHash64, crypto.SHA512, wire.ECDSA, 32, nil},
		{"ES512", &testP521.PublicKey, testHash64, crypto.SHA512, wire.ECDSA, 64, nil},
		{"ES256, short", &testP256.PublicKey, testHash32[:20], crypto.SHA256, 0, 0, ErrBadDigest},
		{"Ed25519", testEd25519.Public(), []byte("message"), crypto.Hash(0), wire.EdDSA, 7, nil},
		{"Ed25519, too long", testEd25519.Public(), make([]byte, maxMessage+1), crypto.Hash(0), 0, 0, ErrUnsupported},
		{"Ed25519ph", testEd25519.Public(), testHash64, testEd25519ph, 0, 0, ErrUnsupported},
		{"Ed25519ctx", testEd25519.Public(), testHash64, testEd25519ctx, 0, 0, ErrUnsupported},
		{"not a key", "key", testHash32, crypto.SHA256, 0, 0, ErrUnsupported},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := bytes.Clone(c.digest)
			m, data, err := prepare(c.pub, c.digest, c.opts)
			if m != c.want || len(data) != c.length || !errors.Is(err, c.err) {
				t.Fatalf("prepare = %v, %d bytes, %v; want %v, %d, %v", m, len(data), err, c.want, c.length, c.err)
			}
			clear(data)
			if !bytes.Equal(c.digest, before) {
				t.Error("what is sent shares memory with the caller's digest")
			}
		})
	}
}

// The prefixes are right if crypto/rsa, which has its own, verifies what they make.
func TestDigestInfo(t *testing.T) {
	for h := range digestInfo {
		digest := bytes.Repeat([]byte{9}, h.Size())
		_, data, err := prepare(&testRSA.PublicKey, digest, h)
		if err != nil {
			t.Fatal(err)
		}
		sig, err := rsa.SignPKCS1v15(nil, testRSA, 0, data)
		if err != nil {
			t.Fatal(err)
		}
		if !verifies(&testRSA.PublicKey, digest, sig, h) {
			t.Errorf("%v: crypto/rsa does not accept our DigestInfo", h)
		}
	}
}

func TestVerifies(t *testing.T) {
	sig, err := rsa.SignPKCS1v15(nil, testRSA, crypto.SHA256, testHash32)
	if err != nil {
		t.Fatal(err)
	}
	long, err := rsa.SignPSS(rand.Reader, testRSA, crypto.SHA256, testHash32, pssHash(40))
	if err != nil {
		t.Fatal(err)
	}
	r, s, err := ecdsa.Sign(rand.Reader, testP256, testHash32)
	if err != nil {
		t.Fatal(err)
	}
	p1363 := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	ed := ed25519.Sign(testEd25519, testHash32)
	flip := func(sig []byte) []byte { b := bytes.Clone(sig); b[len(b)/2] ^= 1; return b }
	for _, c := range []struct {
		name string
		pub  crypto.PublicKey
		sig  []byte
		opts crypto.SignerOpts
		want bool
	}{
		{"RSA", &testRSA.PublicKey, sig, crypto.SHA256, true},
		{"RSA, a bit", &testRSA.PublicKey, flip(sig), crypto.SHA256, false},
		{"RSA, as PSS", &testRSA.PublicKey, sig, pssHash(-1), false},
		{"RSA, empty", &testRSA.PublicKey, nil, crypto.SHA256, false},
		{"PSS, another salt length", &testRSA.PublicKey, long, pssHash(-1), false},
		{"ECDSA", &testP256.PublicKey, p1363, crypto.SHA256, true},
		{"ECDSA, a bit", &testP256.PublicKey, flip(p1363), crypto.SHA256, false},
		{"ECDSA, short", &testP256.PublicKey, p1363[1:], crypto.SHA256, false},
		{"ECDSA, another key", &testP521.PublicKey, p1363, crypto.SHA256, false},
		{"Ed25519", testEd25519.Public(), ed, crypto.Hash(0), true},
		{"Ed25519, a bit", testEd25519.Public(), flip(ed), crypto.Hash(0), false},
		{"Ed25519, short", testEd25519.Public(), ed[:63], crypto.Hash(0), false},
	} {
		if got := verifies(c.pub, testHash32, c.sig, c.opts); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
