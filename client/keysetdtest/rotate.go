package keysetdtest

import (
	"context"
	"errors"
	"testing"
	"time"

	v1 "keysetd.example/api/v1"
	"keysetd.example/client"
)

// patience is how long Rotate waits, at most, until the next key may sign.
const patience = 10 * time.Second

// Rotate has the keyset's next keys sign from now on, in place of those that do. It waits until they
// may: they were published for a second before, as verifiers are promised, so the JWKS that a
// verifier fetched a second before Rotate has the key that signs after it. The key that signed
// before stays in the JWKS.
func (d *Daemon) Rotate(t testing.TB, keyset string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := d.rotate(ctx, keyset); err != nil {
		t.Fatalf("rotating %s: %v", keyset, err)
	}
}

func (d *Daemon) rotate(ctx context.Context, keyset string) error {
	c, err := client.Dial(d.Socket)
	if err != nil {
		return err
	}
	defer c.Close()
	for {
		_, err := c.Rotate(ctx, keyset, &v1.RotateRequest{})
		if !errors.Is(err, client.ErrNotYet) {
			return err
		}
		// Without a time the next keys are being made.
		pause := 20 * time.Millisecond
		if e, ok := errors.AsType[*v1.Error](err); ok && e.RetryAfterMillis != 0 {
			pause = time.Duration(e.RetryAfterMillis) * time.Millisecond
		}
		if until, ok := ctx.Deadline(); ok && time.Now().Add(pause).After(until) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}
