package worker

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"

	"github.com/miekg/pkcs11"

	"keysetd.example/hsm/wire"
	"keysetd.example/internal/keyspec"
)

// publicTypes are what publicKey reads. A private RSA object has its part of them.
var publicTypes = []uint{
	pkcs11.CKA_KEY_TYPE, pkcs11.CKA_MODULUS, pkcs11.CKA_PUBLIC_EXPONENT, pkcs11.CKA_EC_PARAMS, pkcs11.CKA_EC_POINT,
}

// curves are CKA_EC_PARAMS in DER: the object identifiers of RFC 5480 §2.1.1.1 and RFC
// 8410 §3, and the name that PKCS#11 v3.0 §2.3.3 gives the Edwards curve.
var curves = map[string]keyspec.Spec{
	"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07": keyspec.P256,
	"\x06\x05\x2b\x81\x04\x00\x22":             keyspec.P384,
	"\x06\x05\x2b\x81\x04\x00\x23":             keyspec.P521,
	"\x06\x03\x2b\x65\x70":                     keyspec.Ed25519,
	"\x13\x0cedwards25519":                     keyspec.Ed25519,
}

// spki is the key in PKIX DER, and nil where v does not tell or is no key spec of ours.
func (v values) spki() []byte {
	pub, err := v.publicKey()
	if err != nil {
		return nil
	}
	return spkiOf(pub)
}

// spkiOf is nil where pub is no key spec of ours.
func spkiOf(pub crypto.PublicKey) []byte {
	if _, err := keyspec.Of(pub); err != nil {
		return nil
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil
	}
	return der
}

// certified is the public half of a private key as the certificates with its CKA_ID tell it: Java
// keeps those on a token, and no public key. It is nil where there are none, or they differ.
func (s session) certified(private half) ([]byte, error) {
	if len(private.id) == 0 {
		return nil, nil
	}
	found, err := s.find("certificates", refTemplate(pkcs11.CKO_CERTIFICATE, wire.Ref{ID: private.id})...)
	if err != nil {
		return nil, err
	}
	var one []byte
	for _, h := range found {
		v, err := s.attributes(h, pkcs11.CKA_VALUE)
		if err != nil {
			return nil, err
		}
		cert, err := x509.ParseCertificate(v[pkcs11.CKA_VALUE])
		if err != nil {
			continue // not X.509
		}
		spki := spkiOf(cert.PublicKey)
		if spki == nil || one != nil && !bytes.Equal(one, spki) {
			return nil, nil
		}
		one = spki
	}
	return one, nil
}

func (v values) publicKey() (crypto.PublicKey, error) {
	switch kind := ulong(v[pkcs11.CKA_KEY_TYPE]); kind {
	case pkcs11.CKK_RSA:
		n, e := new(big.Int).SetBytes(v[pkcs11.CKA_MODULUS]), new(big.Int).SetBytes(v[pkcs11.CKA_PUBLIC_EXPONENT])
		if n.Sign() == 0 || e.Sign() == 0 || e.BitLen() > 31 {
			return nil, errors.New("no RSA modulus, or no exponent that Go can hold")
		}
		return &rsa.PublicKey{N: n, E: int(e.Int64())}, nil
	case pkcs11.CKK_EC, ckkECEdwards:
		spec := curves[string(v[pkcs11.CKA_EC_PARAMS])]
		if (spec == keyspec.Ed25519) != (kind == ckkECEdwards) {
			return nil, errors.New("the curve is not one for the key's type")
		}
		return ecPublicKey(spec, v[pkcs11.CKA_EC_POINT])
	default:
		return nil, fmt.Errorf("unknown key type 0x%X", kind)
	}
}

func ecPublicKey(spec keyspec.Spec, value []byte) (crypto.PublicKey, error) {
	if spec == keyspec.Ed25519 {
		b, err := octets(value, ed25519.PublicKeySize)
		return ed25519.PublicKey(b), err
	}
	curve := spec.Curve()
	if curve == nil {
		return nil, errors.New("unknown curve")
	}
	b, err := octets(value, 1+2*((curve.Params().BitSize+7)/8))
	if err != nil {
		return nil, err
	}
	return ecdsa.ParseUncompressedPublicKey(curve, b) // checks that it is on the curve
}

// octets takes the n bytes of a point out of its DER OCTET STRING. As n is known, the
// forms that tokens give are told apart by what precedes it: nothing (the bare point), a
// length of one byte (tpm2-pkcs11 does so even above 127), or the long form.
func octets(value []byte, n int) ([]byte, error) {
	if len(value) >= n {
		switch before := string(value[:len(value)-n]); before {
		case "", "\x04" + string([]byte{byte(n)}), "\x04\x81" + string([]byte{byte(n)}):
			return value[len(value)-n:], nil
		}
	}
	return nil, fmt.Errorf("an EC point of %d bytes in a form that is not known", len(value))
}
