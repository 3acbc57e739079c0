package hsm

import (
	"context"
	"errors"
	"fmt"
)

// wrongSerial is ErrWrongSerial with what was found.
type wrongSerial struct{ found, remembered string }

func (e *wrongSerial) Error() string {
	return fmt.Sprintf("%v: it is %q, and %q is remembered: `keysetctl token accept` accepts it", ErrWrongSerial, e.found, e.remembered)
}

func (e *wrongSerial) Unwrap() error { return ErrWrongSerial }

// AcceptSerial makes the token with this serial number the one that is remembered, by
// Config.RememberSerial, and starts it at once. It must be the one that was refused, Status.FoundSerial: what
// the operator saw is what is accepted, and nothing that came in its place since.
func (t *Token) AcceptSerial(ctx context.Context, serial string) error {
	if err := context.Cause(ctx); err != nil {
		return t.wrap(fmt.Errorf("accept its serial number: %w", err))
	}
	refused, ok := errors.AsType[*wrongSerial](t.state.Load().err)
	switch {
	case !ok:
		return t.wrap(errors.New("accept its serial number: none was refused"))
	case serial != refused.found:
		return t.wrap(fmt.Errorf("accept its serial number: %q was asked for, and the token that was refused has %q", serial, refused.found))
	}
	if err := t.cfg.RememberSerial(serial); err != nil {
		return t.wrap(fmt.Errorf("remember its serial number: %w", err))
	}
	t.cfg.Logger.Warn("the operator accepted another serial number for the token", "serial", serial, "before", refused.remembered)
	t.rouse()
	return nil
}
