package signing

import (
	"crypto"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/asn1"
	"fmt"
	"math/big"
)

// digest hashes message; hash 0 stands for algorithms that sign the message itself.
func digest(hash crypto.Hash, message []byte) []byte {
	switch hash {
	case crypto.SHA256:
		d := sha256.Sum256(message)
		return d[:]
	case crypto.SHA384:
		d := sha512.Sum384(message)
		return d[:]
	case crypto.SHA512:
		d := sha512.Sum512(message)
		return d[:]
	}
	return message
}

// der turns the ECDSA signature r‖s (RFC 7518 §3.4) into SEQUENCE { r, s } (RFC 3279 §2.2.3).
func der(sig []byte) ([]byte, error) {
	if len(sig) == 0 || len(sig)%2 != 0 {
		return nil, fmt.Errorf("an ECDSA signature of %d bytes is not r‖s", len(sig))
	}
	r := new(big.Int).SetBytes(sig[:len(sig)/2])
	s := new(big.Int).SetBytes(sig[len(sig)/2:])
	return asn1.Marshal(struct{ R, S *big.Int }{r, s})
}
