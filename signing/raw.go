package signing

import (
	"context"
	"encoding/base64"

	"github.com/go-jose/go-jose/v4"

	v1 "keysetd.example/api/v1"
	"keysetd.example/internal/jwa"
	"keysetd.example/signing/policy"
)

// MaxPayload is the longest payload that is signed, in bytes once decoded.
const MaxPayload = 1 << 20

// The encodings of an ECDSA signature.
const (
	encodingJWS = "jws" // r‖s
	encodingDER = "der" // ASN.1
)

// signRaw signs bytes that say nothing to keysetd. Nothing stops a caller from sending a
// JWS signing input, or its digest, with claims that nobody judged: that is why a keyset
// has a purpose, and why operation sign on a keyset of purpose any is as much as the
// right to mint any token of it. The administrator who writes `any` says so.
func (s *Service) signRaw(ctx context.Context, a *act, req *v1.SignRequest) (*v1.SignReply, error) {
	if err := a.authorise(jose.SignatureAlgorithm(req.Alg)); err != nil {
		return nil, err
	}
	ks, err := a.open(PurposeRaw, PurposeAny)
	if err != nil {
		return nil, err
	}
	if (req.Payload == nil) == (req.Digest == nil) {
		return nil, refuse(v1.BadRequest, "/payload", "give exactly one of payload and digest")
	}
	if err := a.choose(ks, jose.SignatureAlgorithm(req.Alg), req.KID, "/kid"); err != nil {
		return nil, err
	}
	if err := judgeEncoding(req.Encoding, a.key.alg); err != nil {
		return nil, err
	}
	digest, err := a.digestOf(req)
	if err != nil {
		return nil, err
	}
	if err := a.permit(policy.Request{}, 1); err != nil {
		return nil, err
	}
	sig, err := a.signed(ctx, digest)
	if err != nil {
		return nil, err
	}
	if req.Encoding == encodingDER {
		if sig, err = der(sig); err != nil {
			return nil, internal(err)
		}
	}
	return &v1.SignReply{Signature: base64.RawURLEncoding.EncodeToString(sig), KID: a.key.kid, Alg: string(a.key.alg)}, nil
}

func judgeEncoding(encoding string, alg jose.SignatureAlgorithm) error {
	switch {
	case encoding == "" || encoding == encodingJWS:
		return nil
	case encoding != encodingDER:
		return refuse(v1.BadRequest, "/encoding", "encoding %s is neither jws nor der", quote(encoding))
	case jwa.IsRSA(alg) || alg == jose.EdDSA:
		return refuse(v1.BadRequest, "/encoding", "encoding der is for ECDSA; a signature by %s has one form", alg)
	}
	return nil
}

// digestOf is what the key signs: what the caller hashed, or the hash of the payload.
func (a *act) digestOf(req *v1.SignRequest) ([]byte, error) {
	if req.Payload != nil {
		payload, err := lenient(*req.Payload)
		switch {
		case err != nil:
			return nil, refuse(v1.BadRequest, "/payload", "the payload is not base64: %v", err)
		case len(payload) > MaxPayload:
			return nil, refuse(v1.TooLarge, "/payload", "the payload is %d bytes; at most %d are signed", len(payload), MaxPayload)
		}
		return a.hash(payload), nil
	}
	digest, err := lenient(*req.Digest)
	if err != nil {
		return nil, refuse(v1.BadRequest, "/digest", "the digest is not base64: %v", err)
	}
	hash := a.key.opts.HashFunc()
	if hash == 0 {
		return nil, refuse(v1.BadDigest, "/digest", "%s signs the message itself; give payload instead of digest", a.key.alg)
	}
	// A token signs a digest of any length without complaint, so this is the only check.
	if len(digest) != hash.Size() {
		return nil, refuse(v1.BadDigest, "/digest", "the digest has %d bytes; %s takes %d (%v)", len(digest), a.key.alg, hash.Size(), hash)
	}
	a.digest = digest
	return digest, nil
}
