package door

import (
	"context"

	pb "keysetd.example/api/v1/keysetdpb"

	v1 "keysetd.example/api/v1"
	"keysetd.example/signing"
	"keysetd.example/signing/policy"
)

// maxHeaderMember is how long the header parameters of a token may be, in bytes of JSON.
const maxHeaderMember = 16 << 10

// signer is keysetd.v1.Signer over the service.
type signer struct {
	pb.UnsafeSignerServer
	service *signing.Service
}

// SignJWT implements keysetdpb.SignerServer.
func (s signer) SignJWT(ctx context.Context, in *pb.SignJWTRequest) (*pb.SignJWTResponse, error) {
	caller, err := grpcCaller(ctx)
	if err != nil {
		return nil, err
	}
	if len(in.GetHeader()) > 0 { // which has to be parsed: not for a stranger
		if err := s.service.Admit(ctx, caller, policy.JWT, in.GetKeyset()); err != nil {
			return nil, err
		}
	}
	req, bad := jwtRequest(in)
	if bad != nil {
		return nil, s.service.Refuse(ctx, caller, policy.JWT, in.GetKeyset(), bad)
	}
	reply, err := s.service.SignJWT(ctx, caller, in.GetKeyset(), req)
	if err != nil {
		return nil, err
	}
	return jwtResponse(reply)
}

// SignClientAssertion implements keysetdpb.SignerServer.
func (s signer) SignClientAssertion(ctx context.Context, in *pb.SignClientAssertionRequest) (*pb.SignClientAssertionResponse, error) {
	caller, err := grpcCaller(ctx)
	if err != nil {
		return nil, err
	}
	reply, err := s.service.SignClientAssertion(ctx, caller, in.GetKeyset(), assertionRequest(in))
	if err != nil {
		return nil, err
	}
	return assertionResponse(reply), nil
}

// Sign implements keysetdpb.SignerServer.
func (s signer) Sign(ctx context.Context, in *pb.SignRequest) (*pb.SignResponse, error) {
	caller, err := grpcCaller(ctx)
	if err != nil {
		return nil, err
	}
	if len(in.GetPayload()) > 0 { // which has to be copied
		if err := s.service.Admit(ctx, caller, policy.Sign, in.GetKeyset()); err != nil {
			return nil, err
		}
	}
	reply, err := s.service.Sign(ctx, caller, in.GetKeyset(), signRequest(in))
	if err != nil {
		return nil, err
	}
	return signResponse(reply)
}

// Batch implements keysetdpb.SignerServer.
func (s signer) Batch(ctx context.Context, in *pb.BatchRequest) (*pb.BatchResponse, error) {
	caller, err := grpcCaller(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.service.Admit(ctx, caller, signing.OpBatch, in.GetKeyset()); err != nil {
		return nil, err
	}
	req := &v1.BatchRequest{Items: make([]v1.BatchItem, len(in.GetItems()))}
	for i, item := range in.GetItems() {
		if i >= signing.MaxBatch { // the service refuses it for their number
			break
		}
		var bad *v1.Error
		if req.Items[i], bad = batchItem(item, i); bad != nil {
			return nil, s.service.Refuse(ctx, caller, signing.OpBatch, in.GetKeyset(), bad)
		}
	}
	reply, err := s.service.Batch(ctx, caller, in.GetKeyset(), req)
	if err != nil {
		return nil, err
	}
	out := &pb.BatchResponse{Items: make([]*pb.BatchResult, len(reply.Items))}
	for i := range reply.Items {
		if out.Items[i], err = batchResult(&reply.Items[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}
