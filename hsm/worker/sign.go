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

	var buf [maxSignature]byte
	s, made, err := t.operate(timing, func(session uint) result {
		return t.module.native.sign(session, uint(k.handle), m, r.Data, buf[:])
	})
	switch {
	case err != nil:
		return nil, err
	case made.rv != pkcs11.CKR_OK:
		t.failed(s, k, made)
		return nil, ckr(made.function, made.rv, "sign with %s by %s", name(r.Key), r.Mechanism)
	case made.length == 0 || made.length > maxSignature:
		t.pool.drop(s)
		return nil, ckr(made.function, pkcs11.CKR_GENERAL_ERROR, "sign with %s by %s: the module reports success and a signature of %d bytes", name(r.Key), r.Mechanism, made.length)
	}
	t.pool.put(s)
	return bytes.Clone(buf[:made.length]), nil
}

// operate does f on a session that nobody else has, and returns that: it has to be given back.
func (t *token) operate(timing *wire.Timing, f func(session uint) result) (s pooled, r result, err error) {
	start := time.Now()
	s, err = t.pool.get()
	timing.Wait = time.Since(start)
	if err != nil {
		return s, r, err
	}
	start = time.Now()
	defer func() { timing.Call = time.Since(start) }()
	if r = f(uint(s.handle)); s.suspect && r.rv == pkcs11.CKR_OPERATION_ACTIVE {
		if s, err = t.pool.exchange(s); err == nil {
			r = f(uint(s.handle))
		}
	}
	return s, r, err
}

// failed is for an operation with k whose failure says that its session, or its handle, is no good.
func (t *token) failed(s pooled, k *key, r result) {
	t.pool.drop(s)
	if r.rv == pkcs11.CKR_KEY_HANDLE_INVALID || r.rv == pkcs11.CKR_OBJECT_HANDLE_INVALID {
		t.keys.forget(k)
	}
}
