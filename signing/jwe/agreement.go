package jwe

import (
	"crypto"
	"crypto/ecdh"
	"encoding/binary"

	josecipher "github.com/go-jose/go-jose/v4/cipher"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// agreement is what a header says of the key agreement (RFC 7518 §4.6.1).
type agreement struct {
	epk      ephemeral
	apu, apv []byte
}

// ephemeral is the sender's public key, not yet judged: its curve is the recipient key's or wrong.
type ephemeral struct {
	Kty string `json:"kty"`
	Crv string `json:"crv"`
	X   string `json:"x"`
	Y   string `json:"y"`
}

// parseAgreement refuses an absent epk only. One that is there and wrong costs the same work as a
// right one, so it stays, as the zero ephemeral where it is not even a key.
func parseAgreement(members map[string]jsontext.Value) (a agreement, err error) {
	epk, has := members["epk"]
	if !has {
		return a, malformed("its header has no epk; ECDH-ES needs it (RFC 7518 §4.6.1.1)")
	}
	if json.Unmarshal(epk, &a.epk) != nil {
		a.epk = ephemeral{}
	}
	if a.apu, err = party(members, "apu"); err != nil {
		return a, err
	}
	a.apv, err = party(members, "apv")
	return a, err
}

// party returns what a header says of one of the parties (RFC 7518 §4.6.1.2 and §4.6.1.3); nothing
// where it says nothing.
func party(members map[string]jsontext.Value, name string) ([]byte, error) {
	value, has := members[name]
	if !has {
		return nil, nil
	}
	if s, ok := text(value); ok {
		if info, err := decode(s); err == nil {
			return info, nil
		}
	}
	return nil, malformed("its header's %s is not a string in base64url without padding", name)
}

// point returns the key, if it is one on this curve, whose name in JOSE is crv and whose
// coordinates have size bytes.
func (e ephemeral) point(curve ecdh.Curve, crv string, size int) (*ecdh.PublicKey, bool) {
	x, errX := decode(e.X)
	y, errY := decode(e.Y)
	if e.Kty != "EC" || e.Crv != crv || errX != nil || errY != nil || len(x) != size || len(y) != size {
		return nil, false
	}
	p, err := curve.NewPublicKey(append(append([]byte{4}, x...), y...)) // uncompressed (SEC 1 §2.3.3)
	return p, err == nil
}

// derive makes a key of size bytes for this algorithm of the agreed secret z, by the Concat KDF
// (RFC 7518 §4.6.2).
func (a agreement) derive(z []byte, algorithm string, size int) []byte {
	bits := binary.BigEndian.AppendUint32(nil, uint32(8*size))
	kdf := josecipher.NewConcatKDF(crypto.SHA256, z, prefixed([]byte(algorithm)), prefixed(a.apu), prefixed(a.apv), bits, nil)
	key := make([]byte, size)
	_, _ = kdf.Read(key) // it always fills key
	return key
}

// prefixed puts the length before data, as Concat KDF's variable parts have it.
func prefixed(data []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), data...)
}
