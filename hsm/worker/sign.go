package worker

import (
	"bytes"
	"slices"
	"time"

	"github.com/miekg/pkcs11"

	"keysetd.example/hsm/wire"
)

// maxSignature is more than the longest signature: an RSA key of 8192 bits.
const maxSignature = 1024

// sign makes one signature in one C call, on a session that nobody else has.
func (t *token) sign(r wire.SignRequest, timing *wire.Timing) ([]byte, error) {
	m, ok := mechanisms[r.Mechanism]
	if !ok {
		return nil, reason(wire.Unsupported, "sign with %s: unknown mechanism %d", name(r.Key), r.Mechanism)
	}
	// Tokens sign a digest of any length without complaint.
	if m.lengths != nil && !slices.Contains(m.lengths, len(r.Data)) {
		return nil, refused(pkcs11.CKR_DATA_LEN_RANGE, "sign with %s: %d bytes are not a digest for %s", name(r.Key), len(r.Data), r.Mechanism)
	}
	k, err := t.keys.acquire(r.Key, t.findKey)
	if err != nil {
		return nil, err
	}
	defer k.use.RUnlock()
	if k.kind != m.kind {
		return nil, reason(wire.Unsupported, "sign with %s: a key of type 0x%X cannot do %s", name(r.Key), k.kind, r.Mechanism)
	}

	start := time.Now()
	s, err := t.pool.get()
	timing.Wait = time.Since(start)
	if err != nil {
		return nil, err
	}
	var buf [maxSignature]byte
	start = time.Now()
	n, rv, function := t.module.native.sign(uint(s), uint(k.handle), m, r.Data, buf[:])
	timing.Call = time.Since(start)
	switch {
	case rv != pkcs11.CKR_OK:
		t.pool.drop(s)
		if rv == pkcs11.CKR_KEY_HANDLE_INVALID || rv == pkcs11.CKR_OBJECT_HANDLE_INVALID {
			t.keys.forget(k)
		}
		return nil, ckr(function, rv, "sign with %s by %s", name(r.Key), r.Mechanism)
	case n == 0 || n > maxSignature:
		t.pool.drop(s)
		return nil, ckr(function, pkcs11.CKR_GENERAL_ERROR, "sign with %s by %s: the module reports success and a signature of %d bytes", name(r.Key), r.Mechanism, n)
	}
	t.pool.put(s)
	return bytes.Clone(buf[:n]), nil
}
