package worker

import "github.com/miekg/pkcs11"

// pool holds the sessions for signing and decrypting. All are opened at once, so that a token with too
// few sessions is noticed at the start and not under load. A session whose operation
// failed may be left in the middle of it for ever (CKR_OPERATION_ACTIVE): it is closed,
// and the next user of its place opens another. That takes time, by which somebody could tell a ciphertext
// that was refused from one that was not; its session is suspected instead, and replaced only
// if the next operation finds it to be in the middle of something.
type pool struct {
	free    chan pooled
	open    func() (pkcs11.SessionHandle, error)
	discard func(pkcs11.SessionHandle)
}

// pooled is a place in the pool.
type pooled struct {
	handle  pkcs11.SessionHandle // vacant for a place without a session
	suspect bool                 // its last decryption was refused
}

// vacant is CK_INVALID_HANDLE, which is no session.
const vacant pkcs11.SessionHandle = 0

func newPool(n int, open func() (pkcs11.SessionHandle, error), discard func(pkcs11.SessionHandle)) (*pool, error) {
	p := &pool{free: make(chan pooled, n), open: open, discard: discard}
	for range n {
		s, err := open()
		if err != nil {
			p.close()
			return nil, err
		}
		p.free <- pooled{handle: s}
	}
	return p, nil
}

// get waits for a session.
func (p *pool) get() (pooled, error) {
	s := <-p.free
	if s.handle != vacant {
		return s, nil
	}
	return p.fill()
}

// fill opens a session for a place that was taken.
func (p *pool) fill() (pooled, error) {
	h, err := p.open()
	if err != nil {
		p.free <- pooled{}
		return pooled{}, err
	}
	return pooled{handle: h}, nil
}

// put gives a session back.
func (p *pool) put(s pooled) { p.free <- s }

// exchange takes another session for s, which cannot be used.
func (p *pool) exchange(s pooled) (pooled, error) {
	p.discard(s.handle)
	return p.fill()
}

// drop gives back the place of a session whose operation failed.
func (p *pool) drop(s pooled) {
	p.discard(s.handle)
	p.free <- pooled{}
}

// close closes the sessions of a pool that nobody uses.
func (p *pool) close() {
	for range len(p.free) {
		if s := <-p.free; s.handle != vacant {
			p.discard(s.handle)
		}
	}
}
