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
	a := s.begin(caller, policy.Admin, "")
	a.token = clip(token)
	err := a.authorise("")
	if err == nil {
		err = s.retryPIN(ctx, token)
	}
	if err := s.end(ctx, a, err); err != nil {
		return nil, err
	}
	return s.token(token), nil
}

func (s *Service) retryPIN(ctx context.Context, token string) error {
	if s.token(token) == nil {
		return refuse(v1.NotFound, "", "no token %s is configured; GET /v1/keysets lists those there are", quote(token))
	}
	if err := s.RetryPIN(ctx, token); err != nil {
		return &v1.Error{Reason: v1.Internal, Detail: "the PIN marker could not be changed; keysetd's log says why", Cause: err}
	}
	return nil
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
