package worker

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/pkcs11"

	"keysetd.example/hsm/wire"
	"keysetd.example/internal/keyspec"
)

func signRequest() wire.SignRequest {
	return wire.SignRequest{Key: wire.Ref{ID: []byte("ec")}, Mechanism: wire.ECDSA, Data: make([]byte, 32)}
}

// The session of a failed signature is thrown away: it is in the middle of it for ever.
func TestFailedSignature(t *testing.T) {
	p, _ := newToken(t, 1, "FAULT=sign-fails-once")
	p.generate(t, "ec", keyspec.P256)
	_, _, err := p.Sign(t.Context(), signRequest())
	if e := errorOf(err); e.Code != pkcs11.CKR_DEVICE_ERROR || e.Function != "C_Sign" || !strings.Contains(e.Message, "ECDSA") {
		t.Errorf("got %v", err)
	}
	if _, _, err := p.Sign(t.Context(), signRequest()); err != nil {
		t.Errorf("the next signature: %v", err)
	}
}

func TestSignatureOfAbsurdLength(t *testing.T) {
	p, _ := newToken(t, 1, "FAULT=sign-lies")
	p.generate(t, "ec", keyspec.P256)
	if sig, _, err := p.Sign(t.Context(), signRequest()); err == nil || !strings.Contains(err.Error(), "1048576 bytes") {
		t.Errorf("got %d bytes, %v", len(sig), err)
	}
}

// What is hidden from a session that lost its login is not called missing (invariant 5).
func TestLostLoginIsNoAbsence(t *testing.T) {
	p, _ := newToken(t, 1, "FAULT=login-lost")
	ctx := t.Context()
	_, _, signErr := p.Sign(ctx, signRequest())
	_, _, listErr := p.List(ctx, wire.ListRequest{})
	_, _, destroyErr := p.Destroy(ctx, wire.Ref{ID: []byte("ec")})
	_, _, generateErr := p.Generate(ctx, wire.GenerateRequest{ID: []byte("ec"), Label: "l", Spec: keyspec.P256, Usage: wire.Sign})
	for what, err := range map[string]error{"sign": signErr, "list": listErr, "destroy": destroyErr, "generate": generateErr} {
		if e := errorOf(err); e.Code != pkcs11.CKR_USER_NOT_LOGGED_IN || e.Reason != "" {
			t.Errorf("%s: got %v", what, err)
		}
	}
}

func TestAttributeUnknownToTheToken(t *testing.T) {
	p, _ := newToken(t, 1, "FAULT=no-sign-recover")
	o := p.generate(t, "ec", keyspec.P256)
	if o.Attributes.SignRecover != nil || o.Attributes.Sign == nil || !*o.Attributes.Sign || o.Attributes.Unwrap == nil || o.PublicKey == nil {
		t.Errorf("got %+v", o)
	}
}

func TestTemplateWithoutModifiable(t *testing.T) {
	p, _ := newToken(t, 1, "FAULT=no-modifiable")
	if o := p.generate(t, "ec", keyspec.P256); o.Attributes.Modifiable == nil || !*o.Attributes.Modifiable || !o.Private {
		t.Errorf("got %+v", o)
	}
}

// A module that reports failure and has made the key is not asked for another.
func TestGenerationThatLies(t *testing.T) {
	p, _ := newToken(t, 1, "FAULT=generate-lies")
	r := wire.GenerateRequest{ID: []byte("ec"), Label: "l", Spec: keyspec.P256, Usage: wire.Sign}
	if _, _, err := p.Generate(t.Context(), r); err == nil {
		t.Error("no error")
	}
	all, _, err := p.List(t.Context(), wire.ListRequest{})
	if err != nil || len(all) != 1 || all[0].Duplicates != 0 {
		t.Errorf("the token has %+v, %v", all, err)
	}
}

// The module aborts the process when two generations run at once.
func TestOneGenerationAtATime(t *testing.T) {
	p, _ := newToken(t, 1, "FAULT=generate-is-slow")
	var callers sync.WaitGroup
	for i := range 4 {
		callers.Go(func() {
			if _, _, err := p.Generate(t.Context(), wire.GenerateRequest{ID: []byte{byte(i)}, Label: "l", Spec: keyspec.P256, Usage: wire.Sign}); err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
}

// The module aborts the process when an object is destroyed during a signature.
func TestDestroyWaitsForSignatures(t *testing.T) {
	p, _ := newToken(t, 4, "FAULT=sign-is-slow")
	p.generate(t, "ec", keyspec.P256)
	p.generate(t, "other", keyspec.P256)
	var callers sync.WaitGroup
	signed := make(chan error, 100)
	for i := range 4 {
		callers.Go(func() {
			r := signRequest()
			if i%2 == 0 {
				r.Key = wire.Ref{Label: "keysetd:ec"} // the same key by another name
			}
			for {
				_, _, err := p.Sign(t.Context(), r)
				signed <- err
				if err != nil {
					return
				}
			}
		})
	}
	for range 8 {
		if err := <-signed; err != nil {
			t.Error(err)
		}
	}
	if reply, _, err := p.Destroy(t.Context(), wire.Ref{ID: []byte("ec")}); err != nil || reply.Objects != 2 {
		t.Errorf("got %+v, %v", reply, err)
	}
	callers.Wait()
	close(signed)
	var errs []error
	for err := range signed {
		if err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) != 4 || slices.ContainsFunc(errs, func(err error) bool { return reasonOf(err) != wire.KeyMissing }) {
		t.Errorf("got %v", errs)
	}
}
