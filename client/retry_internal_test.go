package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"testing/synctest"
	"time"

	v1 "keysetd.example/api/v1"
)

func told(reason v1.Reason, millis int64) error {
	return fmt.Errorf("wrapped: %w", &v1.Error{Reason: reason, Detail: "d", RetryAfterMillis: millis})
}

func TestPauseAfter(t *testing.T) {
	lost := fmt.Errorf("%w: it broke", ErrUnreachable)
	for name, test := range map[string]struct {
		n       int
		err     error
		fresh   bool
		want    time.Duration
		useless bool
	}{
		"lost":                   {err: lost, want: 50 * time.Millisecond},
		"lost again":             {n: 3, err: lost, want: 400 * time.Millisecond},
		"lost for long":          {n: 1000, err: lost, want: 2 * time.Second},
		"never there":            {err: lost, fresh: true, useless: true},
		"forbidden":              {err: fmt.Errorf("%w: %w", ErrUnreachable, fs.ErrPermission), useless: true},
		"overloaded":             {err: told(v1.Overloaded, 100), want: 100 * time.Millisecond},
		"overloaded for long":    {n: 4, err: told(v1.Overloaded, 100), want: 800 * time.Millisecond},
		"unavailable":            {err: told(v1.Unavailable, 1000), want: time.Second},
		"an operator is needed":  {err: told(v1.Unavailable, 0), useless: true},
		"ready tomorrow":         {err: told(v1.NotReady, 86_400_000), useless: true},
		"ready soon":             {err: told(v1.NotReady, 3000), want: 3 * time.Second},
		"rate":                   {err: told(v1.RateLimited, 10), useless: true},
		"not granted":            {err: told(v1.NotGranted, 10), useless: true},
		"kid":                    {err: told(v1.KidNotActive, 10), useless: true},
		"the caller's own limit": {err: context.DeadlineExceeded, useless: true},
	} {
		if got, worthwhile := pauseAfter(test.n, test.err, !test.fresh); worthwhile == test.useless || worthwhile && got != test.want {
			t.Errorf("%s: %v, %v", name, got, worthwhile)
		}
	}
}

func TestRetried(t *testing.T) {
	lost := fmt.Errorf("%w: it broke", ErrUnreachable)
	try := func(ctx context.Context, retries, failures int, err error) (calls int, took time.Duration, got error) {
		c := &Client{socket: "/s", retries: retries}
		c.reached.Store(true)
		start := time.Now()
		_, got = retried(ctx, c, func() (int, error) {
			if calls++; calls <= failures {
				return 0, err
			}
			return 1, nil
		})
		return calls, time.Since(start), got
	}
	synctest.Test(t, func(t *testing.T) {
		calls, took, err := try(t.Context(), 8, 3, lost)
		if least := 350 * time.Millisecond; calls != 4 || err != nil || took < least || took > least*3/2 {
			t.Errorf("%d calls in %v: %v", calls, took, err)
		}
		if calls, _, err := try(t.Context(), 2, 99, lost); calls != 3 || !errors.Is(err, ErrUnreachable) {
			t.Errorf("%d calls: %v", calls, err)
		}
		if calls, took, err := try(t.Context(), 0, 99, lost); calls != 1 || took != 0 || err == nil {
			t.Errorf("%d calls in %v: %v", calls, took, err)
		}
		// What would come after the deadline is not waited for.
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		if calls, took, err := try(ctx, 8, 99, told(v1.Unavailable, 1000)); calls != 1 || took != 0 || !errors.Is(err, ErrUnavailable) {
			t.Errorf("%d calls in %v: %v", calls, took, err)
		}
		// A caller who leaves is told both.
		ctx, leave := context.WithCancelCause(t.Context())
		cause := errors.New("enough")
		time.AfterFunc(300*time.Millisecond, func() { leave(cause) })
		if calls, took, err := try(ctx, 8, 99, told(v1.Unavailable, 1000)); calls != 1 || took != 300*time.Millisecond || !errors.Is(err, cause) || !errors.Is(err, ErrUnavailable) {
			t.Errorf("%d calls in %v: %v", calls, took, err)
		}
	})
}
