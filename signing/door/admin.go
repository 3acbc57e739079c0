package door

import (
	"context"

	pb "keysetd.example/api/v1/keysetdpb"

	v1 "keysetd.example/api/v1"
	"keysetd.example/signing"
	"keysetd.example/signing/policy"
)

// admin is keysetd.v1.Admin over the service.
type admin struct {
	pb.UnsafeAdminServer
	service *signing.Service
}

// Reload implements keysetdpb.AdminServer.
func (a admin) Reload(ctx context.Context, in *pb.ReloadRequest) (*pb.ReloadResponse, error) {
	caller, err := grpcCaller(ctx)
	if err != nil {
		return nil, err
	}
	reply, err := a.service.Reload(ctx, caller, &v1.ReloadRequest{DryRun: in.GetDryRun(), Remove: in.GetRemove()})
	if err != nil {
		return nil, err
	}
	return &pb.ReloadResponse{Applied: reply.Applied, Changes: each(reply.Changes, keysetChange)}, nil
}

// AcceptToken implements keysetdpb.AdminServer.
func (a admin) AcceptToken(ctx context.Context, in *pb.AcceptTokenRequest) (*pb.AcceptTokenResponse, error) {
	caller, err := grpcCaller(ctx)
	if err != nil {
		return nil, err
	}
	reply, err := a.service.Accept(ctx, caller, in.GetToken(), &v1.AcceptRequest{Serial: in.GetSerial()})
	if err != nil {
		return nil, err
	}
	return &pb.AcceptTokenResponse{Token: token(reply)}, nil
}

// RetryPIN implements keysetdpb.AdminServer.
func (a admin) RetryPIN(ctx context.Context, in *pb.RetryPINRequest) (*pb.RetryPINResponse, error) {
	caller, err := grpcCaller(ctx)
	if err != nil {
		return nil, err
	}
	reply, err := a.service.PINRetry(ctx, caller, in.GetToken())
	if err != nil {
		return nil, err
	}
	return &pb.RetryPINResponse{Token: token(reply)}, nil
}

// AcceptClock implements keysetdpb.AdminServer.
func (a admin) AcceptClock(ctx context.Context, _ *pb.AcceptClockRequest) (*pb.AcceptClockResponse, error) {
	caller, err := grpcCaller(ctx)
	if err != nil {
		return nil, err
	}
	if err := a.service.AcceptClock(ctx, caller); err != nil {
		return nil, err
	}
	return &pb.AcceptClockResponse{}, nil
}

// WhoAmI implements keysetdpb.AdminServer.
func (a admin) WhoAmI(ctx context.Context, _ *pb.WhoAmIRequest) (*pb.WhoAmIResponse, error) {
	caller, err := grpcCaller(ctx)
	if err != nil {
		return nil, err
	}
	reply, err := a.service.WhoAmI(ctx, caller)
	if err != nil {
		return nil, err
	}
	return &pb.WhoAmIResponse{Uid: &reply.UID, Gid: &reply.GID, Pid: &reply.PID, Groups: reply.Groups, Grants: each(reply.Grants, grant)}, nil
}

// PolicyTest implements keysetdpb.AdminServer.
func (a admin) PolicyTest(ctx context.Context, in *pb.PolicyTestRequest) (*pb.PolicyTestResponse, error) {
	caller, err := grpcCaller(ctx)
	if err != nil {
		return nil, err
	}
	if err := a.service.Admit(ctx, caller, policy.Admin, ""); err != nil {
		return nil, err
	}
	reply, err := a.service.PolicyTest(ctx, caller, policyTestRequest(in))
	if err != nil {
		return nil, err
	}
	return &pb.PolicyTestResponse{Granted: &reply.Granted, Rule: reply.Rule, Reason: reply.Reason}, nil
}
