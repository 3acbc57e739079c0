package door

import (
	"context"
	"net/http"

	pb "keysetd.example/api/v1/keysetdpb"

	v1 "keysetd.example/api/v1"
	"keysetd.example/signing/policy"
)

func (s *Server) csr(ctx context.Context, caller policy.Caller, _ http.ResponseWriter, r *http.Request) (any, error) {
	return s.config.Service.CSR(ctx, caller, r.PathValue("name"))
}

func (s *Server) importCertificate(ctx context.Context, caller policy.Caller, w http.ResponseWriter, r *http.Request) (any, error) {
	var req v1.ImportCertificateRequest
	if err := s.read(ctx, caller, policy.Certificate, w, r, chainBody, &req); err != nil {
		return nil, err
	}
	return s.config.Service.ImportCertificate(ctx, caller, r.PathValue("name"), &req)
}

// CSR implements keysetdpb.KeysetsServer.
func (k keysets) CSR(ctx context.Context, in *pb.CSRRequest) (*pb.CSRResponse, error) {
	caller, err := grpcCaller(ctx)
	if err != nil {
		return nil, err
	}
	reply, err := k.service.CSR(ctx, caller, in.GetKeyset())
	if err != nil {
		return nil, err
	}
	return &pb.CSRResponse{Requests: each(reply.Requests, certificateRequest)}, nil
}

// ImportCertificate implements keysetdpb.KeysetsServer.
func (k keysets) ImportCertificate(ctx context.Context, in *pb.ImportCertificateRequest) (*pb.ImportCertificateResponse, error) {
	caller, err := grpcCaller(ctx)
	if err != nil {
		return nil, err
	}
	reply, err := k.service.ImportCertificate(ctx, caller, in.GetKeyset(), &v1.ImportCertificateRequest{KID: in.GetKid(), Chain: in.GetChain()})
	if err != nil {
		return nil, err
	}
	return &pb.ImportCertificateResponse{Keyset: keysetState(&reply.Keyset)}, nil
}

func certificateRequest(in *v1.CertificateRequest) *pb.CertificateRequest {
	return &pb.CertificateRequest{
		Kid: in.KID, Generation: int64(in.Generation), State: in.State, Csr: in.CSR,
		NeededBy: stamp(in.NeededBy), ValidUntil: stamp(in.ValidUntil),
	}
}
