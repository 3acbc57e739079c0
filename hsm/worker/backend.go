// Package worker is the process that holds the PKCS#11 module: it answers the requests
// of hsm/wire on a socket that it inherits. It is the only package that imports
// miekg/pkcs11, and the only one that sees a PIN next to vendor code.
//
// The process serves one token for one epoch. It does not repair anything: sessions
// whose operation failed are thrown away, everything else that goes wrong is told to
// the daemon, which ends the process and starts another.
package worker

import (
	"sync"
	"sync/atomic"

	"keysetd.example/hsm/wire"
)

// backend is wire.Backend on a PKCS#11 module. It goes through three states: no
// module; a module, with a token chosen or not; a token that is logged in.
type backend struct {
	mu        sync.Mutex // held by Open, InitToken, Login and Close; guards what follows
	module    *module
	chosen    *slot
	prepared  *token // with its sessions, and nobody logged in
	attempted bool   // C_Login was called

	token atomic.Pointer[token] // nil until logged in
}

var _ wire.Backend = (*backend)(nil)

// Open loads the module and chooses the token. It may be called again until Login was:
// the module is then finalised and loaded anew, since some modules list their slots
// only once. Where no token matches the module stays, for InitToken.
func (b *backend) Open(r wire.OpenRequest) (wire.TokenInfo, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.attempted {
		return wire.TokenInfo{}, reason(wire.Protocol, "open a token: this process has one already")
	}
	if err := b.unload(); err != nil {
		return wire.TokenInfo{}, err
	}
	m, err := load(r.Module, r.Reserved)
	if err != nil {
		return wire.TokenInfo{}, err
	}
	b.module = m
	slots, unread, err := m.slots()
	if err != nil {
		return wire.TokenInfo{}, err
	}
	s, err := choose(slots, r)
	if err != nil {
		if unread != nil { // the token may be the one that could not be read
			err = unread
		}
		return wire.TokenInfo{}, err
	}
	info, err := m.describe(s)
	if err != nil {
		return wire.TokenInfo{}, err
	}
	b.chosen = &s
	return info, nil
}

func (b *backend) unload() error {
	if b.module == nil {
		return nil
	}
	m := b.module
	b.module, b.chosen, b.prepared = nil, nil, nil
	return m.close()
}

// Close ends the sessions and unloads the module.
func (b *backend) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.token.Store(nil)
	return b.unload()
}

// loggedIn returns the token, once there is one.
func (b *backend) loggedIn() (*token, error) {
	t := b.token.Load()
	if t == nil {
		return nil, reason(wire.Protocol, "nobody is logged in yet")
	}
	return t, nil
}

// List returns the keys on the token.
func (b *backend) List(r wire.ListRequest) ([]wire.Object, error) {
	t, err := b.loggedIn()
	if err != nil {
		return nil, err
	}
	return t.list(r.Prefix)
}

// Generate makes a key pair and reads it back.
func (b *backend) Generate(r wire.GenerateRequest) (wire.Object, error) {
	t, err := b.loggedIn()
	if err != nil {
		return wire.Object{}, err
	}
	return t.generate(r)
}

// Sign makes one signature.
func (b *backend) Sign(r wire.SignRequest, timing *wire.Timing) ([]byte, error) {
	t, err := b.loggedIn()
	if err != nil {
		return nil, err
	}
	return t.sign(r, timing)
}

// Decrypt decrypts or derives once.
func (b *backend) Decrypt(r wire.DecryptRequest, timing *wire.Timing) (wire.Decrypted, error) {
	t, err := b.loggedIn()
	if err != nil {
		return wire.Decrypted{}, err
	}
	return t.decrypt(r, timing)
}

// Destroy removes a key and what belongs to it.
func (b *backend) Destroy(r wire.Ref) (wire.DestroyReply, error) {
	t, err := b.loggedIn()
	if err != nil {
		return wire.DestroyReply{}, err
	}
	return t.destroy(r)
}
