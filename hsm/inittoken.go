package hsm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"keysetd.example/hsm/wire"
)

// InitToken makes a token of this label in a free slot of cfg's module, with a worker of its
// own: for `keysetd dev` and for tests, never for an HSM in use. Both PINs are zeroed. A token that
// has the label already is an error. Of cfg it uses what tells how to start a worker, and Open.Module.
func InitToken(ctx context.Context, cfg Config, label string, soPIN, pin []byte) (_ Info, err error) {
	defer clear(soPIN)
	defer clear(pin)
	defer func() {
		if err != nil {
			err = fmt.Errorf("initialise token %q: %w", label, err)
		}
	}()
	cfg = cfg.quiet()
	w, err := cfg.Launch(ctx)
	if err != nil {
		return Info{}, err
	}
	defer func() {
		w.Kill()
		select {
		case <-w.Exited():
		case <-time.After(unkillableAfter): // the person who waits can do nothing about it
		}
	}()
	client, _, err := wire.NewClient(ctx, w.Conn())
	if err != nil {
		return Info{}, err
	}
	open := cfg.Open
	open.Label, open.Serial = label, ""
	// The module has to be loaded first, which the search for the token does; it must find none.
	_, _, err = client.Open(ctx, open)
	if err == nil {
		return Info{}, errors.New("there is one with this label already")
	}
	if e, ok := errors.AsType[*wire.Error](err); !ok || e.Reason != wire.TokenMissing {
		return Info{}, err
	}
	info, _, err := client.InitToken(ctx, wire.InitTokenRequest{Label: label, SOPIN: soPIN, PIN: pin})
	if err != nil {
		return Info{}, err
	}
	if err := client.Close(ctx); err != nil {
		return Info{}, err
	}
	select {
	case <-w.Exited():
	case <-ctx.Done():
		return Info{}, context.Cause(ctx)
	}
	return info, nil
}
