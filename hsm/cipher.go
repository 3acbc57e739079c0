package hsm

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1" // of RSA-OAEP (RFC 7518 §4.3): it need not resist collisions there
	_ "crypto/sha256"
	"fmt"
	"math/big"

	"keysetd.example/hsm/wire"
)

// decryption is how a token decrypts for the key of pub: by RSAES-OAEP with a hash, or with hash 0
// by agreement on a secret.
func decryption(pub crypto.PublicKey, hash crypto.Hash) (wire.Mechanism, error) {
	switch pub.(type) {
	case *rsa.PublicKey:
		switch hash {
		case crypto.SHA1:
			return wire.OAEPSHA1, nil
		case crypto.SHA256:
			return wire.OAEPSHA256, nil
		}
		return 0, fmt.Errorf("%w: RSAES-OAEP with a hash that is neither SHA-1 nor SHA-256", ErrUnsupported)
	case *ecdsa.PublicKey:
		if hash == 0 {
			return wire.ECDH1, nil
		}
		return 0, fmt.Errorf("%w: RSAES-OAEP with an EC key", ErrUnsupported)
	}
	return 0, fmt.Errorf("%w: a key of type %T does not decrypt", ErrUnsupported, pub)
}

// checkOAEP refuses what neither RFC 7518 §4.3 nor every token has.
func checkOAEP(opts *rsa.OAEPOptions) error {
	switch {
	case opts == nil:
		return fmt.Errorf("%w: no hash was named", ErrUnsupported)
	case opts.MGFHash != 0 && opts.MGFHash != opts.Hash:
		return fmt.Errorf("%w: RSAES-OAEP whose MGF1 has another hash", ErrUnsupported)
	case len(opts.Label) > 0:
		return fmt.Errorf("%w: RSAES-OAEP with a label", ErrUnsupported)
	}
	return nil
}

// fitting returns a copy of ciphertext, if it is one for pub by its length and its value (RFC 8017 §7.1.2), and else
// something random that is: so the token has its work with either.
func fitting(pub *rsa.PublicKey, ciphertext []byte) (data []byte, fits bool) {
	data = make([]byte, pub.Size())
	rand.Read(data[1:]) // with a zero in front it is less than any modulus of this size
	if fits = len(ciphertext) == pub.Size() && new(big.Int).SetBytes(ciphertext).Cmp(pub.N) < 0; fits {
		copy(data, ciphertext)
	}
	return data, fits
}

// challenge makes something that only the key of pub decrypts, and what it decrypts to.
func challenge(pub crypto.PublicKey, hash crypto.Hash) (data, want []byte, err error) {
	if k, ok := pub.(*rsa.PublicKey); ok {
		want = make([]byte, 32)
		rand.Read(want)
		data, err = rsa.EncryptOAEP(hash.New(), rand.Reader, k, want, nil)
		return data, want, err
	}
	theirs, err := pub.(*ecdsa.PublicKey).ECDH()
	if err != nil {
		return nil, nil, err
	}
	ours, err := theirs.Curve().GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	want, err = ours.ECDH(theirs)
	return ours.PublicKey().Bytes(), want, err
}
