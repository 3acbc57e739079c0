package signing

import (
	"context"

	"github.com/go-jose/go-jose/v4"

	v1 "keysetd.example/api/v1"
	"keysetd.example/jwks"
	"keysetd.example/signing/policy"
)

// uses are the operations for which a caller may want to know which key it is.
var uses = []policy.Operation{policy.JWT, policy.Sign, policy.ClientAssertion, policy.Decrypt}

// ActiveKey returns the public half of the key that a keyset uses now for alg, or by default: to
// sign with, or where the keyset decrypts, for others to encrypt to (alg is that of a JWE then). It is
// for whoever may use the keyset or read its state, and counts as operation read.
func (s *Service) ActiveKey(ctx context.Context, caller policy.Caller, keyset, alg string) (_ *v1.ActiveKey, err error) {
	a := s.begin(caller, policy.Read, keyset).note(true, "active key")
	defer s.finish(ctx, a, &err)
	reply, err := a.activeKey(alg)
	if err = s.end(ctx, a, err); err != nil {
		return nil, err
	}
	return reply, nil
}

func (a *act) activeKey(alg string) (*v1.ActiveKey, error) {
	if err := a.authorise(""); err != nil && !a.uses() {
		return nil, err
	}
	ks, err := a.open(PurposeJWT, PurposeRaw, PurposeAny, PurposeEnc)
	if err != nil {
		return nil, err
	}
	var key jwks.Key
	if ks.purpose == PurposeEnc {
		r, by, err := ks.current(jose.KeyAlgorithm(alg))
		if err != nil {
			return nil, err
		}
		alg, key = string(by), jwks.Key{KID: r.KID, Public: r.Key.Public(), Use: jwks.Encryption, Chain: r.Chain}
	} else {
		k, err := ks.choose(jose.SignatureAlgorithm(alg), "", "", a.start)
		if err != nil {
			return nil, err
		}
		alg, key = string(k.alg), jwks.Key{KID: k.kid, Public: k.public, Use: jwks.Signature, Chain: k.chain}
	}
	jwk, err := key.JWK(alg)
	if err != nil {
		return nil, internal(err)
	}
	a.kid = key.KID
	return &v1.ActiveKey{KID: key.KID, Alg: alg, JWK: jwk}, nil
}

// uses reports whether the caller may do anything with the keyset's keys.
func (a *act) uses() bool {
	if len(a.keyset) > maxName {
		return false
	}
	for _, op := range uses {
		if a.term.state.policy.DecideAny(a.caller, op, a.keyset).Granted {
			return true
		}
	}
	return false
}
