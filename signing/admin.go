package signing

import (
	"context"

	v1 "keysetd.example/api/v1"
	"keysetd.example/signing/policy"
)

// PINRetry allows one more login to a token whose PIN was refused (invariant 9), as
// operation admin, and returns how the token is then. It does not wait for what becomes
// of the login: GET /v1/keysets tells.
func (s *Service) PINRetry(ctx context.Context, caller policy.Caller, token string) (*v1.Token, error) {
	return s.onToken(ctx, caller, token, func() *v1.Error {
		if err := s.RetryPIN(ctx, token); err != nil {
			return &v1.Error{Reason: v1.Internal, Detail: "the PIN marker could not be changed; keysetd's log says why", Cause: err}
		}
		return nil
	})
}

// Accept makes a token that was refused for its serial number the one that is meant, as
// operation admin, and returns how it is then.
func (s *Service) Accept(ctx context.Context, caller policy.Caller, token string, req *v1.AcceptRequest) (*v1.Token, error) {
	return s.onToken(ctx, caller, token, func() *v1.Error {
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
func (s *Service) onToken(ctx context.Context, caller policy.Caller, token string, do func() *v1.Error) (*v1.Token, error) {
	a := s.begin(caller, policy.Admin, "")
	a.token = Clip(token)
	err := a.authorise("")
	if err == nil && s.token(token) == nil {
		err = refuse(v1.NotFound, "", "no token %s is configured; `keysetctl status` lists those there are", quote(token))
	}
	if err == nil {
		if e := do(); e != nil {
			err = e
		}
	}
	if err := s.end(ctx, a, err); err != nil {
		return nil, err
	}
	return s.token(token), nil
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
