package rotation_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/internal/keyspec"
	"keysetd.example/rotation"
)

// fate decides how each effect on store, token and page ends. The zero value lets all succeed.
type fate struct {
	mu      sync.Mutex
	count   int
	at      int           // which effect fails, counted from 1
	persist bool          // it has its effect nevertheless
	late    time.Duration // a key that it keeps from being made is there so much later
	crash   func()
	dead    bool // after the crash nothing has an effect
}

var errFate = errors.New("fate")

// next returns the error of the next effect, and whether it happens.
func (f *fate) next() (err error, happens bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count++; f.dead {
		return errFate, false
	}
	if f.count != f.at {
		return nil, true
	}
	if f.crash != nil {
		f.dead = true
		f.crash()
	}
	return errFate, f.persist
}

// fell reports whether the latest effect was the one.
func (f *fate) fell() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count == f.at
}

// fakeToken has its keys in memory, and goes down, delays and fails as told.
type fakeToken struct {
	mu      sync.Mutex
	keys    map[string]crypto.Signer // by CKA_ID
	labels  map[string]string
	began   time.Time // the epoch
	down    bool
	listed  int           // how often
	cutOff  time.Duration // the next call to make a key ends at once, and the key is there so much later
	takes   time.Duration // to make a key
	made    int
	making  int
	overlap bool               // two keys were made at once
	fail    func(string) error // asked before each operation, if set
	fate    *fate
}

func (f *fakeToken) Epoch() (time.Time, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.began.Round(0).UTC(), !f.down
}

func (f *fakeToken) Objects(_ context.Context, prefix string) (objects []hsm.Object, err error) {
	return objects, f.effect("list", func() {
		f.listed++
		for _, id := range slices.Sorted(maps.Keys(f.labels)) {
			if strings.HasPrefix(f.labels[id], prefix) {
				objects = append(objects, hsm.Object{ID: []byte(id), Label: f.labels[id], Private: f.keys[id] != nil, Public: true})
			}
		}
	})
}

// set changes the token; one that comes up begins an epoch.
func (f *fakeToken) set(change func(*fakeToken)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := f.down
	if change(f); was && !f.down {
		f.renew()
	}
}

// renew begins an epoch. No two begin at one instant.
func (f *fakeToken) renew() {
	if now := time.Now(); now.After(f.began) {
		f.began = now
	} else {
		f.began = f.began.Add(1)
	}
}

// lose takes a key from the token, and begins an epoch.
func (f *fakeToken) lose(k rotation.Key) {
	f.set(func(f *fakeToken) { delete(f.keys, string(k.ID)); f.renew() })
}

// restart is what the end of the daemon is to the token.
func (f *fakeToken) restart() { f.set((*fakeToken).renew) }

func (f *fakeToken) ids() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.keys))
}

// effect does something on the token, if the token is up and fate will have it.
func (f *fakeToken) effect(operation string, do func()) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return hsm.ErrUnavailable
	}
	if f.fail != nil {
		if err := f.fail(operation); err != nil {
			return err
		}
	}
	err, happens := f.fate.next()
	switch {
	case happens:
		do()
	case operation == "generate" && f.fate.late > 0 && f.fate.fell():
		time.AfterFunc(f.fate.late, func() { f.set(func(*fakeToken) { do() }) })
	}
	return err
}

func (f *fakeToken) Generate(ctx context.Context, r hsm.GenerateRequest) (hsm.Object, error) {
	f.set(func(f *fakeToken) { f.making++; f.overlap = f.overlap || f.making > 1 })
	defer f.set(func(f *fakeToken) { f.making-- })
	f.mu.Lock()
	takes := f.takes
	f.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return hsm.Object{}, ctx.Err()
	}
	var key crypto.Signer
	var err error
	if r.Spec == keyspec.Ed25519 {
		_, key, err = ed25519.GenerateKey(rand.Reader)
	} else {
		key, err = ecdsa.GenerateKey(map[keyspec.Spec]elliptic.Curve{keyspec.P256: elliptic.P256(), keyspec.P384: elliptic.P384()}[r.Spec], rand.Reader)
	}
	if err != nil {
		return hsm.Object{}, err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return hsm.Object{}, err
	}
	appear := func() {
		f.keys[string(r.ID)], f.labels[string(r.ID)] = key, r.Label
		f.made++
	}
	var late time.Duration
	f.set(func(f *fakeToken) { late, f.cutOff = f.cutOff, 0 })
	if late > 0 {
		time.AfterFunc(late, func() { f.set(func(*fakeToken) { appear() }) })
		return hsm.Object{}, hsm.ErrUnavailable
	}
	err = f.effect("generate", appear)
	if err != nil {
		return hsm.Object{}, err
	}
	return hsm.Object{ID: r.ID, Label: r.Label, Private: true, Public: true, PublicKey: der}, nil
}

func (f *fakeToken) Destroy(_ context.Context, ref hsm.Ref) (n int, err error) {
	return n, f.effect("destroy", func() {
		if f.labels[string(ref.ID)] == ref.Label && ref.Label != "" {
			delete(f.keys, string(ref.ID))
			delete(f.labels, string(ref.ID))
			n = 1
		}
	})
}

func (f *fakeToken) Signer(_ context.Context, ref hsm.Ref, pub crypto.PublicKey) (crypto.Signer, error) {
	return fakeSigner{f, ref, pub}, nil
}

type fakeSigner struct {
	token *fakeToken
	ref   hsm.Ref
	pub   crypto.PublicKey
}

func (s fakeSigner) Public() crypto.PublicKey { return s.pub }

func (s fakeSigner) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) (sig []byte, err error) {
	var key crypto.Signer
	if err := s.token.effect("sign", func() { key = s.token.keys[string(s.ref.ID)] }); err != nil {
		return nil, err
	}
	if key == nil {
		return nil, hsm.ErrKeyNotFound
	}
	return key.Sign(random, digest, opts)
}
