package worker

import "github.com/miekg/pkcs11"

// pool holds the sessions for signing. All are opened at once, so that a token with too
// few sessions is noticed at the start and not under load. A session whose operation
// failed may be left in the middle of it for ever (CKR_OPERATION_ACTIVE): it is closed,
// and the next user of its place opens another.
type pool struct {
	free    chan pkcs11.SessionHandle // vacant for a place without a session
	open    func() (pkcs11.SessionHandle, error)
	discard func(pkcs11.SessionHandle)
}

// vacant is CK_INVALID_HANDLE, which is no session.
const vacant pkcs11.SessionHandle = 0

func newPool(n int, open func() (pkcs11.SessionHandle, error), discard func(pkcs11.SessionHandle)) (*pool, error) {
	p := &pool{free: make(chan pkcs11.SessionHandle, n), open: open, discard: discard}
	for range n {
		s, err := open()
		if err != nil {
			p.close()
			return nil, err
		}
		p.free <- s
	}
	return p, nil
}

// get waits for a session.
func (p *pool) get() (pkcs11.SessionHandle, error) {
	s := <-p.free
	if s != vacant {
		return s, nil
	}
	s, err := p.open()
	if err != nil {
		p.free <- vacant
		return vacant, err
	}
	return s, nil
}

// put gives a session back whose operation succeeded.
func (p *pool) put(s pkcs11.SessionHandle) { p.free <- s }

// drop gives back the place of a session whose operation failed.
func (p *pool) drop(s pkcs11.SessionHandle) {
	p.discard(s)
	p.free <- vacant
}

// close closes the sessions of a pool that nobody uses.
func (p *pool) close() {
	for range len(p.free) {
		if s := <-p.free; s != vacant {
			p.discard(s)
		}
	}
}
