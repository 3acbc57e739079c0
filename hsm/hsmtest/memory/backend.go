package memory

import (
	"crypto"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"time"

	"keysetd.example/hsm/wire"
)

// The codes that this token gives by itself.
const (
	ckrArgumentsBad            = 0x07
	ckrDataInvalid             = 0x20
	ckrKeyTypeInconsistent     = 0x63
	ckrKeyFunctionNotPermitted = 0x68
	ckrPINIncorrect            = 0xA0
	ckrPINLocked               = 0xA4
	ckrUserNotLoggedIn         = 0x101
)

// lockedAfter wrong PINs in a row.
const lockedAfter = 3

// Metrics implements wire.Backend: there is no process to tell of.
func (w *worker) Metrics() ([]byte, error) { return nil, nil }

// Open implements wire.Backend.
func (w *worker) Open(r wire.OpenRequest) (wire.TokenInfo, error) {
	return do(w, wire.OpOpen, func() (wire.TokenInfo, error) {
		w.token.mu.Lock()
		defer w.token.mu.Unlock()
		if r.Label != "" && r.Label != w.token.label || r.Serial != "" && r.Serial != w.token.serial {
			return wire.TokenInfo{}, &wire.Error{Reason: wire.TokenMissing, Message: fmt.Sprintf("open token %q: none matches", r.Label)}
		}
		return w.token.info(), nil
	})
}

func (t *Token) info() wire.TokenInfo {
	return wire.TokenInfo{
		Label: t.label, Serial: t.serial, Manufacturer: "keysetd", Model: "memory", LibraryName: "memory",
		LoginRequired: true, PINCountLow: t.wrong > 0, PINFinalTry: t.wrong == lockedAfter-1, PINLocked: t.wrong >= lockedAfter,
		// RSA_PKCS_KEY_PAIR_GEN, RSA_PKCS, RSA_PKCS_OAEP, RSA_PKCS_PSS, EC_KEY_PAIR_GEN, ECDSA, ECDH1_DERIVE,
		// EC_EDWARDS_KEY_PAIR_GEN, EDDSA
		Mechanisms: []uint64{0x0, 0x1, 0x9, 0xD, 0x1040, 0x1041, 0x1050, 0x1055, 0x1057},
	}
}

// Login implements wire.Backend.
func (w *worker) Login(r wire.LoginRequest) error {
	_, err := do(w, wire.OpLogin, func() (struct{}, error) {
		t := w.token
		t.mu.Lock()
		defer t.mu.Unlock()
		t.logins++
		if t.wrong >= lockedAfter {
			return struct{}{}, &wire.Error{Code: ckrPINLocked, Function: "C_Login", Message: "log in"}
		}
		if subtle.ConstantTimeCompare(r.PIN, t.pin) != 1 {
			t.wrong++
			return struct{}{}, &wire.Error{Code: ckrPINIncorrect, Function: "C_Login", Message: "log in"}
		}
		t.wrong = 0
		return struct{}{}, nil
	})
	return err
}

// Prepare implements wire.Backend.
func (w *worker) Prepare(r wire.PrepareRequest) error {
	_, err := do(w, wire.OpPrepare, func() (struct{}, error) {
		w.sessions = make(chan struct{}, r.Sessions)
		return struct{}{}, nil
	})
	return err
}

// InitToken implements wire.Backend: the one token there is takes the new label and PIN.
func (w *worker) InitToken(r wire.InitTokenRequest) (wire.TokenInfo, error) {
	return do(w, wire.OpInitToken, func() (wire.TokenInfo, error) {
		t := w.token
		t.mu.Lock()
		defer t.mu.Unlock()
		t.label, t.pin, t.wrong, t.objects = r.Label, append([]byte(nil), r.PIN...), 0, nil
		return t.info(), nil
	})
}

// List implements wire.Backend.
func (w *worker) List(r wire.ListRequest) ([]wire.Object, error) {
	return do(w, wire.OpList, func() ([]wire.Object, error) {
		if w.sessions == nil {
			return nil, notLoggedIn("C_FindObjects")
		}
		w.token.mu.Lock()
		defer w.token.mu.Unlock()
		return w.token.list(r.Prefix), nil
	})
}

// Generate implements wire.Backend.
func (w *worker) Generate(r wire.GenerateRequest) (wire.Object, error) {
	return do(w, wire.OpGenerate, func() (wire.Object, error) {
		if w.sessions == nil {
			return wire.Object{}, notLoggedIn("C_GenerateKeyPair")
		}
		o, err := newObject(r)
		if err != nil {
			return wire.Object{}, err
		}
		t := w.token
		t.mu.Lock()
		defer t.mu.Unlock()
		if slices.ContainsFunc(t.objects, func(o *object) bool { return string(o.shown.ID) == string(r.ID) }) {
			return wire.Object{}, &wire.Error{Reason: wire.KeyNotOne, Message: "make a key: there is one with this CKA_ID already"}
		}
		if t.alter != nil {
			t.alter(&o.shown)
		}
		t.objects = append(t.objects, o)
		return o.shown, nil
	})
}

// Sign implements wire.Backend.
func (w *worker) Sign(r wire.SignRequest, timing *wire.Timing) ([]byte, error) {
	free, err := w.session(timing, "C_SignInit")
	if err != nil {
		return nil, err
	}
	defer free()
	return do(w, wire.OpSign, func() ([]byte, error) {
		key, err := w.token.keyTo(r.Key, func(a wire.PrivateAttributes) *bool { return a.Sign }, "C_SignInit")
		if err != nil {
			return nil, err
		}
		sig, err := sign(key, r.Mechanism, r.Data)
		switch {
		case errors.Is(err, errKeyType):
			return nil, &wire.Error{Code: ckrKeyTypeInconsistent, Function: "C_SignInit", Message: "sign"}
		case err != nil:
			return nil, &wire.Error{Code: ckrDataInvalid, Function: "C_Sign", Message: "sign: " + err.Error()}
		}
		return sig, nil
	})
}

// Decrypt implements wire.Backend.
func (w *worker) Decrypt(r wire.DecryptRequest, timing *wire.Timing) (wire.Decrypted, error) {
	free, err := w.session(timing, "C_DecryptInit")
	if err != nil {
		return wire.Decrypted{}, err
	}
	defer free()
	return do(w, wire.OpDecrypt, func() (wire.Decrypted, error) {
		may := func(a wire.PrivateAttributes) *bool { return a.Decrypt }
		function := "C_DecryptInit"
		if r.Mechanism == wire.ECDH1 {
			may, function = func(a wire.PrivateAttributes) *bool { return a.Derive }, "C_DeriveKey"
		}
		key, err := w.token.keyTo(r.Key, may, function)
		if err != nil {
			return wire.Decrypted{}, err
		}
		plaintext, err := decrypt(key, r.Mechanism, r.Data)
		if errors.Is(err, errKeyType) {
			return wire.Decrypted{}, &wire.Error{Code: ckrKeyTypeInconsistent, Function: function, Message: "decrypt"}
		}
		return wire.Decrypted{Plaintext: plaintext, OK: err == nil}, nil
	})
}

// session waits for one; free gives it back.
func (w *worker) session(timing *wire.Timing, function string) (free func(), err error) {
	if w.sessions == nil {
		return nil, notLoggedIn(function)
	}
	start := time.Now()
	select {
	case w.sessions <- struct{}{}:
	case <-w.dead:
		return nil, gone
	}
	called := time.Now()
	timing.Wait = called.Sub(start)
	return func() {
		timing.Call = max(time.Since(called), 1) // synctest's clock stands still
		<-w.sessions
	}, nil
}

// keyTo is the key that ref names, if it may.
func (t *Token) keyTo(ref wire.Ref, may func(wire.PrivateAttributes) *bool, function string) (crypto.Signer, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	o, err := t.find(ref)
	if err != nil {
		return nil, err
	}
	if allowed := may(o.shown.Attributes); allowed != nil && !*allowed {
		return nil, &wire.Error{Code: ckrKeyFunctionNotPermitted, Function: function, Message: "use a key"}
	}
	return o.key, nil
}

// Destroy implements wire.Backend.
func (w *worker) Destroy(r wire.Ref) (wire.DestroyReply, error) {
	return do(w, wire.OpDestroy, func() (wire.DestroyReply, error) {
		if w.sessions == nil {
			return wire.DestroyReply{}, notLoggedIn("C_DestroyObject")
		}
		if len(r.ID) == 0 {
			return wire.DestroyReply{}, &wire.Error{Code: ckrArgumentsBad, Reason: wire.Protocol, Message: "destroy a key: without a CKA_ID it cannot be told from others"}
		}
		w.token.mu.Lock()
		defer w.token.mu.Unlock()
		return wire.DestroyReply{Objects: 2 * len(w.token.remove(r))}, nil // a private and a public key each
	})
}

// Close implements wire.Backend.
func (w *worker) Close() error {
	_, err := do(w, wire.OpClose, func() (struct{}, error) { return struct{}{}, nil })
	return err
}

func notLoggedIn(function string) error {
	return &wire.Error{Code: ckrUserNotLoggedIn, Function: function, Message: "use the token"}
}
