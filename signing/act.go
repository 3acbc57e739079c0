package signing

import (
	"cmp"
	"context"
	"crypto"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	v1 "keysetd.example/api/v1"
	"keysetd.example/hsm"
	"keysetd.example/internal/audit"
	"keysetd.example/signing/policy"
)

// maxName bounds the name of a keyset as a caller may send it, in bytes; the
// configuration allows none that is longer.
const maxName = 64

// act is one request on its way, and what the audit log will say of it.
type act struct {
	caller    policy.Caller
	operation policy.Operation
	keyset    string
	token     string    // of an act that is about a token
	start     time.Time // by the Service's clock
	term      *term     // its state is what the act is judged by
	left      bool      // the term, which may be over since

	kid   string // the key that an operator's act is about
	notes string // what the audit log says of an act that signs nothing
	done  bool   // its effect is there, whatever follows

	dropped bool // a key was used for it, and what came of that is not handed out

	granted jose.SignatureAlgorithm // the algorithm that a decision covers
	key     *activeKey              // nil until one is chosen
	digest  []byte                  // the SHA-256 of what is signed or decrypted, or what the caller hashed
	facts   claimFacts

	keyAlg    jose.KeyAlgorithm // of a message that is decrypted
	recipient *recipient        // nil until it is known which key decrypts

	share hsm.Share // of the token's time; without an owner until the act is permitted
}

// begin enters an act; it must leave. (It is small enough to be inlined, which keeps the act off
// the heap.)
func (s *Service) begin(caller policy.Caller, operation policy.Operation, keyset string) *act {
	t, start := s.enter()
	return &act{caller: caller, operation: operation, keyset: keyset, start: start, term: t}
}

func (a *act) alg() jose.SignatureAlgorithm {
	if a.key == nil {
		return ""
	}
	return a.key.alg
}

// usedKID is the key that the act signs or decrypts with; "" where it is not known, or there is none.
func (a *act) usedKID() string {
	switch {
	case a.key != nil:
		return a.key.kid
	case a.recipient != nil:
		return a.recipient.KID
	}
	return ""
}

// authorise decides whether the caller may do this at all. With no algorithm in the
// request, one that is granted suffices; choose asks again for the one it comes to.
//
// It says the same of keysets that exist and of those that do not, and it looks at the
// keyset only to find a grant sooner.
func (a *act) authorise(alg jose.SignatureAlgorithm) error {
	if len(a.keyset) > maxName {
		a.keyset = Clip(a.keyset)
		return refuse(v1.BadRequest, "", "the keyset's name is longer than %d bytes", maxName)
	}
	if a.keyset == "" && a.operation != policy.Admin { // over HTTP no path is without
		return missingKeyset("/keyset")
	}
	if a.operation == OpBatch {
		return a.decideBatch()
	}
	if alg != "" || !a.operation.Signs() {
		return a.decide(alg)
	}
	if ks := a.term.state.keysets[a.keyset]; ks != nil && ks.defaultAlg != "" && a.decide(ks.defaultAlg) == nil {
		return nil
	}
	if d := a.term.state.policy.DecideAny(a.caller, a.operation, a.keyset); !d.Granted {
		return &v1.Error{Reason: v1.NotGranted, Detail: d.Reason}
	}
	return nil
}

func (a *act) decide(alg jose.SignatureAlgorithm) error {
	if d := a.term.state.policy.Decide(a.caller, a.operation, a.keyset, alg); !d.Granted {
		return &v1.Error{Reason: v1.NotGranted, Detail: d.Reason}
	}
	a.granted = alg
	return nil
}

// open returns the keyset, if one of these purposes serves the operation.
func (a *act) open(purposes ...Purpose) (*keyset, error) {
	ks := a.term.state.keysets[a.keyset]
	if ks == nil {
		return nil, unknownKeyset(a.keyset)
	}
	if ks.purpose == PurposeNone {
		return nil, refuse(v1.KeysetUnknown, "", "keyset %s is published as it is stored and does not sign: %s", a.keyset, cmp.Or(ks.status.Problem, "it was removed from the configuration"))
	}
	for _, p := range purposes {
		if ks.purpose == p {
			return ks, nil
		}
	}
	return nil, refuse(v1.PurposeMismatch, "", "keyset %s has purpose %s, which does not serve operation %s; ask a keyset of purpose %s",
		a.keyset, ks.purpose, a.operation, strings.Join(texts(purposes), " or "))
}

func unknownKeyset(name string) error {
	if name == "" {
		return missingKeyset("/keyset")
	}
	return refuse(v1.KeysetUnknown, "", "no keyset %s is configured; `keysetctl status` lists those there are", quote(name))
}

func missingKeyset(field string) error {
	return refuse(v1.BadRequest, field, "keyset is missing; name the keyset that is to do it")
}

// choose settles which key signs, and that the caller may use its algorithm.
func (a *act) choose(ks *keyset, alg jose.SignatureAlgorithm, kid, kidField string) error {
	key, err := ks.choose(alg, kid, kidField, a.start)
	if err != nil {
		return err
	}
	if key.alg != a.granted {
		if err := a.decide(key.alg); err != nil {
			return err
		}
	}
	a.key = key
	return nil
}

// sign has the token sign the message, hashed as the algorithm wants it.
func (a *act) sign(ctx context.Context, message []byte) ([]byte, error) {
	return a.signed(ctx, a.hash(message))
}

// hash hashes the message as the algorithm wants it, and for the audit log.
func (a *act) hash(message []byte) []byte {
	hash := a.key.opts.HashFunc()
	d := digest(hash, message)
	a.digest = d
	if hash != crypto.SHA256 {
		a.digest = digest(crypto.SHA256, message)
	}
	return d
}

// signed has the token sign a digest, or for EdDSA the message, that was permitted.
func (a *act) signed(ctx context.Context, d []byte) ([]byte, error) {
	if a.share.Owner == "" {
		return nil, internal(errNotPermitted)
	}
	sig, err := a.key.key.Sign(hsm.WithShare(ctx, a.share), d, a.key.opts)
	if err != nil {
		return nil, fromToken(err)
	}
	return sig, nil
}

// record is what the audit log says of the act; e is what the caller is told, nil where
// it was granted.
func (a *act) record(e *v1.Error) audit.Record {
	r := audit.Record{
		Time:      a.start,
		Caller:    audit.Caller{UID: a.caller.UID, GID: a.caller.GID, PID: a.caller.PID, Exe: a.caller.Exe},
		Operation: string(a.operation),
		Keyset:    a.keyset,
		Token:     a.token,
		KID:       a.kid,
		Digest:    a.digest,
		JTI:       a.facts.jti,
		Exp:       a.facts.exp,
	}
	if kid := a.usedKID(); kid != "" {
		r.KID = kid
	}
	r.Alg = cmp.Or(string(a.alg()), string(a.keyAlg))
	var reason v1.Reason
	if e != nil {
		reason, r.Reason, r.Detail = e.Reason, string(e.Reason), e.Detail
	}
	if a.notes != "" {
		if r.Detail != "" {
			r.Detail += "; asked: "
		}
		r.Detail += a.notes
	}
	r.Outcome = outcomes[a.outcome(reason)]
	return r
}

// outcome of the act that ended with reason. What was signed and is dropped is no refusal: of those the audit
// log may count several in one line, and the digest of every signature there was has to stand in it.
func (a *act) outcome(reason v1.Reason) outcome {
	if a.dropped {
		return failed
	}
	return outcomeOf(reason)
}

var outcomes = map[outcome]audit.Outcome{ok: audit.Granted, refused: audit.Refused, failed: audit.Failed}
