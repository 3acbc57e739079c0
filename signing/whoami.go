package signing

import (
	"context"
	"slices"

	v1 "keysetd.example/api/v1"
	"keysetd.example/signing/policy"
)

// OpWhoAmI is what the audit log and metrics call WhoAmI. Nobody is granted it, for everybody may ask.
const OpWhoAmI policy.Operation = "whoami"

// WhoAmI tells a caller who the kernel says it is, and what it is granted. It needs no grant; the
// kernel's overflow uid, which is granted nothing, learns its ids.
func (s *Service) WhoAmI(ctx context.Context, caller policy.Caller) (_ *v1.WhoAmI, err error) {
	a := s.begin(caller, OpWhoAmI, "")
	defer s.finish(ctx, a, &err)
	reply := &v1.WhoAmI{
		UID: caller.UID, GID: caller.GID, PID: caller.PID, Groups: slices.Clone(caller.Groups),
		Grants: []v1.Grant{},
	}
	for _, r := range a.term.state.policy.Grants(caller) {
		reply.Grants = append(reply.Grants, v1.Grant{
			Name: r.Name, Keysets: r.Keysets, Operations: texts(r.Operations), Algorithms: texts(r.Algorithms),
			Types: r.Types, ClientIDs: r.ClientIDs, Audiences: r.Audiences, Claims: r.Claims,
			Rate: r.Rate, Burst: r.Burst, Priority: r.Priority,
		})
	}
	if err := s.end(ctx, a, nil); err != nil {
		return nil, err
	}
	return reply, nil
}

func texts[T ~string](words []T) (texts []string) {
	for _, w := range words {
		texts = append(texts, string(w))
	}
	return texts
}
