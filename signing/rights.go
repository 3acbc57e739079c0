package signing

import (
	"errors"
	"time"

	v1 "keysetd.example/api/v1"
	"keysetd.example/hsm"
	"keysetd.example/signing/policy"
)

// errNotPermitted is what a key answers that would be used without the policy having seen what for.
var errNotPermitted = errors.New("a key was to sign what the policy has not judged")

// permit has the policy judge the request as it will be signed, takes it out of the rate of the
// rule that grants it, and settles the act's share of the token. It comes right before what the
// act leaves behind: the key's watermark, then its signature. Of r the typ, client id, claims
// and header are the caller's; a request that is signed as bytes has none of them. A token has a
// client id where it is a client assertion as well. The token will be asked times
// at most.
func (a *act) permit(r policy.Request, times int) error {
	v := a.verdict(r)
	if !v.Granted {
		return &v1.Error{Reason: v1.NotGranted, Detail: v.Reason}
	}
	if v.Reserve != nil {
		if retry, ok := v.Reserve(times, a.start); !ok {
			return rateLimited(v.Rule, retry)
		}
	}
	a.share = hsm.Share{Owner: v.Owner, Priority: v.Priority}
	return nil
}

// verdict has the policy judge the request with the key that was chosen.
func (a *act) verdict(r policy.Request) policy.Verdict {
	r.Operation, r.Keyset, r.Alg, r.Now = a.operation, a.keyset, a.alg(), a.start
	return a.term.state.judge(a.caller, r)
}

// judge has the policy judge a request. A token that is a client assertion to whoever gets it has to
// be granted as one, too: else jwt would be a way around client_ids where iss is open.
func (s *State) judge(c policy.Caller, r policy.Request) policy.Verdict {
	v := s.policy.Judge(c, r)
	if !v.Granted || r.Operation != policy.JWT || r.ClientID == "" {
		return v
	}
	r.Operation = policy.ClientAssertion
	if as := s.policy.Judge(c, r); !as.Granted { // nothing is taken out of its rate: it is one signature
		return policy.Verdict{Reason: "iss and sub are the same, which makes this a client assertion (RFC 7523 §3), and " + as.Reason}
	}
	return v
}

func rateLimited(rule string, retry time.Duration) error {
	wait := max(millis(retry), 1)
	e := refuse(v1.RateLimited, "", "caller %s asks for more than the rate it is granted; ask again in %v", rule, time.Duration(wait)*time.Millisecond)
	e.RetryAfterMillis = wait
	return e
}
