package daemon

import (
	"context"

	"keysetd.example/internal/config"
	"keysetd.example/jwks/x5c"
	"keysetd.example/rotation"
)

// certify issues the chain that a keyset's configuration asks for, the one in force then.
func certify(inForce func() *config.Config) func(context.Context, rotation.CertRequest) ([][]byte, error) {
	return func(_ context.Context, req rotation.CertRequest) ([][]byte, error) {
		c := inForce().Keysets[req.Keyset].Certificate
		if c.Issuer != config.SelfSigned {
			return nil, nil
		}
		return x5c.SelfSigned(x5c.Request{
			Subject:    x5c.Subject(c.Subject),
			CommonName: x5c.CommonName(req.Keyset, req.KID),
			NotBefore:  req.NotBefore,
			NotAfter:   req.NotAfter,
		}, req.Signer)
	}
}
