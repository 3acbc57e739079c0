package jwe

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"

	"github.com/go-jose/go-jose/v4"
	josecipher "github.com/go-jose/go-jose/v4/cipher"
)

// keyAlgorithm is how a content encryption key comes to its recipient (RFC 7518 §4).
type keyAlgorithm struct {
	name jose.KeyAlgorithm
	// oaep is the hash of RSA-OAEP, of MGF1 too (RFC 7518 §4.3); 0 for ECDH-ES.
	oaep crypto.Hash
	// kek is the length of the key, in bytes, that the agreed secret becomes to unwrap the
	// encrypted key with; 0 where it becomes the content encryption key itself.
	kek int
	// unwrap opens the encrypted key with a key of that length.
	unwrap func(kek, wrapped []byte) ([]byte, error)
}

var keyAlgorithms = []keyAlgorithm{
	{name: jose.RSA_OAEP, oaep: crypto.SHA1},
	{name: jose.RSA_OAEP_256, oaep: crypto.SHA256},
	{name: jose.ECDH_ES},
	{name: jose.ECDH_ES_A128KW, kek: 16, unwrap: unwrapAES},
	{name: jose.ECDH_ES_A256KW, kek: 32, unwrap: unwrapAES},
}

func (a keyAlgorithm) isRSA() bool { return a.oaep != 0 }

// unwrapAES unwraps by RFC 3394.
func unwrapAES(kek, wrapped []byte) ([]byte, error) {
	block, err := aes.NewCipher(kek)
	if err != nil {
		return nil, err
	}
	return josecipher.KeyUnwrap(block, wrapped)
}

// wrapOverhead is what RFC 3394 §2.2.1 adds to a key, in bytes.
const wrapOverhead = 8

// contentEncryption is how content is encrypted (RFC 7518 §5). Lengths are in bytes.
type contentEncryption struct {
	name         jose.ContentEncryption
	key, iv, tag int
	block        int // what the ciphertext is a multiple of, and not empty; 0 where it is as long as the content
	aead         func(key []byte) (cipher.AEAD, error)
}

var contentEncryptions = []contentEncryption{
	{name: jose.A128GCM, key: 16, iv: 12, tag: 16, aead: gcm},
	{name: jose.A256GCM, key: 32, iv: 12, tag: 16, aead: gcm},
	{name: jose.A128CBC_HS256, key: 32, iv: 16, tag: 16, block: aes.BlockSize, aead: cbc},
	{name: jose.A256CBC_HS512, key: 64, iv: 16, tag: 32, block: aes.BlockSize, aead: cbc},
}

func gcm(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func cbc(key []byte) (cipher.AEAD, error) { return josecipher.NewCBCHMAC(key, aes.NewCipher) }
