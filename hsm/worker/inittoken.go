package worker

import (
	"github.com/miekg/pkcs11"

	"keysetd.example/hsm/wire"
)

// InitToken initialises the first free slot and chooses the token that it then has, as
// if by Open: Login may follow. A token with the same label must not exist. Both PINs
// are zeroed.
func (b *backend) InitToken(r wire.InitTokenRequest) (wire.TokenInfo, error) {
	defer clear(r.SOPIN)
	defer clear(r.PIN)
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.module == nil:
		return wire.TokenInfo{}, reason(wire.Protocol, "initialise a token: no module is open")
	case b.attempted:
		return wire.TokenInfo{}, reason(wire.Protocol, "initialise a token: this process is logged in to one")
	case r.Label == "" || len(r.Label) > len([32]byte{}):
		return wire.TokenInfo{}, reason(wire.Protocol, "initialise a token: the label %q is not 1 to 32 bytes long", r.Label)
	}
	slots, unread, err := b.module.slots()
	if err == nil {
		err = unread // it might have the label
	}
	if err != nil {
		return wire.TokenInfo{}, err
	}
	free, err := chooseFree(slots, r.Label)
	if err != nil {
		return wire.TokenInfo{}, err
	}
	if err := b.module.initToken(free.number, r); err != nil {
		return wire.TokenInfo{}, err
	}
	s, err := b.module.slot(free.number)
	if err != nil {
		return wire.TokenInfo{}, err
	}
	info, err := b.module.describe(s)
	if err != nil {
		return wire.TokenInfo{}, err
	}
	b.chosen = &s
	return info, nil
}

func chooseFree(slots []slot, label string) (slot, error) {
	var free *slot
	for i, s := range slots {
		if !s.initialised && free == nil {
			free = &slots[i]
		}
		if s.initialised && s.token.Label == label {
			state := "it is in use"
			if !s.hasUserPIN {
				state = "it has no user PIN, so an initialisation was interrupted: remove it and try again"
			}
			return slot{}, reason(wire.TokenNotOne, "initialise token %q: there is one with this label, with serial number %q; %s", label, s.token.Serial, state)
		}
	}
	if free == nil {
		return slot{}, reason(wire.TokenMissing, "initialise token %q: no slot has a token that is not initialised", label)
	}
	return *free, nil
}

// initToken is C_InitToken, then C_InitPIN by the security officer.
func (m *module) initToken(number uint, r wire.InitTokenRequest) error {
	var label [32]byte
	for i := copy(label[:], r.Label); i < len(label); i++ {
		label[i] = ' '
	}
	if rv := m.native.initToken(number, r.SOPIN, label); rv != pkcs11.CKR_OK {
		return ckr("C_InitToken", rv, "initialise token %q", r.Label)
	}
	s, err := m.ctx.OpenSession(number, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err != nil {
		return failed("C_OpenSession", err, "set the PIN of the new token %q", r.Label)
	}
	defer m.closeSession(s) // the only session: it logs the officer out too
	if rv := m.native.login(uint(s), pkcs11.CKU_SO, r.SOPIN); rv != pkcs11.CKR_OK {
		return ckr("C_Login", rv, "log in as security officer of the new token %q", r.Label)
	}
	if rv := m.native.initPIN(uint(s), r.PIN); rv != pkcs11.CKR_OK {
		return ckr("C_InitPIN", rv, "set the PIN of the new token %q", r.Label)
	}
	return nil
}
