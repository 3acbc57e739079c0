package memory

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	_ "crypto/sha1" // of RSA-OAEP
	_ "crypto/sha256"

	"keysetd.example/hsm/wire"
)

// decrypt decrypts or derives. An error that is not errKeyType is a refusal.
func decrypt(key crypto.Signer, m wire.Mechanism, data []byte) ([]byte, error) {
	hash := map[wire.Mechanism]crypto.Hash{wire.OAEPSHA1: crypto.SHA1, wire.OAEPSHA256: crypto.SHA256}[m]
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if hash != 0 {
			return k.Decrypt(nil, data, &rsa.OAEPOptions{Hash: hash})
		}
	case *ecdsa.PrivateKey:
		if m != wire.ECDH1 {
			break
		}
		ours, err := k.ECDH()
		if err != nil {
			return nil, err
		}
		peer, err := ours.Curve().NewPublicKey(data)
		if err != nil {
			return nil, err
		}
		return ours.ECDH(peer)
	}
	return nil, errKeyType
}
