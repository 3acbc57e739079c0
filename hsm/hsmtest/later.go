package hsmtest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/internal/keyspec"
)

// Later has the next C_GenerateKeyPair return CKR_DEVICE_ERROR, and the key pair that it was to make
// appear on the token d afterwards, as when an HSM finishes what nobody waits for any
// more. The worker that asked may be gone by then, so it is this process that plays the HSM. One
// Later at a time. What is not made when the test ends is not made at all. over is closed when
// the key pair is made, or will not be: SoftHSM at times fails to make one while other
// processes come and look.
func (f *Faulty) Later(t testing.TB, d time.Duration) (over <-chan struct{}) {
	f.add("C_GenerateKeyPair", faultLater, 1, CKRDeviceError, 0)
	done := make(chan struct{})
	f.later.Go(func() {
		defer close(done)
		ctx := t.Context()
		var template map[uint32][]byte
		for template == nil {
			if !pause(ctx, time.Millisecond) {
				return
			}
			template = f.page.template()
		}
		if !pause(ctx, d) {
			return
		}
		if err := f.generate(ctx, template); err != nil && ctx.Err() == nil {
			t.Errorf("make the key pair later: %v", err)
		}
	})
	return done
}

// pause tells whether ctx outlived it.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

func (f *Faulty) generate(ctx context.Context, template map[uint32][]byte) error {
	r, err := requestOf(template)
	if err != nil {
		return err
	}
	token, err := hsm.Start(f.soft.Config())
	if err != nil {
		return err
	}
	defer token.Close(context.WithoutCancel(ctx))
	if _, err = token.Generate(ctx, r); errors.Is(err, hsm.ErrKeyNotFound) {
		return nil // it was made, and whoever sweeps what comes late was faster than the first signature
	}
	return err
}

// requestOf reads the request back out of the template that package worker made of it.
func requestOf(template map[uint32][]byte) (r hsm.GenerateRequest, err error) {
	const (
		ckaLabel, ckaID, ckaDecrypt, ckaDerive = 0x03, 0x102, 0x105, 0x10C
		ckaModulusBits, ckaECParams            = 0x121, 0x180
	)
	set := func(kind uint32) bool { b := template[kind]; return len(b) == 1 && b[0] != 0 }
	r = hsm.GenerateRequest{ID: template[ckaID], Label: string(template[ckaLabel]), Usage: hsm.Sign}
	switch {
	case set(ckaDecrypt):
		r.Usage = hsm.Decrypt
	case set(ckaDerive):
		r.Usage = hsm.Derive
	}
	if bits := template[ckaModulusBits]; len(bits) == 8 {
		r.Spec, err = keyspec.Parse(fmt.Sprintf("rsa-%d", binary.NativeEndian.Uint64(bits)))
		return r, err
	}
	spec, ok := map[string]keyspec.Spec{ // RFC 5480 §2.1.1.1, RFC 8410 §3, in DER
		"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07": keyspec.P256,
		"\x06\x05\x2b\x81\x04\x00\x22":             keyspec.P384,
		"\x06\x05\x2b\x81\x04\x00\x23":             keyspec.P521,
		"\x06\x03\x2b\x65\x70":                     keyspec.Ed25519,
	}[string(template[ckaECParams])]
	if !ok {
		return r, fmt.Errorf("the template names no key spec: CKA_EC_PARAMS %x", template[ckaECParams])
	}
	r.Spec = spec
	return r, nil
}
