// Package signing is what every language of the door speaks to: one Service that judges
// a request and has the token sign it.
//
// One request goes this way, and the order matters:
//
//	authorise → keyset → purpose → header, claims → key → permit → sign → audit → reply
//
// Authorise comes first, so that a caller without a grant cannot learn which keysets
// there are: it is told not_granted whether the keyset exists or not. Permit judges the
// request as it will be signed, with the rate and the share of the token that its rule has.
// Decrypt has a message where this has header and claims, and goes the same way.
// Audit comes before the reply, so that no signature is in the world that the log does not
// know. What panics on the way has its line, too.
package signing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	v1 "keysetd.example/api/v1"
	"keysetd.example/internal/audit"
	"keysetd.example/signing/policy"
)

// Auditor keeps the record of what was granted and refused. When Append returns nil the
// record will outlive the process. The end of ctx, which may have come before the call,
// ends the wait and not the writing: what was done is written whether or not the caller
// is still there.
type Auditor interface {
	Append(ctx context.Context, r audit.Record) error
}

// Config is what a Service is made of. All fields but Now are required; Operator and Reload
// not before the first act that needs them.
type Config struct {
	Auditor Auditor
	Metrics *Metrics
	Logger  *slog.Logger
	// Tokens tells how the tokens are at this moment; it must not block.
	Tokens func() []v1.Token
	// Public is the address of the public door on this host; empty where there is none.
	Public string
	// RetryPIN allows one more login to a token that is blocked.
	RetryPIN func(ctx context.Context, token string) error
	// AcceptSerial makes the token with this serial number, which was refused, the one that is meant.
	AcceptSerial func(ctx context.Context, token, serial string) error
	// Operator does the operators' acts.
	Operator Operator
	// Reload reads the configuration again, for the operator by ("uid 1001"). Its errors are
	// *v1.Error, or faults.
	Reload func(ctx context.Context, by string, req *v1.ReloadRequest) (*v1.ReloadReply, error)
	// Now is the clock that claims are judged by. Unset: time.Now.
	Now func() time.Time
}

// Service judges and signs. Its methods may be called from many goroutines; the errors
// they return are *v1.Error.
type Service struct {
	Config
	term atomic.Pointer[term]
}

// New returns a service that answers from state until Swap gives it another.
func New(c Config, state *State) *Service {
	if c.Now == nil {
		c.Now = time.Now
	}
	s := &Service{Config: c}
	s.term.Store(newTerm(state, 1))
	return s
}

// SignJWT signs claims, or a whole JWS signing input, as operation jwt.
func (s *Service) SignJWT(ctx context.Context, caller policy.Caller, keyset string, req *v1.JWTRequest) (_ *v1.JWTReply, err error) {
	a := s.begin(caller, policy.JWT, keyset)
	defer s.finish(ctx, a, &err)
	reply, err := s.signJWT(ctx, a, req)
	if err = s.end(ctx, a, err); err != nil {
		return nil, err // and the signature, if there is one, is dropped
	}
	return reply, nil
}

// Sign signs a payload or a digest, as operation sign.
func (s *Service) Sign(ctx context.Context, caller policy.Caller, keyset string, req *v1.SignRequest) (_ *v1.SignReply, err error) {
	a := s.begin(caller, policy.Sign, keyset)
	defer s.finish(ctx, a, &err)
	reply, err := s.signRaw(ctx, a, req)
	if err = s.end(ctx, a, err); err != nil {
		return nil, err
	}
	return reply, nil
}

// Admit tells whether the caller may do this at all, before its request is read: what a
// stranger sends is not worth a parser's time nor memory. A refusal is audited; an admission
// is not, since the request itself will be.
func (s *Service) Admit(ctx context.Context, caller policy.Caller, operation policy.Operation, keyset string) (err error) {
	a := s.begin(caller, operation, keyset)
	defer s.finish(ctx, a, &err)
	if err := a.authorise(""); err != nil {
		return s.end(ctx, a, err)
	}
	return nil
}

// Refuse audits a request of an admitted caller that could not be understood, and returns
// what the caller is told.
func (s *Service) Refuse(ctx context.Context, caller policy.Caller, operation policy.Operation, keyset string, because *v1.Error) (err error) {
	a := s.begin(caller, operation, Clip(keyset))
	defer s.finish(ctx, a, &err)
	return s.end(ctx, a, because)
}

// Identity tells as whom the caller counts among those who may do anything at all. Others are not known:
// what a stranger sends need not be waited for.
func (s *Service) Identity(caller policy.Caller) (id policy.Identity, known bool) {
	return s.term.Load().state.policy.Identity(caller)
}

// end finishes an act: its line goes to the audit log, then its time into the metrics.
// It returns what the caller is told.
func (s *Service) end(ctx context.Context, a *act, err error) error {
	var told *v1.Error
	if err != nil {
		told = asError(err)
	} else {
		told = s.revokedSince(a)
		a.dropped = told != nil
	}
	switch auditErr := s.Auditor.Append(ctx, a.record(told)); {
	case auditErr == nil:
	case told == nil:
		told = fromAudit(auditErr, a.done)
	default: // a refusal releases nothing, so it stays what it is
		s.Logger.Error("a refusal could not be written to the audit log", "error", auditErr)
	}
	var reason v1.Reason
	if told != nil {
		reason = told.Reason
	}
	switch took := s.Now().Sub(a.start); {
	case a.operation.Signs():
		s.Metrics.observe(a.alg(), a.outcome(reason), took)
		if told == nil {
			a.key.signed.Inc()
		}
	case a.operation == policy.Decrypt:
		s.Metrics.decrypted(a, a.outcome(reason), took)
	}
	if told == nil {
		return nil
	}
	s.log(a, told)
	return told
}

// finish ends an act's hold on its state; whoever begins an act defers it. An act that panics
// ends as a fault of keysetd's own, with its line in the audit log as any other, and nothing of it
// is released.
func (s *Service) finish(ctx context.Context, a *act, err *error) {
	defer a.leave()
	if p := recover(); p != nil {
		s.Logger.Error("panic in a request", "operation", a.operation, "keyset", a.keyset, "uid", a.caller.UID, "panic", p, "stack", string(debug.Stack()))
		*err = s.end(ctx, a, internal(fmt.Errorf("panic: %v", p)))
	}
}

// log tells the operator of faults. Refusals are in the audit log, and an outage is
// told once by package hsm rather than by each request that meets it.
func (s *Service) log(a *act, e *v1.Error) {
	level := slog.LevelDebug
	if e.Reason == v1.Internal || e.Reason == v1.AuditFailed {
		level = slog.LevelError
	}
	s.Logger.Log(context.Background(), level, "request failed",
		"operation", a.operation, "keyset", a.keyset, "uid", a.caller.UID, "reason", e.Reason, "error", errors.Join(e, e.Cause))
}
