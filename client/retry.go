package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"time"

	v1 "keysetd.example/api/v1"
)

const (
	firstPause = 50 * time.Millisecond
	// mostPause is where the pauses stop growing.
	mostPause = 2 * time.Second
	// mostWished is how long a pause may be that the daemon wishes for; what takes longer is the
	// caller's to wait for.
	mostWished = 5 * time.Second
)

// retried does what may be repeated until it succeeds, or doing it again is no use.
func retried[R any](ctx context.Context, c *Client, do func() (R, error)) (R, error) {
	for n := 0; ; n++ {
		reply, err := do()
		if err == nil || n >= c.retries {
			return reply, err
		}
		pause, worthwhile := pauseAfter(n, err, c.reached.Load())
		if !worthwhile {
			return reply, err
		}
		pause += rand.N(pause/2 + 1)
		if end, has := ctx.Deadline(); has && time.Until(end) <= pause {
			return reply, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return reply, fmt.Errorf("%w; the last answer was: %w", c.waited(ctx), err)
		}
	}
}

// pauseAfter decides whether to ask again after the n'th retry, from 0, ended with err, and how
// long to wait before at least. reached: the daemon has answered before.
func pauseAfter(n int, err error, reached bool) (time.Duration, bool) {
	pause := min(firstPause<<min(n, 10), mostPause)
	if errors.Is(err, ErrUnreachable) {
		return pause, reached && !errors.Is(err, fs.ErrPermission)
	}
	e, told := errors.AsType[*v1.Error](err)
	if !told {
		return 0, false
	}
	switch e.Reason {
	case v1.Unavailable, v1.Overloaded, v1.NotReady:
	default:
		return 0, false
	}
	// Without a wish it is an operator who has to do something.
	wished := time.Duration(e.RetryAfterMillis) * time.Millisecond
	return max(pause, wished), 0 < wished && wished <= mostWished
}
