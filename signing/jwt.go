package signing

import (
	"cmp"
	"context"
	"encoding/base64"

	"github.com/go-jose/go-jose/v4"

	v1 "keysetd.example/api/v1"
	"keysetd.example/signing/policy"
)

func (s *Service) signJWT(ctx context.Context, a *act, req *v1.JWTRequest) (*v1.JWTReply, error) {
	if err := a.authorise(jose.SignatureAlgorithm(req.Alg)); err != nil {
		return nil, err
	}
	ks, err := a.open(PurposeJWT, PurposeAny)
	if err != nil {
		return nil, err
	}
	switch hasClaims := len(req.Claims) > 0; {
	case hasClaims && req.SigningInput != "":
		return nil, refuse(v1.BadRequest, "/signing_input", "claims and signing_input exclude each other; give one")
	case hasClaims:
		return s.signClaims(ctx, a, ks, req)
	case req.SigningInput != "":
		return s.signInput(ctx, a, ks, req)
	}
	return nil, refuse(v1.BadRequest, "/claims", "there is nothing to sign; give claims or signing_input")
}

// signClaims makes a whole token. Its payload is the claims' bytes as they were sent.
func (s *Service) signClaims(ctx context.Context, a *act, ks *keyset, req *v1.JWTRequest) (*v1.JWTReply, error) {
	header, r, err := a.composeToken(ks, req)
	if err != nil {
		return nil, err
	}
	if err := a.permit(r, 1); err != nil {
		return nil, err
	}
	if err := a.outlive(ctx, ks); err != nil {
		return nil, err
	}
	token, err := a.compact(ctx, header, req.Claims)
	if err != nil {
		return nil, err
	}
	return &v1.JWTReply{Token: token, KID: a.key.kid, Alg: string(a.key.alg)}, nil
}

// composeToken judges header and claims, chooses the key, and returns the header of the token, and
// what the policy is to judge.
func (a *act) composeToken(ks *keyset, req *v1.JWTRequest) (header jwsHeader, r policy.Request, err error) {
	asked, err := ks.header.judge(req.Header)
	if err != nil {
		return header, r, err
	}
	asked.typ = cmp.Or(asked.typ, defaultTyp)
	if err := ks.header.judgeTaken(asked.typ); err != nil {
		return header, r, err
	}
	if a.facts, err = judgeClaims(req.Claims, ks.rules, a.start); err != nil {
		return header, r, err
	}
	if err := a.choose(ks, jose.SignatureAlgorithm(req.Alg), req.KID, "/kid"); err != nil {
		return header, r, err
	}
	header = a.key.header.with(asked)
	return header, policy.Request{Typ: asked.typ, ClientID: a.facts.client, Claims: req.Claims, Header: header.raw}, nil
}

// compact has the token sign header and claims, and returns the whole JWS (RFC 7515 §7.1).
func (a *act) compact(ctx context.Context, header jwsHeader, claims []byte) (string, error) {
	const signature = 700 // RSA-4096, encoded
	token := make([]byte, 0, len(header.encoded)+1+base64.RawURLEncoding.EncodedLen(len(claims))+1+signature)
	token = append(token, header.encoded...)
	token = append(token, '.')
	token = base64.RawURLEncoding.AppendEncode(token, claims)
	sig, err := a.sign(ctx, token)
	if err != nil {
		return "", err
	}
	token = append(token, '.')
	return string(base64.RawURLEncoding.AppendEncode(token, sig)), nil
}

// signInput signs header and claims that the caller composed. They are judged as if
// keysetd had, and then signed as they are.
func (s *Service) signInput(ctx context.Context, a *act, ks *keyset, req *v1.JWTRequest) (*v1.JWTReply, error) {
	if len(req.Header) > 0 {
		return nil, refuse(v1.BadRequest, "/header", "a signing input has a header of its own; leave header out")
	}
	in, err := parseSigningInput(req.SigningInput, ks.header, ks.longest)
	if err != nil {
		return nil, err
	}
	alg, kid, kidField := in.header.alg, in.header.kid, "/signing_input"
	if req.Alg != "" && req.Alg != alg {
		return nil, badInput("its alg is %s and the request's is %s", quote(alg), quote(req.Alg))
	}
	switch {
	case ks.header.NoKID:
		kid, kidField = req.KID, "/kid"
	case req.KID != "" && req.KID != kid:
		return nil, badInput("its kid is %s and the request's is %s", quote(kid), quote(req.KID))
	}
	if a.facts, err = judgeClaims(in.claims, ks.rules, a.start); err != nil {
		return nil, atSigningInput(err)
	}
	if err := a.choose(ks, jose.SignatureAlgorithm(alg), kid, kidField); err != nil {
		return nil, atSigningInput(err)
	}
	if err := in.header.judgeOwn(&a.key.header); err != nil {
		return nil, err
	}
	if err := a.permit(policy.Request{Typ: in.header.typ, ClientID: a.facts.client, Claims: in.claims, Header: in.header.raw}, 1); err != nil {
		return nil, err
	}
	if err := a.outlive(ctx, ks); err != nil {
		return nil, err
	}
	sig, err := a.sign(ctx, []byte(req.SigningInput))
	if err != nil {
		return nil, err
	}
	return &v1.JWTReply{Signature: base64.RawURLEncoding.EncodeToString(sig), KID: a.key.kid, Alg: string(a.key.alg)}, nil
}
