package worker

import (
	"github.com/miekg/pkcs11"

	"keysetd.example/hsm/wire"
)

// Prepare opens r.Sessions sessions for signing, and the one that keeps the login.
func (b *backend) Prepare(r wire.PrepareRequest) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.chosen == nil:
		return reason(wire.Protocol, "open sessions: no token is open")
	case b.prepared != nil || b.attempted:
		return reason(wire.Protocol, "open sessions: this process has its sessions already")
	case r.Sessions < 1:
		return reason(wire.Protocol, "open sessions on token %q: %d; at least one is needed", b.chosen.token.Label, r.Sessions)
	}
	t, err := openToken(b.module, *b.chosen, r.Sessions)
	if err != nil {
		return err
	}
	b.prepared = t
	return nil
}

// Login logs the user in. C_Login is called at most once in the life of the process, so
// that no mistake here can try a PIN twice (invariant 9), and it is all that is called. The PIN is zeroed.
func (b *backend) Login(r wire.LoginRequest) error {
	defer clear(r.PIN)
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.attempted:
		return reason(wire.Protocol, "log in: this process has called C_Login already; start another")
	case b.prepared == nil:
		return reason(wire.Protocol, "log in: no sessions are open")
	case len(r.PIN) == 0:
		return reason(wire.Protocol, "log in to token %q: the PIN is empty", b.chosen.token.Label)
	}
	t := b.prepared
	b.attempted = true
	rv := b.module.native.login(uint(t.keeper), pkcs11.CKU_USER, r.PIN)
	clear(r.PIN)
	if rv != pkcs11.CKR_OK {
		t.close()
		return loginError(rv, b.chosen.token)
	}
	b.token.Store(t)
	return nil
}

func loginError(rv uint64, info wire.TokenInfo) error {
	err := ckr("C_Login", rv, "log in to token %q with serial number %q", info.Label, info.Serial)
	if rv == pkcs11.CKR_USER_ALREADY_LOGGED_IN {
		// It proves nothing about the PIN, and nobody else is in this process.
		err.Reason = wire.Protocol
		err.Message += ": the module says that somebody has, in a process that never did"
	}
	return err
}
