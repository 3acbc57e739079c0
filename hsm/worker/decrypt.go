package worker

import (
	"slices"

	"github.com/miekg/pkcs11"

	"keysetd.example/hsm/wire"
)

// decrypt decrypts or derives once, in one C call, on a session that nobody else has. A ciphertext that the
// module refuses takes the same way as one that it decrypts, the session's included.
func (t *token) decrypt(r wire.DecryptRequest, timing *wire.Timing) (d wire.Decrypted, err error) {
	m, ok := decryptions[r.Mechanism]
	if !ok {
		return d, reason(wire.Unsupported, "decrypt with %s: unknown mechanism %d", name(r.Key), r.Mechanism)
	}
	if m.lengths != nil && !slices.Contains(m.lengths, len(r.Data)) {
		return d, refused(pkcs11.CKR_DATA_LEN_RANGE, "decrypt with %s: %d bytes are not a point for %s", name(r.Key), len(r.Data), r.Mechanism)
	}
	k, err := t.keys.acquire(r.Key, t.findKey)
	if err != nil {
		return d, err
	}
	defer k.use.RUnlock()
	if k.kind != m.kind {
		return d, reason(wire.Unsupported, "decrypt with %s: a key of type 0x%X cannot do %s", name(r.Key), k.kind, r.Mechanism)
	}
	var buf [wire.MaxPlaintext]byte
	defer clear(buf[:])
	out := buf[:]
	if m.kind == pkcs11.CKK_EC {
		out = buf[:(len(r.Data)-1)/2] // a coordinate
	}
	s, made, err := t.operate(timing, func(session uint) result {
		if m.kind == pkcs11.CKK_EC {
			return t.module.native.derive(session, uint(k.handle), m, r.Data, out)
		}
		return t.module.native.decrypt(session, uint(k.handle), m, r.Data, out)
	})
	switch {
	case err != nil:
		return d, err
	case made.rv != pkcs11.CKR_OK && !refusal(made):
		t.failed(s, k, made)
		return d, ckr(made.function, made.rv, "decrypt with %s by %s", name(r.Key), r.Mechanism)
	case made.rv == pkcs11.CKR_OK && made.length > uint64(len(out)):
		t.pool.drop(s)
		return d, ckr(made.function, pkcs11.CKR_GENERAL_ERROR, "decrypt with %s by %s: the module reports success and more than the %d bytes there can be", name(r.Key), r.Mechanism, len(out))
	}
	if d.OK = made.rv == pkcs11.CKR_OK; !d.OK {
		made.length = 0
	}
	length := int(made.length)
	if d.OK && m.kind == pkcs11.CKK_EC { // some modules drop the zeros in front (SEC 1 §3.3.1 keeps them)
		length = len(out)
	}
	d.Plaintext = make([]byte, length)
	copy(d.Plaintext[length-int(made.length):], out)
	if m.kind == pkcs11.CKK_RSA { // only here can something have been left behind, or nothing any more
		s.suspect = !d.OK
	}
	t.pool.put(s)
	return d, nil
}

// lost are the codes that say of C_Decrypt (PKCS#11 v2.40 §5.9) that the device, the session or the login
// is, whatever the ciphertext. Every other is taken for the module's word for a ciphertext that it refuses:
// SoftHSM says CKR_GENERAL_ERROR then, others CKR_FUNCTION_FAILED or a code of the vendor's
// own, and it must not be that whoever sends such a ciphertext ends the epoch. Where the token is really gone
// the next C_DecryptInit says so.
var lost = []uint64{
	pkcs11.CKR_HOST_MEMORY, pkcs11.CKR_SLOT_ID_INVALID,
	pkcs11.CKR_DEVICE_ERROR, pkcs11.CKR_DEVICE_MEMORY, pkcs11.CKR_DEVICE_REMOVED,
	pkcs11.CKR_KEY_HANDLE_INVALID, pkcs11.CKR_OBJECT_HANDLE_INVALID,
	pkcs11.CKR_OPERATION_ACTIVE, pkcs11.CKR_OPERATION_NOT_INITIALIZED,
	pkcs11.CKR_SESSION_CLOSED, pkcs11.CKR_SESSION_COUNT, pkcs11.CKR_SESSION_HANDLE_INVALID,
	pkcs11.CKR_TOKEN_NOT_PRESENT, pkcs11.CKR_TOKEN_NOT_RECOGNIZED,
	pkcs11.CKR_USER_NOT_LOGGED_IN, pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED,
	ckrFIPSSelfTestFailed, ^uint64(0), // the last is what caml-crush says without its peer
}

// ckrFIPSSelfTestFailed is not named by miekg/pkcs11 (PKCS#11 v3.0 §3).
const ckrFIPSSelfTestFailed = 0x1B6

// refusal tells whether the failure r is about the ciphertext. A point was seen to be on the curve
// before it came here, so what C_DeriveKey fails with is about something else.
func refusal(r result) bool {
	return r.function == "C_Decrypt" && !slices.Contains(lost, r.rv)
}
