package hsm

import (
	"context"
	"errors"
	"fmt"

	"keysetd.example/hsm/wire"
)

// pinFacts are what is known before a token is asked.
func (t *Token) pinFacts() (pinFacts, error) {
	f, err := t.cfg.Marker.facts()
	if err != nil {
		return f, err
	}
	if f.source, err = t.cfg.PINSource(); err != nil {
		return f, err
	}
	if t.permit && f.state == pinNone { // a refusal that another process wrote meanwhile counts
		f.state = pinAllowed
	}
	return f, nil
}

// login logs in where invariant 9 allows it. In order: lock; decide; open the sessions; read the PIN; marker
// to disk; C_Login; what came of it to disk; unlock. Cut off anywhere, the marker errs
// on the side of not trying.
func (e *epoch) login(ctx context.Context) error {
	t := e.token
	unlock, err := t.cfg.Marker.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	f, err := t.pinFacts()
	if err != nil {
		return err
	}
	f.serial, f.low, f.final, f.locked = e.info.Serial, e.info.PINCountLow, e.info.PINFinalTry, e.info.PINLocked
	if ok, why := decide(f); !ok {
		return &pinBlock{why: why, refused: f.state == pinRefused}
	}
	// Before the marker: whatever comes of opening sessions, no PIN was tried.
	if _, err := e.client.Prepare(ctx, wire.PrepareRequest{Sessions: t.cfg.Sessions}); err != nil {
		return fmt.Errorf("open sessions: %w", err)
	}
	pin, err := t.cfg.PIN(ctx)
	if err != nil {
		return err
	}
	defer clear(pin)
	if again, err := t.cfg.PINSource(); err != nil || again != f.source {
		return errors.Join(errors.New("the source of the PIN changed while it was read"), err)
	}
	attempt := pinTrying
	if f.state == pinTrying {
		attempt = pinAgain
	}
	if err := t.cfg.Marker.set(t.cfg.Name, e.info.Serial, attempt); err != nil {
		return err
	}
	t.permit = false
	timing, err := e.client.Login(ctx, wire.LoginRequest{PIN: pin})
	if timing.Call > 0 {
		t.metrics.other[wire.OpLogin].Observe(timing.Call.Seconds())
	}
	if err := e.conclude(f, err); err != nil {
		return err
	}
	if t.cfg.Serial() == "" {
		if err := t.cfg.RememberSerial(e.info.Serial); err != nil {
			return fmt.Errorf("remember the token's serial number: %w", err)
		}
	}
	return nil
}

// conclude puts what came of a login on disk and returns the login's error.
func (e *epoch) conclude(f pinFacts, err error) error {
	m, name := e.token.cfg.Marker, e.token.cfg.Name
	switch outcomeOf(err) {
	case pinAccepted:
		return m.accepted(e.info.Serial, f.source)
	case pinWrong:
		return &pinBlock{why: "the token refused the PIN", refused: true,
			cause: errors.Join(err, m.set(name, e.info.Serial, pinRefused))}
	case pinUntried:
		// As if nothing had been tried: what was not known before is still not.
		return errors.Join(fmt.Errorf("log in: %w", err), m.restore(name, e.info.Serial, f))
	}
	return fmt.Errorf("log in: whether the PIN was tried is not known: %w", err)
}

// pinBlock is the error of a token that nobody logs in to. It is ErrPINBlocked.
type pinBlock struct {
	why     string
	refused bool  // by the token, as the marker tells
	cause   error // nil where the token was not asked
}

func (b *pinBlock) Error() string {
	s := ErrPINBlocked.Error() + ": " + b.why
	if b.cause != nil {
		s += ": " + describe(b.cause)
	}
	return s
}

func (b *pinBlock) Unwrap() []error { return []error{ErrPINBlocked, b.cause} }
