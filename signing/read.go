package signing

import (
	"cmp"
	"context"
	"fmt"

	v1 "keysetd.example/api/v1"
	"keysetd.example/signing/policy"
)

// Keyset returns the state of one keyset, as operation read.
func (s *Service) Keyset(ctx context.Context, caller policy.Caller, name string) (_ *v1.Keyset, err error) {
	a := s.begin(caller, policy.Read, name)
	defer s.finish(ctx, a, &err)
	var reply *v1.Keyset
	err = a.authorise("")
	if err == nil {
		if ks := a.term.state.keysets[name]; ks != nil {
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
func (s *Service) Keysets(ctx context.Context, caller policy.Caller) (_ *v1.KeysetList, err error) {
	a := s.begin(caller, policy.Read, policy.All)
	defer s.finish(ctx, a, &err)
	reply := &v1.KeysetList{Keysets: []v1.Keyset{}}
	for _, name := range a.term.state.names {
		if a.term.state.policy.Decide(caller, policy.Read, name, "").Granted {
			reply.Keysets = append(reply.Keysets, a.term.state.keysets[name].status)
		}
	}
	if len(reply.Keysets) == 0 && a.decide("") != nil { // "*" is granted where there are no keysets yet
		err = refuse(v1.NotGranted, "", "uid %d is not granted operation read on any keyset; add it under callers:", caller.UID)
	}
	if err := s.end(ctx, a, err); err != nil {
		return nil, err
	}
	reply.Tokens, reply.Public = s.Tokens(), s.Public
	return reply, nil
}

// Plan tells what will happen to a keyset if nothing else does, as operation read.
func (s *Service) Plan(ctx context.Context, caller policy.Caller, keyset string) (*v1.Plan, error) {
	a := s.begin(caller, policy.Read, keyset).note(true, "plan")
	reply := &v1.Plan{Steps: []v1.PlannedStep{}}
	err := s.perform(ctx, a, func(context.Context) error {
		steps, err := s.Operator.Plan(keyset)
		for _, f := range steps {
			step := v1.PlannedStep{At: f.At, Step: string(f.Kind), Generation: f.Generation, Reason: f.Reason}
			if f.Token != "" {
				step.Reason = fmt.Sprintf("token %s: %s", f.Token, f.Reason)
			}
			reply.Steps = append(reply.Steps, step)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return reply, nil
}

// How many events History returns.
const (
	defaultHistory = 100
	maxHistory     = 1000
)

// History returns the newest events of a keyset, oldest first, as operation read. A limit of
// 0 stands for 100; more than 1000 are refused.
func (s *Service) History(ctx context.Context, caller policy.Caller, keyset string, limit int) (*v1.History, error) {
	a := s.begin(caller, policy.Read, keyset).note(true, "history")
	reply := &v1.History{Events: []v1.Event{}}
	err := s.perform(ctx, a, func(ctx context.Context) error {
		if limit < 0 || limit > maxHistory {
			return refuse(v1.BadRequest, "", "limit %d is not from 1 to %d", limit, maxHistory)
		}
		events, err := s.Operator.History(ctx, keyset, cmp.Or(limit, defaultHistory))
		for _, e := range events {
			reply.Events = append(reply.Events, v1.Event{At: e.At, What: e.What, Generation: e.Generation, KIDs: e.KIDs, By: e.By, Why: e.Why})
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return reply, nil
}
