package worker

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"sync"
	"testing"

	"keysetd.example/hsm/wire"
	"keysetd.example/internal/keyspec"
)

var hashes = []struct {
	hash crypto.Hash
	pss  wire.Mechanism
	oid  asn1.ObjectIdentifier
}{
	{crypto.SHA256, wire.RSAPSS256, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}},
	{crypto.SHA384, wire.RSAPSS384, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}},
	{crypto.SHA512, wire.RSAPSS512, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}},
}

// digestInfo is what CKM_RSA_PKCS wants (RFC 8017 §9.2).
func digestInfo(t testing.TB, oid asn1.ObjectIdentifier, digest []byte) []byte {
	t.Helper()
	der, err := asn1.Marshal(struct {
		Algorithm pkix.AlgorithmIdentifier
		Digest    []byte
	}{pkix.AlgorithmIdentifier{Algorithm: oid, Parameters: asn1.NullRawValue}, digest})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func verifyECDSA(pub *ecdsa.PublicKey, digest, sig []byte) bool {
	n := (pub.Params().BitSize + 7) / 8
	return len(sig) == 2*n && ecdsa.Verify(pub, digest, new(big.Int).SetBytes(sig[:n]), new(big.Int).SetBytes(sig[n:]))
}

// Every spec is made, and every signature that it can make is verified by Go, by its
// CKA_ID, its label and both, in the process that made it and in a new one.
func TestGenerateSignVerify(t *testing.T) {
	made, dir := newToken(t, 2)
	objects := map[keyspec.Spec]wire.Object{}
	for _, spec := range keyspec.All() {
		o := made.generate(t, string(spec), spec)
		objects[spec] = o
		checkObject(t, o, spec)
	}
	for _, p := range []*process{made, reopen(t, dir)} {
		for spec, o := range objects {
			pub, err := x509.ParsePKIXPublicKey(o.PublicKey)
			if err != nil {
				t.Fatal(err)
			}
			for _, ref := range []wire.Ref{{ID: o.ID}, {Label: o.Label}, {ID: o.ID, Label: o.Label}} {
				sign := func(m wire.Mechanism, data []byte) []byte {
					sig, took, err := p.Sign(t.Context(), wire.SignRequest{Key: ref, Mechanism: m, Data: data})
					if err != nil {
						t.Fatalf("%s by %s: %v", spec, m, err)
					}
					if took.Call <= 0 {
						t.Errorf("%s by %s took %v", spec, m, took)
					}
					return sig
				}
				checkSignatures(t, pub, sign)
			}
		}
	}
}

func checkSignatures(t *testing.T, pub crypto.PublicKey, sign func(wire.Mechanism, []byte) []byte) {
	t.Helper()
	message := []byte("the message")
	for _, h := range hashes {
		sum := h.hash.New()
		sum.Write(message)
		digest := sum.Sum(nil)
		switch pub := pub.(type) {
		case *rsa.PublicKey:
			if err := rsa.VerifyPKCS1v15(pub, h.hash, digest, sign(wire.RSAPKCS, digestInfo(t, h.oid, digest))); err != nil {
				t.Errorf("RSA %d, %v: %v", pub.N.BitLen(), h.hash, err)
			}
			if err := rsa.VerifyPSS(pub, h.hash, digest, sign(h.pss, digest), &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}); err != nil {
				t.Errorf("RSA-PSS %d, %v: %v", pub.N.BitLen(), h.hash, err)
			}
		case *ecdsa.PublicKey:
			if !verifyECDSA(pub, digest, sign(wire.ECDSA, digest)) {
				t.Errorf("%s, %v: the signature does not verify", pub.Params().Name, h.hash)
			}
		}
	}
	if pub, ok := pub.(ed25519.PublicKey); ok {
		for _, n := range []int{1, 64, 100_000} {
			m := bytes.Repeat([]byte("m"), n)
			if !ed25519.Verify(pub, m, sign(wire.EdDSA, m)) {
				t.Errorf("Ed25519, %d bytes: the signature does not verify", n)
			}
		}
	}
}

func checkObject(t *testing.T, o wire.Object, spec keyspec.Spec) {
	t.Helper()
	a := o.Attributes
	for name, got := range map[string]struct {
		is   *bool
		want bool
	}{
		"token": {a.Token, true}, "private": {a.Private, true}, "sensitive": {a.Sensitive, true},
		"always sensitive": {a.AlwaysSensitive, true}, "extractable": {a.Extractable, false},
		"never extractable": {a.NeverExtractable, true}, "modifiable": {a.Modifiable, false}, "local": {a.Local, true},
		"sign": {a.Sign, true}, "sign recover": {a.SignRecover, false}, "decrypt": {a.Decrypt, false},
		"derive": {a.Derive, false}, "unwrap": {a.Unwrap, false},
	} {
		if got.is == nil || *got.is != got.want {
			t.Errorf("%s: attribute %s is not %v", spec, name, got.want)
		}
	}
	pub, err := x509.ParsePKIXPublicKey(o.PublicKey)
	if err != nil {
		t.Fatalf("%s: %v", spec, err)
	}
	if got, err := keyspec.Of(pub); got != spec {
		t.Errorf("%s was made as %s, %v", spec, got, err)
	}
	if !o.Private || !o.Public || o.Duplicates != 0 || string(o.ID) != string(spec) || o.Label != "keysetd:"+string(spec) {
		t.Errorf("%s: %+v", spec, o)
	}
}

func TestSignRefuses(t *testing.T) {
	p, _ := newToken(t, 1)
	p.generate(t, "ec", keyspec.P256)
	p.generate(t, "ed", keyspec.Ed25519)
	p.generate(t, "rsa", keyspec.RSA2048)
	digest := make([]byte, 32)
	tests := map[string]struct {
		request wire.SignRequest
		want    wire.Reason
	}{
		"no such key":           {wire.SignRequest{Key: wire.Ref{ID: []byte("none")}, Mechanism: wire.ECDSA, Data: digest}, wire.KeyMissing},
		"label of another":      {wire.SignRequest{Key: wire.Ref{ID: []byte("ec"), Label: "keysetd:ed"}, Mechanism: wire.ECDSA, Data: digest}, wire.KeyMissing},
		"a prefix of a CKA_ID":  {wire.SignRequest{Key: wire.Ref{ID: []byte("e")}, Mechanism: wire.ECDSA, Data: digest}, wire.KeyMissing},
		"any key":               {wire.SignRequest{Mechanism: wire.ECDSA, Data: digest}, wire.Protocol},
		"digest too short":      {wire.SignRequest{Key: wire.Ref{ID: []byte("ec")}, Mechanism: wire.ECDSA, Data: digest[:31]}, wire.Protocol},
		"digest of other hash":  {wire.SignRequest{Key: wire.Ref{ID: []byte("rsa")}, Mechanism: wire.RSAPSS512, Data: digest}, wire.Protocol},
		"mechanism 0":           {wire.SignRequest{Key: wire.Ref{ID: []byte("ec")}, Data: digest}, wire.Unsupported},
		"mechanism 99":          {wire.SignRequest{Key: wire.Ref{ID: []byte("ec")}, Mechanism: 99, Data: digest}, wire.Unsupported},
		"Ed25519 key for ECDSA": {wire.SignRequest{Key: wire.Ref{ID: []byte("ed")}, Mechanism: wire.ECDSA, Data: digest}, wire.Unsupported},
		"EC key for RSA":        {wire.SignRequest{Key: wire.Ref{ID: []byte("ec")}, Mechanism: wire.RSAPKCS, Data: digest}, wire.Unsupported},
	}
	for name, tt := range tests {
		_, _, err := p.Sign(t.Context(), tt.request)
		if reasonOf(err) != tt.want {
			t.Errorf("%s: got %v, want %s", name, err, tt.want)
		}
		// A request at fault has a code, by which it is told from a worker at fault.
		if tt.want == wire.Protocol && errorOf(err).Code == 0 {
			t.Errorf("%s: no code in %v", name, err)
		}
	}
	// What the token itself refuses has its code and function, and costs only the session.
	long := wire.SignRequest{Key: wire.Ref{ID: []byte("rsa")}, Mechanism: wire.RSAPKCS, Data: make([]byte, 500)}
	for range 3 {
		if _, _, err := p.Sign(t.Context(), long); errorOf(err).Function != "C_Sign" || errorOf(err).Code == 0 {
			t.Errorf("got %v", err)
		}
	}
	if _, _, err := p.Sign(t.Context(), wire.SignRequest{Key: wire.Ref{ID: []byte("ec")}, Mechanism: wire.ECDSA, Data: digest}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestManyAtOnce(t *testing.T) {
	p, _ := newToken(t, 4)
	o := p.generate(t, "ec", keyspec.P256)
	pub, err := x509.ParsePKIXPublicKey(o.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	var callers sync.WaitGroup
	for i := range 8 {
		callers.Go(func() {
			for j := range 200 {
				digest := sha256.Sum256(fmt.Append(nil, i, j))
				sig, _, err := p.Sign(t.Context(), wire.SignRequest{Key: wire.Ref{ID: o.ID}, Mechanism: wire.ECDSA, Data: digest[:]})
				if err != nil {
					t.Error(err)
					return
				}
				if !verifyECDSA(pub.(*ecdsa.PublicKey), digest[:], sig) {
					t.Errorf("caller %d: signature %d is not for its digest", i, j)
				}
			}
		})
	}
	callers.Wait()
}

func BenchmarkSign(b *testing.B) {
	p, _ := newToken(b, 8)
	digest := sha256.Sum256([]byte("message"))
	for _, bm := range []struct {
		spec      keyspec.Spec
		mechanism wire.Mechanism
		data      []byte
	}{
		{keyspec.P256, wire.ECDSA, digest[:]},
		{keyspec.Ed25519, wire.EdDSA, digest[:]},
		{keyspec.RSA2048, wire.RSAPKCS, digestInfo(b, hashes[0].oid, digest[:])},
	} {
		r := wire.SignRequest{Key: wire.Ref{ID: p.generate(b, string(bm.spec), bm.spec).ID}, Mechanism: bm.mechanism, Data: bm.data}
		for _, callers := range []int{1, 16} {
			b.Run(fmt.Sprintf("%s/callers=%d", bm.spec, callers), func(b *testing.B) {
				b.ReportAllocs()
				var left = make(chan struct{}, b.N)
				for range b.N {
					left <- struct{}{}
				}
				close(left)
				b.ResetTimer()
				var running sync.WaitGroup
				for range callers {
					running.Go(func() {
						for range left {
							if _, _, err := p.Sign(b.Context(), r); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				running.Wait()
			})
		}
	}
}
