package door

import (
	"context"

	pb "keysetd.example/api/v1/keysetdpb"

	v1 "keysetd.example/api/v1"
	"keysetd.example/signing"
	"keysetd.example/signing/policy"
)

// keysets is keysetd.v1.Keysets over the service.
type keysets struct {
	pb.UnsafeKeysetsServer
	service *signing.Service
}

// List implements keysetdpb.KeysetsServer.
func (k keysets) List(ctx context.Context, _ *pb.ListRequest) (*pb.ListResponse, error) {
	caller, err := grpcCaller(ctx)
	if err != nil {
		return nil, err
	}
	reply, err := k.service.Keysets(ctx, caller)
	if err != nil {
		return nil, err
	}
	return &pb.ListResponse{Keysets: each(reply.Keysets, keysetState), Tokens: each(reply.Tokens, token), Public: reply.Public}, nil
}

// Get implements keysetdpb.KeysetsServer.
func (k keysets) Get(ctx context.Context, in *pb.GetRequest) (*pb.GetResponse, error) {
	caller, err := grpcCaller(ctx)
	if err != nil {
		return nil, err
	}
	reply, err := k.service.Keyset(ctx, caller, in.GetKeyset())
	if err != nil {
		return nil, err
	}
	return &pb.GetResponse{Keyset: keysetState(reply)}, nil
}

// Plan implements keysetdpb.KeysetsServer.
func (k keysets) Plan(ctx context.Context, in *pb.PlanRequest) (*pb.PlanResponse, error) {
	caller, err := grpcCaller(ctx)
	if err != nil {
		return nil, err
	}
	reply, err := k.service.Plan(ctx, caller, in.GetKeyset())
	if err != nil {
		return nil, err
	}
	return &pb.PlanResponse{Steps: each(reply.Steps, plannedStep)}, nil
}

// History implements keysetdpb.KeysetsServer.
func (k keysets) History(ctx context.Context, in *pb.HistoryRequest) (*pb.HistoryResponse, error) {
	caller, err := grpcCaller(ctx)
	if err != nil {
		return nil, err
	}
	reply, err := k.service.History(ctx, caller, in.GetKeyset(), int(in.GetLimit()))
	if err != nil {
		return nil, err
	}
	return &pb.HistoryResponse{Events: each(reply.Events, event)}, nil
}

// Keys implements keysetdpb.KeysetsServer.
func (k keysets) Keys(ctx context.Context, in *pb.KeysRequest) (*pb.KeysResponse, error) {
	caller, err := grpcCaller(ctx)
	if err != nil {
		return nil, err
	}
	reply, err := k.service.Keys(ctx, caller, in.GetKeyset())
	if err != nil {
		return nil, err
	}
	return &pb.KeysResponse{Keys: each(reply.Keys, listedKey)}, nil
}

// Rotate implements keysetdpb.KeysetsServer.
func (k keysets) Rotate(ctx context.Context, in *pb.RotateRequest) (*pb.RotateResponse, error) {
	caller, err := grpcCaller(ctx)
	if err != nil {
		return nil, err
	}
	reply, err := k.service.Rotate(ctx, caller, in.GetKeyset(), &v1.RotateRequest{KID: in.GetKid(), Reason: in.GetReason()})
	if err != nil {
		return nil, err
	}
	return &pb.RotateResponse{Keyset: keysetState(&reply.Keyset)}, nil
}

// Revoke implements keysetdpb.KeysetsServer.
func (k keysets) Revoke(ctx context.Context, in *pb.RevokeRequest) (*pb.RevokeResponse, error) {
	caller, err := grpcCaller(ctx)
	if err != nil {
		return nil, err
	}
	reply, err := k.service.Revoke(ctx, caller, in.GetKeyset(), &v1.RevokeRequest{
		KID: in.GetKid(), All: in.GetAll(), Through: int(in.GetThrough()), Reason: in.GetReason(),
		AcceptUnpublished: in.GetAcceptUnpublished(), KeepObject: in.GetKeepObject(),
	})
	if err != nil {
		return nil, err
	}
	return &pb.RevokeResponse{
		Keyset: keysetState(&reply.Keyset), Revoked: each(reply.Revoked, revokedKey),
		AcceptedUntil: stamp(reply.AcceptedUntil), RefusedUntil: stamp(reply.RefusedUntil),
	}, nil
}

// Freeze implements keysetdpb.KeysetsServer.
func (k keysets) Freeze(ctx context.Context, in *pb.FreezeRequest) (*pb.FreezeResponse, error) {
	caller, err := grpcCaller(ctx)
	if err != nil {
		return nil, err
	}
	until, bad := instant(in.GetUntil(), "/until")
	if bad != nil {
		return nil, k.service.Refuse(ctx, caller, policy.Freeze, in.GetKeyset(), bad)
	}
	reply, err := k.service.Freeze(ctx, caller, in.GetKeyset(), &v1.FreezeRequest{Until: until, Reason: in.GetReason()})
	if err != nil {
		return nil, err
	}
	return &pb.FreezeResponse{Keyset: keysetState(&reply.Keyset)}, nil
}

// Thaw implements keysetdpb.KeysetsServer.
func (k keysets) Thaw(ctx context.Context, in *pb.ThawRequest) (*pb.ThawResponse, error) {
	caller, err := grpcCaller(ctx)
	if err != nil {
		return nil, err
	}
	reply, err := k.service.Thaw(ctx, caller, in.GetKeyset(), &v1.ThawRequest{Reason: in.GetReason()})
	if err != nil {
		return nil, err
	}
	return &pb.ThawResponse{Keyset: keysetState(&reply.Keyset)}, nil
}
