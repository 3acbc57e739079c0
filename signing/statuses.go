package signing

import v1 "keysetd.example/api/v1"

// Statuses are how all keysets are, by their names, for the daemon's own page: nobody asks, so nothing is
// granted or put down.
func (s *Service) Statuses() []v1.Keyset {
	t, _ := s.enter()
	defer t.release()
	list := make([]v1.Keyset, 0, len(t.state.names))
	for _, name := range t.state.names {
		list = append(list, t.state.keysets[name].status)
	}
	return list
}
