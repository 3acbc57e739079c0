package hsmtest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"math/big"

	"keysetd.example/hsm"
)

// algorithms are all ways in which a key of pub signs.
func algorithms(pub crypto.PublicKey) []crypto.SignerOpts {
	if _, ok := pub.(ed25519.PublicKey); ok {
		return []crypto.SignerOpts{crypto.Hash(0)}
	}
	var all []crypto.SignerOpts
	for _, h := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		all = append(all, h)
		if _, ok := pub.(*rsa.PublicKey); ok {
			all = append(all, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: h})
		}
	}
	return all
}

// signOnce signs something random, and verifies it by the standard library alone.
func signOnce(ctx context.Context, key *hsm.Key, opts crypto.SignerOpts) error {
	digest := make([]byte, 100)
	if h := opts.HashFunc(); h != 0 {
		digest = digest[:h.Size()]
	}
	rand.Read(digest)
	sig, err := key.Sign(ctx, digest, opts)
	if err != nil {
		return err
	}
	if !verifies(key.Public(), digest, sig, opts) {
		return errors.New("the signature does not verify")
	}
	return nil
}

func verifies(pub crypto.PublicKey, digest, sig []byte, opts crypto.SignerOpts) bool {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		if o, ok := opts.(*rsa.PSSOptions); ok {
			return rsa.VerifyPSS(k, o.Hash, digest, sig, o) == nil
		}
		return rsa.VerifyPKCS1v15(k, opts.HashFunc(), digest, sig) == nil
	case *ecdsa.PublicKey:
		n := (k.Params().BitSize + 7) / 8
		return len(sig) == 2*n && ecdsa.Verify(k, digest, new(big.Int).SetBytes(sig[:n]), new(big.Int).SetBytes(sig[n:]))
	case ed25519.PublicKey:
		return ed25519.Verify(k, digest, sig)
	}
	return false
}
