package wire

import (
	"encoding/binary"
	"fmt"
)

// DecryptRequest asks the token to decrypt, or to derive, once. Data is an RSAES-OAEP ciphertext as long
// as the modulus, or for ECDH1 the other side's point, uncompressed. Its body is a SignRequest's.
type DecryptRequest SignRequest

func (r DecryptRequest) check() error           { return SignRequest(r).check() }
func (r DecryptRequest) size() int              { return SignRequest(r).size() }
func (r DecryptRequest) append(b []byte) []byte { return SignRequest(r).append(b) }

// MaxPlaintext is the longest plaintext or shared secret, in bytes: no RSA key here has a longer modulus.
const MaxPlaintext = 512

// Decrypted is what came of a DecryptRequest. That the token refuses a ciphertext is no Error, and takes
// the same frame: nobody who does not see inside can tell it from a plaintext by its size or its
// way. Its body is: uint8 1 where it was decrypted, else 0; uint16 length of the plaintext; the
// plaintext, and 0 up to MaxPlaintext.
type Decrypted struct {
	// Plaintext or shared secret, where OK. Whoever has it clears it.
	Plaintext []byte
	// OK is false where the token refuses this ciphertext or this point.
	OK bool
}

const decryptedLen = 1 + 2 + MaxPlaintext

// encode zeroes the plaintext that it copies.
func (d Decrypted) encode() ([]byte, error) {
	defer clear(d.Plaintext)
	if len(d.Plaintext) > MaxPlaintext {
		return nil, fmt.Errorf("a plaintext of %d bytes; the longest is %d", len(d.Plaintext), MaxPlaintext)
	}
	b := make([]byte, decryptedLen)
	if d.OK {
		b[0] = 1
		binary.BigEndian.PutUint16(b[1:], uint16(len(d.Plaintext)))
		copy(b[3:], d.Plaintext)
	}
	return b, nil
}

// parseDecrypted returns what shares its memory with body.
func parseDecrypted(body []byte) (Decrypted, error) {
	if len(body) != decryptedLen || body[0] > 1 {
		clear(body)
		return Decrypted{}, fmt.Errorf("%w: %s reply", ErrFrame, OpDecrypt)
	}
	n := int(binary.BigEndian.Uint16(body[1:]))
	if n > MaxPlaintext {
		clear(body)
		return Decrypted{}, fmt.Errorf("%w: %s reply", ErrFrame, OpDecrypt)
	}
	return Decrypted{Plaintext: body[3 : 3+n : 3+n], OK: body[0] == 1}, nil
}
