package client

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	_ "crypto/sha256" // for crypto.Hash.New
	_ "crypto/sha512"
	"crypto/tls"
	"errors"
	"fmt"
)

// hashes of JOSE's algorithms (RFC 7518 §3).
var hashes = map[crypto.Hash]string{crypto.SHA256: "256", crypto.SHA384: "384", crypto.SHA512: "512"}

// curveHashes: an EC key signs with the one hash that JOSE has for its curve (RFC 7518 §3.4).
var curveHashes = map[string]crypto.Hash{"P-256": crypto.SHA256, "P-384": crypto.SHA384, "P-521": crypto.SHA512}

// algorithmFor is the algorithm by which a key signs what opts describe. Errors wrap
// errors.ErrUnsupported.
func algorithmFor(public crypto.PublicKey, opts crypto.SignerOpts) (string, error) {
	if opts == nil {
		opts = crypto.Hash(0)
	}
	hash := opts.HashFunc()
	switch key := public.(type) {
	case *rsa.PublicKey:
		size, known := hashes[hash]
		if !known {
			return "", unsupported("an RSA key of keysetd signs with SHA-256, SHA-384 or SHA-512, not with %v", hash)
		}
		pss, isPSS := opts.(*rsa.PSSOptions)
		switch {
		case !isPSS:
			return "RS" + size, nil
		case pss.SaltLength == rsa.PSSSaltLengthEqualsHash, pss.SaltLength == rsa.PSSSaltLengthAuto, pss.SaltLength == hash.Size():
			return "PS" + size, nil
		}
		return "", unsupported("keysetd signs PSS with a salt as long as the hash, %d bytes, not with %d", hash.Size(), pss.SaltLength)
	case *ecdsa.PublicKey:
		name := key.Curve.Params().Name
		if want := curveHashes[name]; hash != want {
			return "", unsupported("a key on %s signs with %v in keysetd, not with %v", name, want, hash)
		}
		return map[crypto.Hash]string{crypto.SHA256: "ES256", crypto.SHA384: "ES384", crypto.SHA512: "ES512"}[hash], nil
	case ed25519.PublicKey:
		if options, has := opts.(*ed25519.Options); hash != 0 || has && options.Context != "" {
			return "", unsupported("an Ed25519 key of keysetd signs the message itself, without a hash and without a context (RFC 8032 §5.1)")
		}
		return "EdDSA", nil
	}
	return "", unsupported("a key of type %T does not sign", public)
}

func unsupported(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, errors.ErrUnsupported)...)
}

// schemesOf are those in which TLS may ask a key for a signature (RFC 8446 §4.2.3, RFC 5246 §7.4.1.4.1
// for PKCS #1 v1.5). Before TLS 1.3 a peer could else want another hash than the curve's.
func schemesOf(public crypto.PublicKey) []tls.SignatureScheme {
	switch key := public.(type) {
	case *rsa.PublicKey:
		return []tls.SignatureScheme{tls.PSSWithSHA256, tls.PSSWithSHA384, tls.PSSWithSHA512, tls.PKCS1WithSHA256, tls.PKCS1WithSHA384, tls.PKCS1WithSHA512}
	case *ecdsa.PublicKey:
		switch curveHashes[key.Curve.Params().Name] {
		case crypto.SHA256:
			return []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}
		case crypto.SHA384:
			return []tls.SignatureScheme{tls.ECDSAWithP384AndSHA384}
		}
		return []tls.SignatureScheme{tls.ECDSAWithP521AndSHA512}
	}
	return []tls.SignatureScheme{tls.Ed25519}
}
