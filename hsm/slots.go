package hsm

import "sync"

// slots are those of one epoch. Each is free, with a call, or being handed from one call to the next: none is
// free while somebody waits, so that nobody who finds one free overtakes.
type slots struct {
	mu   sync.Mutex
	free int
	line line
}

// take takes a slot if one is free.
func (s *slots) take() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.free == 0 {
		return false
	}
	s.free--
	return true
}

// enter has p wait for a slot. The channel is closed when p has one.
func (s *slots) enter(p *place) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.granted = make(chan struct{})
	if s.free > 0 {
		s.free--
		close(p.granted)
	} else {
		s.line.join(p)
	}
	return p.granted
}

// abandon ends p's wait; a slot that it got meanwhile goes on to the next.
func (s *slots) abandon(p *place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.line.leave(p) {
		s.pass()
	}
}

// release gives a slot back.
func (s *slots) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pass()
}

func (s *slots) pass() {
	if p := s.line.next(); p != nil {
		close(p.granted)
	} else {
		s.free++
	}
}
