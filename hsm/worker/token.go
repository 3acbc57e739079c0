package worker

import (
	"github.com/miekg/pkcs11"

	"keysetd.example/hsm/wire"
)

// token is a token that is logged in.
//
// The keeper is a session that is never used: a login lasts as long as the process has
// a session (PKCS#11 v2.40 §5.6), and all others may be thrown away at any time. Sessions
// for signing are in the pool. Everything else opens a session for itself, so that it
// neither waits for others nor finds what they left behind.
type token struct {
	module *module
	slot   slot
	keeper pkcs11.SessionHandle
	pool   *pool
	keys   keys
}

// openToken opens the keeper and n sessions for signing. Nobody is logged in yet.
func openToken(m *module, s slot, n int) (*token, error) {
	t := &token{module: m, slot: s}
	keeper, err := t.openSession(pkcs11.CKF_SERIAL_SESSION)
	if err != nil {
		return nil, err
	}
	t.keeper = keeper
	t.pool, err = newPool(n, func() (pkcs11.SessionHandle, error) {
		return t.openSession(pkcs11.CKF_SERIAL_SESSION)
	}, m.closeSession)
	if err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *token) close() {
	if t.pool != nil {
		t.pool.close()
	}
	t.module.closeSession(t.keeper)
}

func (t *token) openSession(flags uint) (pkcs11.SessionHandle, error) {
	s, err := t.module.ctx.OpenSession(t.slot.number, flags)
	switch info := t.slot.token; {
	case err == nil:
		return s, nil
	case codeOf(err) == pkcs11.CKR_SESSION_COUNT:
		return 0, failed("C_OpenSession", err, "open a session on token %q, which allows %d (0: it does not say) to all programs together; lower token.sessions", info.Label, info.MaxSessions)
	default:
		return 0, failed("C_OpenSession", err, "open a session on token %q", info.Label)
	}
}

// withSession runs f on a session of its own.
func (t *token) withSession(flags uint, f func(session) error) error {
	s, err := t.openSession(pkcs11.CKF_SERIAL_SESSION | flags)
	if err != nil {
		return err
	}
	defer t.module.closeSession(s)
	return f(session{ctx: t.module.ctx, handle: s, token: t.slot.token.Label})
}

// session is a session with one user.
type session struct {
	ctx    *pkcs11.Ctx
	handle pkcs11.SessionHandle
	token  string // its label, for messages
}

// proveLogin returns an error unless the user is logged in. Only then does "not found"
// mean that something is not there (invariant 5): private objects are hidden from a
// session that has lost its login. As this process logs in once, a proof after a search
// holds for the search.
func (s session) proveLogin() error {
	info, err := s.ctx.GetSessionInfo(s.handle)
	if err != nil {
		return failed("C_GetSessionInfo", err, "see whether the session on token %q is logged in", s.token)
	}
	if info.State != pkcs11.CKS_RO_USER_FUNCTIONS && info.State != pkcs11.CKS_RW_USER_FUNCTIONS {
		return ckr("C_GetSessionInfo", pkcs11.CKR_USER_NOT_LOGGED_IN, "the session on token %q has lost its login", s.token)
	}
	return nil
}

// find returns all objects that match the template.
func (s session) find(what string, template ...*pkcs11.Attribute) ([]pkcs11.ObjectHandle, error) {
	if err := s.ctx.FindObjectsInit(s.handle, template); err != nil {
		return nil, failed("C_FindObjectsInit", err, "look for %s", what)
	}
	var all []pkcs11.ObjectHandle
	for {
		some, _, err := s.ctx.FindObjects(s.handle, 256)
		if err != nil {
			return nil, failed("C_FindObjects", err, "look for %s", what)
		}
		if len(some) == 0 {
			break
		}
		all = append(all, some...)
	}
	if err := s.ctx.FindObjectsFinal(s.handle); err != nil {
		return nil, failed("C_FindObjectsFinal", err, "look for %s", what)
	}
	return all, nil
}

// refTemplate is what every object that r names has.
func refTemplate(class uint, r wire.Ref) []*pkcs11.Attribute {
	t := []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, class)}
	if len(r.ID) > 0 {
		t = append(t, pkcs11.NewAttribute(pkcs11.CKA_ID, r.ID))
	}
	if r.Label != "" {
		t = append(t, pkcs11.NewAttribute(pkcs11.CKA_LABEL, r.Label))
	}
	return t
}
