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
	"keysetd.example/hsm/wire"
	"keysetd.example/internal/keyspec"
	"keysetd.example/rotation"
)

// fate decides how each effect on store, token and page ends. The zero value lets all succeed.
type fate struct {
	mu      sync.Mutex
	count   int
	kinds   []string      // of effect, in their order
	at      int           // which effect fails, counted from 1
	persist bool          // it has its effect nevertheless
	late    time.Duration // a key that it keeps from being made is there so much later
	crash   func()
	dead    bool // after the crash nothing has an effect
}

var errFate = errors.New("fate")

// next returns the error of the next effect, of this kind, and whether it happens.
func (f *fate) next(kind string) (err error, happens bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead {
		return errFate, false
	}
	f.count++
	f.kinds = append(f.kinds, kind)
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
	foreign map[string]hsm.Object // by CKA_ID: what the administrator brought
	usages  map[string]hsm.Usage
	public  map[string][]byte
	cheap   func(keyspec.Spec) crypto.Signer // a key made beforehand, if set; then nothing is really signed either
	began   time.Time                        // the epoch
	down    bool
	listed  int           // how often
	cutOff  time.Duration // the next call to make a key ends at once, and the key is there so much later
	takes   time.Duration // to make a key
	slow    time.Duration // to sign
	made    int
	making  int
	overlap bool               // two keys were made at once
	fresh   int                // how often Refresh was called
	fail    func(string) error // asked before each operation, if set
	fate    *fate
}

func newFakeToken(fate *fate) *fakeToken {
	return &fakeToken{
		keys: map[string]crypto.Signer{}, labels: map[string]string{}, foreign: map[string]hsm.Object{}, usages: map[string]hsm.Usage{}, public: map[string][]byte{},
		fate: fate,
	}
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
			if o, foreign := f.foreign[id]; foreign && f.keys[id] != nil {
				objects = append(objects, o)
			} else if strings.HasPrefix(f.labels[id], prefix) {
				objects = append(objects, hsm.Object{ID: []byte(id), Label: f.labels[id], Private: f.keys[id] != nil, Public: true, PublicKey: f.public[id], Attributes: attributes(f.usages[id])})
			}
		}
	})
}

// Refresh: it is always asked.
func (f *fakeToken) Refresh() { f.set(func(f *fakeToken) { f.fresh++ }) }

// attributes of a key that obeys the rules.
func attributes(usage hsm.Usage) wire.PrivateAttributes {
	yes, no := true, false
	a := wire.PrivateAttributes{Token: &yes, Private: &yes, Sensitive: &yes, Extractable: &no, Sign: &no, Decrypt: &no, Derive: &no}
	switch usage {
	case hsm.Decrypt:
		a.Decrypt = &yes
	case hsm.Derive:
		a.Derive = &yes
	default:
		a.Sign = &yes
	}
	return a
}

// bring puts a key of the administrator's on the token.
func (f *fakeToken) bring(label string, spec keyspec.Spec, change func(*hsm.Object)) hsm.Object {
	var key crypto.Signer
	var err error
	if f.cheap != nil {
		key = f.cheap(spec)
	} else if key, err = newKey(spec); err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		panic(err)
	}
	o := hsm.Object{ID: []byte("id of " + label), Label: label, Private: true, Public: true, PublicKey: der, Attributes: attributes(hsm.Sign)}
	if change != nil {
		change(&o)
	}
	f.set(func(f *fakeToken) {
		f.keys[string(o.ID)], f.labels[string(o.ID)], f.foreign[string(o.ID)] = key, label, o
	})
	return o
}

func newKey(spec keyspec.Spec) (crypto.Signer, error) {
	if spec == keyspec.Ed25519 {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	curves := map[keyspec.Spec]elliptic.Curve{keyspec.P256: elliptic.P256(), keyspec.P384: elliptic.P384(), keyspec.P521: elliptic.P521()}
	return ecdsa.GenerateKey(curves[spec], rand.Reader)
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
	err, happens := f.fate.next(operation)
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
	if f.cheap != nil {
		key = f.cheap(r.Spec)
	} else if key, err = newKey(r.Spec); err != nil {
		return hsm.Object{}, err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return hsm.Object{}, err
	}
	appear := func() {
		f.keys[string(r.ID)], f.labels[string(r.ID)], f.usages[string(r.ID)], f.public[string(r.ID)] = key, r.Label, r.Usage, der
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
	var slow time.Duration
	s.token.set(func(f *fakeToken) { slow = f.slow })
	time.Sleep(slow)
	var key crypto.Signer
	if err := s.token.effect("sign", func() { key = s.token.keys[string(s.ref.ID)] }); err != nil {
		return nil, err
	}
	switch {
	case key == nil:
		return nil, hsm.ErrKeyNotFound
	case s.token.cheap != nil:
		return []byte("a signature"), nil
	}
	return key.Sign(random, digest, opts)
}
