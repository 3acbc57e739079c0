package door

import (
	"context"
	"net/http"

	v1 "keysetd.example/api/v1"
	"keysetd.example/signing"
	"keysetd.example/signing/policy"
)

func (s *Server) assertion(ctx context.Context, caller policy.Caller, w http.ResponseWriter, r *http.Request) (any, error) {
	var req v1.ClientAssertionRequest
	if err := s.read(ctx, caller, policy.ClientAssertion, w, r, assertionBody, &req); err != nil {
		return nil, err
	}
	return s.config.Service.SignClientAssertion(ctx, caller, r.PathValue("name"), &req)
}

func (s *Server) decrypt(ctx context.Context, caller policy.Caller, w http.ResponseWriter, r *http.Request) (any, error) {
	var req v1.DecryptRequest
	if err := s.read(ctx, caller, policy.Decrypt, w, r, decryptBody, &req); err != nil {
		return nil, err
	}
	return s.config.Service.Decrypt(ctx, caller, r.PathValue("name"), &req)
}

func (s *Server) key(ctx context.Context, caller policy.Caller, _ http.ResponseWriter, r *http.Request) (any, error) {
	return s.config.Service.ActiveKey(ctx, caller, r.PathValue("name"), r.FormValue("alg"))
}

func (s *Server) whoami(ctx context.Context, caller policy.Caller, _ http.ResponseWriter, _ *http.Request) (any, error) {
	return s.config.Service.WhoAmI(ctx, caller)
}

func (s *Server) policyTest(ctx context.Context, caller policy.Caller, w http.ResponseWriter, r *http.Request) (any, error) {
	var req v1.PolicyTestRequest
	if err := s.read(ctx, caller, policy.Admin, w, r, testBody, &req); err != nil {
		return nil, err
	}
	return s.config.Service.PolicyTest(ctx, caller, &req)
}

func (s *Server) batch(ctx context.Context, caller policy.Caller, w http.ResponseWriter, r *http.Request) (any, error) {
	var req v1.BatchRequest
	if err := s.read(ctx, caller, signing.OpBatch, w, r, batchBody, &req); err != nil {
		return nil, err
	}
	return s.config.Service.Batch(ctx, caller, r.PathValue("name"), &req)
}
