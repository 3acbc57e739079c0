package door

import (
	"context"
	"encoding/base64"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	pb "keysetd.example/api/v1/keysetdpb"

	v1 "keysetd.example/api/v1"
	"keysetd.example/signing/policy"
)

// Decrypt implements keysetdpb.SignerServer.
func (s signer) Decrypt(ctx context.Context, in *pb.DecryptRequest) (*pb.DecryptResponse, error) {
	caller, err := grpcCaller(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.service.Admit(ctx, caller, policy.Decrypt, in.GetKeyset()); err != nil {
		return nil, err
	}
	if h := jsontext.Value(in.GetHeader()); len(h) > 0 && !h.IsValid() { // over HTTP it would be no body
		return nil, s.service.Refuse(ctx, caller, policy.Decrypt, in.GetKeyset(), &v1.Error{
			Reason: v1.BadHeader, Field: "/header", Detail: "the header must be a JSON object with each member once",
		})
	}
	reply, err := s.service.Decrypt(ctx, caller, in.GetKeyset(), &v1.DecryptRequest{
		JWE: in.GetJwe(), Header: in.GetHeader(), EncryptedKey: base64.RawURLEncoding.EncodeToString(in.GetEncryptedKey()),
	})
	if err != nil {
		return nil, err
	}
	out := &pb.DecryptResponse{Header: reply.Header, Kid: reply.KID}
	if out.Key, err = secretBytes(reply.Key); err != nil {
		return nil, err
	}
	if reply.Plaintext != nil {
		if out.Plaintext, err = secretBytes(*reply.Plaintext); err != nil {
			return nil, err
		}
		if out.Plaintext == nil { // an empty message is one, and no key
			out.Plaintext = []byte{}
		}
	}
	return out, nil
}

// secretBytes decodes what the service encoded. The error does not repeat it.
func secretBytes(encoded string) ([]byte, error) {
	if encoded == "" {
		return nil, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return nil, fmt.Errorf("what the service decrypted is no base64url: %w", err)
	}
	return b, nil
}

// GetKey implements keysetdpb.SignerServer.
func (s signer) GetKey(ctx context.Context, in *pb.GetKeyRequest) (*pb.GetKeyResponse, error) {
	caller, err := grpcCaller(ctx)
	if err != nil {
		return nil, err
	}
	reply, err := s.service.ActiveKey(ctx, caller, in.GetKeyset(), in.GetAlg())
	if err != nil {
		return nil, err
	}
	return &pb.GetKeyResponse{Kid: reply.KID, Alg: reply.Alg, Jwk: reply.JWK}, nil
}
