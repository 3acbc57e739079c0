package signing

import (
	"context"
	"strings"

	v1 "keysetd.example/api/v1"
	"keysetd.example/rotation"
	"keysetd.example/signing/policy"
)

// PINRetry allows one more login to a token whose PIN was refused (invariant 9), as
// operation admin, and returns how the token is then. It does not wait for what becomes
// of the login: GET /v1/keysets tells.
func (s *Service) PINRetry(ctx context.Context, caller policy.Caller, token string) (*v1.Token, error) {
	return s.onToken(ctx, caller, token, "pin retry", func() *v1.Error {
		if err := s.RetryPIN(ctx, token); err != nil {
			return &v1.Error{Reason: v1.Internal, Detail: "the PIN marker could not be changed; keysetd's log says why", Cause: err}
		}
		return nil
	})
}

// Accept makes a token that was refused for its serial number the one that is meant, as
// operation admin, and returns how it is then.
func (s *Service) Accept(ctx context.Context, caller policy.Caller, token string, req *v1.AcceptRequest) (*v1.Token, error) {
	return s.onToken(ctx, caller, token, "accept "+quote(req.Serial), func() *v1.Error {
		if found := s.token(token).FoundSerial; found == "" || found != req.Serial {
			return refuse(v1.BadRequest, "/serial", "token %s has no other serial number waiting to be accepted than %s; GET /v1/keysets shows it as found_serial", token, quote(found))
		}
		if err := s.AcceptSerial(ctx, token, req.Serial); err != nil {
			return &v1.Error{Reason: v1.Internal, Detail: "the serial number could not be accepted; keysetd's log says why", Cause: err}
		}
		return nil
	})
}

// onToken does an act of operation admin on a token that is configured.
func (s *Service) onToken(ctx context.Context, caller policy.Caller, token, what string, do func() *v1.Error) (*v1.Token, error) {
	a := s.begin(caller, policy.Admin, "").note(true, what)
	a.token = Clip(token)
	err := s.perform(ctx, a, func(context.Context) error {
		if s.token(token) == nil {
			return refuse(v1.NotFound, "", "no token %s is configured; `keysetctl status` lists those there are", quote(token))
		}
		if e := do(); e != nil {
			return e
		}
		a.done = true
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s.token(token), nil
}

// Reload reads the configuration again, as operation admin.
func (s *Service) Reload(ctx context.Context, caller policy.Caller, req *v1.ReloadRequest) (*v1.ReloadReply, error) {
	a := s.begin(caller, policy.Admin, "").note(true, "reload").note(req.DryRun, "dry run")
	a.note(len(req.Remove) > 0, "remove "+Clip(strings.Join(req.Remove, " ")))
	var reply *v1.ReloadReply
	err := s.operate(ctx, a, func(ctx context.Context) (err error) {
		reply, err = s.Config.Reload(ctx, by(caller), req)
		return err
	})
	if err != nil {
		return nil, err
	}
	return reply, nil
}

// AcceptClock has the schedule go on after a step of the clock (invariant 11), as operation admin.
func (s *Service) AcceptClock(ctx context.Context, caller policy.Caller) error {
	a := s.begin(caller, policy.Admin, "").note(true, "clock accept")
	return s.operate(ctx, a, func(ctx context.Context) error {
		return s.Operator.AcceptClock(ctx, rotation.Act{By: by(caller)})
	})
}

// token returns how a token is, or nil if there is none of that name.
func (s *Service) token(name string) *v1.Token {
	for _, t := range s.Tokens() {
		if t.Name == name {
			return &t
		}
	}
	return nil
}
