package signing

import (
	"context"

	v1 "keysetd.example/api/v1"
	"keysetd.example/rotation"
	"keysetd.example/signing/policy"
)

// CSR returns the requests of a keyset's keys for certificates from outside, each signed by its key, as operation
// certificate.
func (s *Service) CSR(ctx context.Context, caller policy.Caller, keyset string) (*v1.CSRList, error) {
	a := s.begin(caller, policy.Certificate, keyset).note(true, "csr")
	list := &v1.CSRList{Requests: []v1.CertificateRequest{}}
	err := s.perform(ctx, a, func(ctx context.Context) error {
		requests, err := s.Operator.CSR(ctx, keyset)
		list.Requests = append(list.Requests, requests...)
		return err
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// ImportCertificate takes the chain that somebody issued outside for a key, as operation certificate.
func (s *Service) ImportCertificate(ctx context.Context, caller policy.Caller, keyset string, req *v1.ImportCertificateRequest) (*v1.ActReply, error) {
	a := s.begin(caller, policy.Certificate, keyset).note(true, "import")
	return s.onKeyset(ctx, a, rotation.Act{KID: req.KID}, func(ctx context.Context, act rotation.Act, _ *v1.ActReply) error {
		switch {
		case req.KID == "":
			return refuse(v1.BadRequest, "/kid", "kid is missing; say for which key the certificate is")
		case req.Chain == "":
			return refuse(v1.BadRequest, "/chain", "chain is missing; give the certificate, and those above it, in PEM")
		}
		return s.Operator.ImportCertificate(ctx, keyset, req.Chain, act)
	})
}
