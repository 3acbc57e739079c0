package signing

import (
	"context"

	v1 "keysetd.example/api/v1"
	"keysetd.example/signing/policy"
)

// Keyset returns the state of one keyset, as operation read.
func (s *Service) Keyset(ctx context.Context, caller policy.Caller, name string) (*v1.Keyset, error) {
	a := s.begin(caller, policy.Read, name)
	var reply *v1.Keyset
	err := a.authorise("")
	if err == nil {
		if ks := a.state.keysets[name]; ks != nil {
			status := ks.status
			reply = &status
		} else {
			err = unknownKeyset(name)
		}
	}
	if err := s.end(ctx, a, err); err != nil {
		return nil, err
	}
	return reply, nil
}

// Keysets returns the state of every keyset that the caller may read, and how the
// tokens are. A caller that may read none is refused.
func (s *Service) Keysets(ctx context.Context, caller policy.Caller) (*v1.KeysetList, error) {
	a := s.begin(caller, policy.Read, policy.All)
	reply := &v1.KeysetList{Keysets: []v1.Keyset{}}
	for _, name := range a.state.names {
		if a.state.policy.Decide(caller, policy.Read, name, "").Granted {
			reply.Keysets = append(reply.Keysets, a.state.keysets[name].status)
		}
	}
	var err error
	if len(reply.Keysets) == 0 && a.decide("") != nil { // "*" is granted where there are no keysets yet
		err = refuse(v1.NotGranted, "", "uid %d is not granted operation read on any keyset; add it under callers:", caller.UID)
	}
	if err := s.end(ctx, a, err); err != nil {
		return nil, err
	}
	reply.Tokens, reply.Public = s.Tokens(), s.Public
	return reply, nil
}
