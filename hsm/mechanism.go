package hsm

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"slices"

	"keysetd.example/hsm/wire"
)

// digestInfo holds what comes before the digest in the DER of a DigestInfo, RFC 8017 §9.2 note 1.
var digestInfo = map[crypto.Hash][]byte{
	crypto.SHA256: {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20},
	crypto.SHA384: {0x30, 0x41, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02, 0x05, 0x00, 0x04, 0x30},
	crypto.SHA512: {0x30, 0x51, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03, 0x05, 0x00, 0x04, 0x40},
}

// maxMessage is the longest message that Ed25519 signs, in bytes: small against a frame, and
// more than anyone should send to a token.
const maxMessage = 16 << 20

var pss = map[crypto.Hash]wire.Mechanism{
	crypto.SHA256: wire.RSAPSS256,
	crypto.SHA384: wire.RSAPSS384,
	crypto.SHA512: wire.RSAPSS512,
}

// prepare chooses how a token signs digest with the key of pub, and what it is given to
// sign, which shares no memory with digest.
func prepare(pub crypto.PublicKey, digest []byte, opts crypto.SignerOpts) (wire.Mechanism, []byte, error) {
	if err := checkDigest(pub, digest, opts); err != nil {
		return 0, nil, err
	}
	hash := opts.HashFunc()
	switch k := pub.(type) {
	case *rsa.PublicKey:
		if o, ok := opts.(*rsa.PSSOptions); ok {
			// A token signs with the salt it is told; RFC 7518 §3.5 wants the hash's length.
			if o.SaltLength != rsa.PSSSaltLengthEqualsHash && o.SaltLength != hash.Size() {
				return 0, nil, fmt.Errorf("%w: RSASSA-PSS with a salt of other than the hash's length", ErrUnsupported)
			}
			return pss[hash], slices.Clone(digest), nil
		}
		return wire.RSAPKCS, slices.Concat(digestInfo[hash], digest), nil
	case *ecdsa.PublicKey:
		// FIPS 186-5 §6.4.1 takes the leftmost bits; some tokens refuse a longer digest.
		order := (k.Params().N.BitLen() + 7) / 8
		return wire.ECDSA, slices.Clone(digest[:min(len(digest), order)]), nil
	case ed25519.PublicKey:
		return wire.EdDSA, slices.Clone(digest), nil
	}
	return 0, nil, fmt.Errorf("%w: a key of type %T", ErrUnsupported, pub)
}

// blank is something random that a key of pub can sign by opts.
func blank(pub crypto.PublicKey, opts crypto.SignerOpts) []byte {
	b := make([]byte, crypto.SHA256.Size())
	if _, ed := pub.(ed25519.PublicKey); !ed && opts != nil && digestInfo[opts.HashFunc()] != nil {
		b = make([]byte, opts.HashFunc().Size())
	}
	rand.Read(b) // never fails
	return b
}

// checkDigest: a token signs a digest of any length without complaint, so we look.
func checkDigest(pub crypto.PublicKey, digest []byte, opts crypto.SignerOpts) error {
	if opts == nil {
		return fmt.Errorf("%w: no hash was named", ErrUnsupported)
	}
	hash := opts.HashFunc()
	if _, ok := pub.(ed25519.PublicKey); ok {
		if o, ok := opts.(*ed25519.Options); hash != 0 || ok && o.Context != "" {
			return fmt.Errorf("%w: Ed25519ph and Ed25519ctx (RFC 8032 §5.1); sign the message itself", ErrUnsupported)
		}
		if len(digest) > maxMessage {
			return fmt.Errorf("%w: an Ed25519 message of %d bytes; the longest is %d", ErrUnsupported, len(digest), maxMessage)
		}
		return nil
	}
	if _, known := digestInfo[hash]; !known {
		return fmt.Errorf("%w: the hash is none of SHA-256, SHA-384 and SHA-512", ErrUnsupported)
	}
	if len(digest) != hash.Size() {
		return fmt.Errorf("%w: %d bytes, and %v has %d", ErrBadDigest, len(digest), hash, hash.Size())
	}
	return nil
}
