package hsm

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"fmt"
	"math/big"
)

// VerifyMode says which signatures are verified before they are released.
type VerifyMode string

// The modes, as the configuration writes them.
const (
	VerifyRSA  VerifyMode = "rsa"  // RSA signatures: a fault in CRT gives the key away (invariant 10)
	VerifyAll  VerifyMode = "all"  // every signature; for ECDSA it costs as much as signing
	VerifyNone VerifyMode = "none" // none
)

func (m VerifyMode) check() error {
	switch m {
	case VerifyRSA, VerifyAll, VerifyNone:
		return nil
	}
	return fmt.Errorf("unknown mode %q of verifying signatures; the modes are rsa, all, none", string(m))
}

func (m VerifyMode) wants(pub crypto.PublicKey) bool {
	_, isRSA := pub.(*rsa.PublicKey)
	return m == VerifyAll || m == VerifyRSA && isRSA
}

// wellFormed tells whether sig has the one length that a signature of this key has.
func wellFormed(pub crypto.PublicKey, sig []byte) bool {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		return len(sig) == k.Size()
	case *ecdsa.PublicKey:
		return len(sig) == 2*coordinate(k)
	case ed25519.PublicKey:
		return len(sig) == ed25519.SignatureSize
	}
	return false
}

// verifies tells whether sig, in the form in which Key.Sign returns it, is one of digest.
func verifies(pub crypto.PublicKey, digest, sig []byte, opts crypto.SignerOpts) bool {
	if !wellFormed(pub, sig) {
		return false
	}
	switch k := pub.(type) {
	case *rsa.PublicKey:
		if _, ok := opts.(*rsa.PSSOptions); ok {
			strict := rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
			return rsa.VerifyPSS(k, opts.HashFunc(), digest, sig, &strict) == nil
		}
		return rsa.VerifyPKCS1v15(k, opts.HashFunc(), digest, sig) == nil
	case *ecdsa.PublicKey:
		r, s := split(sig)
		return ecdsa.Verify(k, digest, r, s)
	case ed25519.PublicKey:
		return ed25519.Verify(k, digest, sig)
	}
	return false
}

// coordinate is the length of r and of s, in bytes.
func coordinate(k *ecdsa.PublicKey) int { return (k.Params().N.BitLen() + 7) / 8 }

// split takes r‖s (IEEE P1363) apart.
func split(sig []byte) (r, s *big.Int) {
	n := len(sig) / 2
	return new(big.Int).SetBytes(sig[:n]), new(big.Int).SetBytes(sig[n:])
}
