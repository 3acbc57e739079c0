package signing

import (
	"context"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	v1 "keysetd.example/api/v1"
	"keysetd.example/rotation"
	"keysetd.example/signing/policy"
)

const (
	// maxWhy is the longest reason that an operator may give, in bytes.
	maxWhy = 500
	// maxKID is the longest kid that is looked for, in bytes.
	maxKID = 512
)

// Rotate has the pending generation sign, if it may, as operation rotate.
func (s *Service) Rotate(ctx context.Context, caller policy.Caller, keyset string, req *v1.RotateRequest) (*v1.ActReply, error) {
	a := s.begin(caller, policy.Rotate, keyset)
	return s.onKeyset(ctx, a, rotation.Act{Why: req.Reason, KID: req.KID}, func(ctx context.Context, act rotation.Act, _ *v1.ActReply) error {
		return s.Operator.Rotate(ctx, keyset, act)
	})
}

// Revoke takes a key, or all of a keyset's, out of service for ever, as operation revoke.
func (s *Service) Revoke(ctx context.Context, caller policy.Caller, keyset string, req *v1.RevokeRequest) (*v1.ActReply, error) {
	a := s.begin(caller, policy.Revoke, keyset)
	a.note(req.All, "all").note(req.Through != 0, "through generation "+strconv.Itoa(req.Through))
	a.note(req.AcceptUnpublished, "accept unpublished").note(req.KeepObject, "keep object")
	return s.onKeyset(ctx, a, rotation.Act{Why: req.Reason, KID: req.KID}, func(ctx context.Context, act rotation.Act, reply *v1.ActReply) error {
		switch {
		case strings.TrimSpace(req.Reason) == "":
			return refuse(v1.BadRequest, "/reason", "a revocation needs a reason; say in a line why, for the history")
		case (req.KID == "") == !req.All:
			return refuse(v1.BadRequest, "/kid", "give exactly one of kid and all")
		}
		done, err := s.Operator.Revoke(ctx, keyset, rotation.RevokeAct{
			Act: act, All: req.All, Through: req.Through, AcceptUnpublished: req.AcceptUnpublished, KeepObject: req.KeepObject,
		})
		if err != nil {
			return err
		}
		for _, k := range done.Keys {
			reply.Revoked = append(reply.Revoked, v1.RevokedKey{KID: k.KID, At: k.At, By: k.By, Reason: k.Why, Kept: k.Kept})
			a.note(k.KID != req.KID, "revoked "+k.KID)
		}
		reply.AcceptedUntil, reply.RefusedUntil = done.AcceptedUntil, done.RefusedUntil
		return nil
	})
}

// Freeze suspends a keyset's schedule, as operation freeze.
func (s *Service) Freeze(ctx context.Context, caller policy.Caller, keyset string, req *v1.FreezeRequest) (*v1.ActReply, error) {
	a := s.begin(caller, policy.Freeze, keyset)
	a.note(true, "freeze").note(!req.Until.IsZero(), "until "+stamp(req.Until))
	return s.onKeyset(ctx, a, rotation.Act{Why: req.Reason}, func(ctx context.Context, act rotation.Act, _ *v1.ActReply) error {
		if req.Until.IsZero() {
			return refuse(v1.BadRequest, "/until", "until is missing; say until when the keyset is to be frozen")
		}
		return s.Operator.Freeze(ctx, keyset, act, req.Until)
	})
}

// Thaw ends what Freeze began, as operation freeze.
func (s *Service) Thaw(ctx context.Context, caller policy.Caller, keyset string, req *v1.ThawRequest) (*v1.ActReply, error) {
	a := s.begin(caller, policy.Freeze, keyset)
	a.note(true, "thaw")
	return s.onKeyset(ctx, a, rotation.Act{Why: req.Reason}, func(ctx context.Context, act rotation.Act, _ *v1.ActReply) error {
		return s.Operator.Thaw(ctx, keyset, act)
	})
}

// onKeyset does an act on a keyset and returns how the keyset is then.
func (s *Service) onKeyset(ctx context.Context, a *act, act rotation.Act, do func(context.Context, rotation.Act, *v1.ActReply) error) (*v1.ActReply, error) {
	act.By, a.kid = by(a.caller), Clip(act.KID)
	a.note(act.Why != "", "because "+strconv.Quote(clipTo(act.Why, maxWhy)))
	reply := new(v1.ActReply)
	err := s.operate(ctx, a, func(ctx context.Context) error {
		if err := judgeAct(act); err != nil {
			return err
		}
		return do(ctx, act, reply)
	})
	if err != nil {
		return nil, err
	}
	reply.Keyset = v1.Keyset{Name: a.keyset, Algorithms: []string{}, Generations: []v1.Generation{}} // where nothing is left of it
	if ks := s.term.Load().state.keysets[a.keyset]; ks != nil {
		reply.Keyset = ks.status
	}
	return reply, nil
}

// judgeAct holds what an operator wrote to one line that is safe to show: it will stand in
// the history for ever, and be read in terminals.
func judgeAct(act rotation.Act) error {
	moves := func(r rune) bool { // the cursor, or the direction of what follows
		return unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
	}
	switch {
	case len(act.Why) > maxWhy:
		return refuse(v1.BadRequest, "/reason", "the reason is %d bytes long; at most %d are kept", len(act.Why), maxWhy)
	case !utf8.ValidString(act.Why) || strings.ContainsFunc(act.Why, moves):
		return refuse(v1.BadRequest, "/reason", "the reason must be one line of UTF-8 without control characters")
	case len(act.KID) > maxKID:
		return refuse(v1.BadRequest, "/kid", "the kid is %d bytes long; no kid has more than %d", len(act.KID), maxKID)
	}
	return nil
}

// note adds a word on what was asked to the act's line in the audit log, if it applies.
func (a *act) note(applies bool, what string) *act {
	switch {
	case !applies:
	case a.notes == "":
		a.notes = what
	default:
		a.notes += ", " + what
	}
	return a
}

// stamp writes an instant for people: in UTC, rounded up to the second, so that waiting
// until then is enough.
func stamp(at time.Time) string {
	return wholeSecond(at).Format(time.RFC3339)
}

func wholeSecond(at time.Time) time.Time {
	return at.UTC().Add(time.Second - 1).Truncate(time.Second)
}
