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
// and header are the caller's; a request that is signed as bytes has none of them.
func (a *act) permit(r policy.Request) error {
	r.Operation, r.Keyset, r.Alg, r.Now = a.operation, a.keyset, a.key.alg, a.start
	v := a.term.state.policy.Judge(a.caller, r)
	if !v.Granted {
		return &v1.Error{Reason: v1.NotGranted, Detail: v.Reason}
	}
	if v.Reserve != nil {
		if retry, ok := v.Reserve(1, a.start); !ok {
			return rateLimited(v.Rule, retry)
		}
	}
	a.share = hsm.Share{Owner: by(a.caller), Priority: v.Priority}
	return nil
}

func rateLimited(rule string, retry time.Duration) error {
	e := refuse(v1.RateLimited, "", "caller %s asks for more than the rate it is granted; ask again after %v", rule, retry)
	e.RetryAfterMillis = max(int64((retry+time.Millisecond-1)/time.Millisecond), 1)
	return e
}
