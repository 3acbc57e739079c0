package signing

import (
	"context"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json/jsontext"

	v1 "keysetd.example/api/v1"
	"keysetd.example/signing/policy"
)

// PolicyTest tells whether somebody would be granted a request, as operation admin. The request goes
// the way of a real one as far as permit: what a keyset says of purpose, algorithm, header, claims
// and lifetime counts. Nothing is signed or written down, so that neither what is left of a rate
// counts, nor how the token is, nor an Outlive that would fail. What an operator's act would find is
// not looked at either, but for the keyset.
func (s *Service) PolicyTest(ctx context.Context, caller policy.Caller, req *v1.PolicyTestRequest) (*v1.PolicyTestReply, error) {
	a := s.begin(caller, policy.Admin, "").note(true, "policy test of uid "+idText(req.UID)+": "+Clip(req.Operation)+" on "+Clip(req.Keyset))
	reply := new(v1.PolicyTestReply)
	err := s.perform(ctx, a, func(context.Context) error {
		op, err := judgeTest(req)
		if err != nil {
			return err
		}
		v, err := a.trial(op, req)
		if err == nil {
			reply.Granted, reply.Rule, reply.Reason = v.Granted, v.Rule, v.Reason
			return nil
		}
		switch e := asError(err); e.Reason {
		case v1.Internal:
			return e
		case v1.NotGranted:
			reply.Reason = e.Detail
		default:
			reply.Reason = e.Error()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return reply, nil
}

func idText(id *uint32) string {
	if id == nil {
		return "(missing)"
	}
	return fmt.Sprint(*id)
}

// judgeTest decides whether a test asks about one request. Members that the operation does not
// have are refused: an answer that overlooks them would be about another request.
func judgeTest(req *v1.PolicyTestRequest) (policy.Operation, error) {
	op, err := policy.ParseOperation(req.Operation)
	switch {
	case req.UID == nil:
		return "", refuse(v1.BadRequest, "/uid", "uid is missing; give the number of the user that is asked about")
	case req.GID == nil:
		return "", refuse(v1.BadRequest, "/gid", "gid is missing; give the number of the primary group of the user that is asked about")
	case req.Operation == "":
		return "", refuse(v1.BadRequest, "/operation", "operation is missing; give what is asked for, as jwt")
	case err != nil:
		return "", refuse(v1.BadRequest, "/operation", "operation %s %v", quote(req.Operation), err)
	case req.Keyset == "" && op != policy.Admin:
		return "", missingKeyset("/keyset")
	case len(req.Keyset) > maxName:
		return "", refuse(v1.BadRequest, "/keyset", "the keyset's name is longer than %d bytes", maxName)
	}
	for _, m := range []struct {
		name  string
		given bool
		goes  bool
	}{
		{"alg", req.Alg != "", op.Signs()},
		{"typ", req.Typ != "", op == policy.JWT},
		{"claims", len(req.Claims) > 0, op == policy.JWT},
		{"client_id", req.ClientID != "", op == policy.ClientAssertion},
		{"audience", req.Audience != "", op == policy.ClientAssertion},
		{"lifetime", req.Lifetime != "", op == policy.ClientAssertion},
	} {
		if m.given && !m.goes {
			return "", refuse(v1.BadRequest, "/"+m.name, "operation %s has no %s; leave it out", op, m.name)
		}
	}
	return op, nil
}

// trial judges the request that is asked about as the act that it would be.
func (a *act) trial(op policy.Operation, req *v1.PolicyTestRequest) (policy.Verdict, error) {
	t := &act{
		caller:    policy.Caller{UID: *req.UID, GID: *req.GID, Groups: req.Groups},
		operation: op, keyset: req.Keyset, start: a.start, term: a.term, left: true,
	}
	alg := jose.SignatureAlgorithm(req.Alg)
	if err := t.authorise(alg); err != nil {
		return policy.Verdict{}, err
	}
	var r policy.Request
	var err error
	switch op {
	case policy.JWT:
		r, err = t.tryToken(req)
	case policy.ClientAssertion:
		r, err = t.tryAssertion(req)
	case policy.Sign:
		var ks *keyset
		if ks, err = t.open(PurposeRaw, PurposeAny); err == nil {
			err = t.choose(ks, alg, "", "/kid")
		}
	case policy.Decrypt:
		_, err = t.open(PurposeEnc)
	case policy.Admin:
	default:
		if t.term.state.keysets[t.keyset] == nil {
			err = unknownKeyset(t.keyset)
		}
	}
	if err != nil {
		return policy.Verdict{}, err
	}
	return t.verdict(r), nil
}

func (a *act) tryToken(req *v1.PolicyTestRequest) (policy.Request, error) {
	ks, err := a.open(PurposeJWT, PurposeAny)
	if err != nil {
		return policy.Request{}, err
	}
	token := &v1.JWTRequest{Claims: req.Claims, Alg: req.Alg}
	if len(token.Claims) == 0 {
		token.Claims = fmt.Appendf(nil, `{"exp":%d}`, a.start.Add(min(time.Minute, ks.rules.maxLifetime)).Unix())
	}
	if req.Typ != "" {
		typ, err := jsontext.AppendQuote(nil, req.Typ)
		if err != nil {
			return policy.Request{}, refuse(v1.BadRequest, "/typ", "typ is not UTF-8")
		}
		token.Header = map[string]jsontext.Value{"typ": typ}
	}
	_, r, err := a.composeToken(ks, token)
	return r, err
}

func (a *act) tryAssertion(req *v1.PolicyTestRequest) (policy.Request, error) {
	ks, err := a.open(PurposeJWT, PurposeAny)
	if err != nil {
		return policy.Request{}, err
	}
	_, r, err := a.composeAssertion(ks, &v1.ClientAssertionRequest{
		ClientID: req.ClientID, Audience: req.Audience, Lifetime: req.Lifetime, Alg: req.Alg,
	})
	return r, err
}
