package signing

import (
	"cmp"
	"context"
	"fmt"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json/jsontext"

	v1 "keysetd.example/api/v1"
	"keysetd.example/signing/policy"
)

// PolicyTest tells whether somebody would be granted a request, as operation admin. It asks the
// policy alone: what a keyset says of claims, header and lifetime, whether it has keys, and what
// is left of a rate are not looked at. What a request leaves out is as the service would make it:
// the keyset's default alg; typ JWT, or that of the keyset's assertions; and for an assertion
// without claims those of one that lives for a minute, without an aud.
func (s *Service) PolicyTest(ctx context.Context, caller policy.Caller, req *v1.PolicyTestRequest) (*v1.PolicyTestReply, error) {
	a := s.begin(caller, policy.Admin, "").note(true, "policy test of uid "+fmt.Sprint(req.UID)+": "+Clip(req.Operation)+" on "+Clip(req.Keyset))
	reply := new(v1.PolicyTestReply)
	err := s.perform(ctx, a, func(context.Context) error {
		r, err := a.supposed(req)
		if err != nil {
			return err
		}
		v := a.term.state.policy.Judge(policy.Caller{UID: req.UID, GID: req.GID, Groups: req.Groups}, r)
		reply.Granted, reply.Rule, reply.Reason = v.Granted, v.Rule, v.Reason
		return nil
	})
	if err != nil {
		return nil, err
	}
	return reply, nil
}

// supposed is the request that is to be judged.
func (a *act) supposed(req *v1.PolicyTestRequest) (policy.Request, error) {
	op, err := policy.ParseOperation(req.Operation)
	if err != nil {
		return policy.Request{}, refuse(v1.BadRequest, "/operation", "operation %s %v", quote(req.Operation), err)
	}
	if len(req.Keyset) > maxName {
		return policy.Request{}, refuse(v1.BadRequest, "/keyset", "the keyset's name is longer than %d bytes", maxName)
	}
	r := policy.Request{Operation: op, Keyset: req.Keyset, Now: a.start}
	if !op.Signs() {
		return r, nil
	}
	ks := a.term.state.keysets[req.Keyset]
	if ks == nil {
		ks = &keyset{assertion: AssertionSettings{}.withDefaults(maxAssertionLifetime)} // one that may come
	}
	if r.Alg = cmp.Or(jose.SignatureAlgorithm(req.Alg), ks.defaultAlg); r.Alg == "" {
		return r, refuse(v1.BadRequest, "/alg", "the keyset names no default algorithm; give alg")
	}
	if op == policy.Sign {
		return r, nil
	}
	err = a.supposeToken(&r, ks, req)
	return r, err
}

// supposeToken adds the header and the claims of a token or an assertion.
func (a *act) supposeToken(r *policy.Request, ks *keyset, req *v1.PolicyTestRequest) error {
	if req.Typ != "" {
		if err := judgeTyp(req.Typ); err != nil {
			return refuse(v1.BadRequest, "/typ", "typ %s is no media type", quote(req.Typ))
		}
	}
	r.Typ = cmp.Or(req.Typ, defaultTyp)
	if r.Operation == policy.ClientAssertion {
		r.Typ, r.ClientID = cmp.Or(req.Typ, ks.assertion.Typ), req.ClientID
	}
	own := newOwnHeader(r.Alg, "", HeaderSettings{NoKID: true}, nil)
	for _, key := range ks.keys {
		if key.alg == r.Alg {
			own = key.header
			break
		}
	}
	r.Header = own.with(askedHeader{typ: r.Typ}).raw

	switch r.Claims = req.Claims; {
	case len(req.Claims) > MaxClaims:
		return refuse(v1.TooLarge, "/claims", "the claims are %d bytes; at most %d are signed", len(req.Claims), MaxClaims)
	case len(req.Claims) > 0:
		if req.Claims.Kind() != '{' || nesting(req.Claims) > maxNesting || !req.Claims.IsValid() {
			return badClaims("", "the claims must be a JSON object")
		}
	case r.Operation == policy.ClientAssertion:
		id, err := jsontext.AppendQuote(nil, req.ClientID)
		if err != nil {
			return refuse(v1.BadRequest, "/client_id", "client_id is not UTF-8")
		}
		now := a.start.Unix()
		r.Claims = fmt.Appendf(nil, `{"iss":%s,"sub":%s,"exp":%d,"iat":%d,"jti":""}`, id, id, now+60, now)
	default:
		r.Claims = []byte(`{}`)
	}
	return nil
}
