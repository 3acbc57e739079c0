package worker

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/miekg/pkcs11"
	"pgregory.net/rapid"

	"keysetd.example/internal/keyspec"
)

func number(n uint) []byte { return binary.NativeEndian.AppendUint64(nil, uint64(n)) }

// The points as SoftHSM, tpm2-pkcs11 and tokens without the wrapping give them.
func TestPointForms(t *testing.T) {
	for _, spec := range []keyspec.Spec{keyspec.P256, keyspec.P384, keyspec.P521} {
		key, err := ecdsa.GenerateKey(spec.Curve(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		want, _ := x509.MarshalPKIXPublicKey(&key.PublicKey)
		point, _ := key.PublicKey.Bytes()
		der, _ := asn1.Marshal(point)
		malformed := append([]byte{4, byte(len(point))}, point...)
		offCurve := slices.Clone(der)
		offCurve[len(offCurve)-1] ^= 1
		tests := map[string]struct {
			point []byte
			ok    bool
		}{
			"DER": {der, true}, "one byte of length": {malformed, true}, "bare": {point, true},
			"empty": {nil, false}, "cut": {der[:len(der)-1], false}, "longer": {append(slices.Clone(der), 0), false},
			"other tag": {append([]byte{3, byte(len(point))}, point...), false}, "not on the curve": {offCurve, false},
		}
		for name, tt := range tests {
			v := values{pkcs11.CKA_KEY_TYPE: number(pkcs11.CKK_EC), pkcs11.CKA_EC_PARAMS: curveOID(spec), pkcs11.CKA_EC_POINT: tt.point}
			if got := v.spki(); tt.ok != bytes.Equal(got, want) || tt.ok != (got != nil) {
				t.Errorf("%s, %s: got %x", spec, name, got)
			}
		}
	}
}

func TestEd25519Forms(t *testing.T) {
	pub, _, _ := ed25519.GenerateKey(rand.Reader)
	want, _ := x509.MarshalPKIXPublicKey(pub)
	wrapped, _ := asn1.Marshal([]byte(pub))
	for _, params := range []string{"\x06\x03\x2b\x65\x70", "\x13\x0cedwards25519"} {
		for _, point := range [][]byte{wrapped, pub} {
			v := values{pkcs11.CKA_KEY_TYPE: number(ckkECEdwards), pkcs11.CKA_EC_PARAMS: []byte(params), pkcs11.CKA_EC_POINT: point}
			if got := v.spki(); !bytes.Equal(got, want) {
				t.Errorf("%q, %d bytes: got %x", params, len(point), got)
			}
		}
	}
}

func TestNoKeySpecOfOurs(t *testing.T) {
	key, err := ecdsa.GenerateKey(keyspec.P256.Curve(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, _ := key.PublicKey.Bytes()
	p256, _ := asn1.Marshal(point)
	for name, v := range map[string]values{
		"nothing":            {},
		"DSA":                {pkcs11.CKA_KEY_TYPE: number(pkcs11.CKK_DSA)},
		"RSA 1024":           {pkcs11.CKA_KEY_TYPE: number(pkcs11.CKK_RSA), pkcs11.CKA_MODULUS: bytes.Repeat([]byte{255}, 128), pkcs11.CKA_PUBLIC_EXPONENT: []byte{1, 0, 1}},
		"RSA, no exponent":   {pkcs11.CKA_KEY_TYPE: number(pkcs11.CKK_RSA), pkcs11.CKA_MODULUS: bytes.Repeat([]byte{255}, 256)},
		"RSA, long exponent": {pkcs11.CKA_KEY_TYPE: number(pkcs11.CKK_RSA), pkcs11.CKA_MODULUS: bytes.Repeat([]byte{255}, 256), pkcs11.CKA_PUBLIC_EXPONENT: []byte{1, 0, 0, 0, 1}},
		"secp256k1":          {pkcs11.CKA_KEY_TYPE: number(pkcs11.CKK_EC), pkcs11.CKA_EC_PARAMS: []byte("\x06\x05\x2b\x81\x04\x00\x0a"), pkcs11.CKA_EC_POINT: p256},
		"P-256 as Edwards":   {pkcs11.CKA_KEY_TYPE: number(ckkECEdwards), pkcs11.CKA_EC_PARAMS: curveOID(keyspec.P256), pkcs11.CKA_EC_POINT: p256},
		"Ed25519 as EC":      {pkcs11.CKA_KEY_TYPE: number(pkcs11.CKK_EC), pkcs11.CKA_EC_PARAMS: curveOID(keyspec.Ed25519), pkcs11.CKA_EC_POINT: make([]byte, 32)},
	} {
		if got := v.spki(); got != nil {
			t.Errorf("%s: got %x", name, got)
		}
	}
}

// Whatever a token gives, it is a key that PKIX reads back, or nothing.
func TestAnyValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		some := rapid.SliceOfN(rapid.Byte(), 0, 300)
		v := values{
			pkcs11.CKA_KEY_TYPE:        number(rapid.SampledFrom([]uint{pkcs11.CKK_RSA, pkcs11.CKK_EC, ckkECEdwards, 77}).Draw(t, "type")),
			pkcs11.CKA_MODULUS:         some.Draw(t, "modulus"),
			pkcs11.CKA_PUBLIC_EXPONENT: some.Draw(t, "exponent"),
			pkcs11.CKA_EC_PARAMS:       curveOID(rapid.SampledFrom(keyspec.All()).Draw(t, "curve")),
			pkcs11.CKA_EC_POINT:        some.Draw(t, "point"),
		}
		der := v.spki()
		if der == nil {
			return
		}
		pub, err := x509.ParsePKIXPublicKey(der)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := keyspec.Of(pub); err != nil {
			t.Fatal(err)
		}
	})
}
