package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "keysetd.example/api/v1"
)

// slow is a sender whose requests take a second, and that notes what was sent.
type slow struct {
	mu   sync.Mutex
	sent []string
	ends []error // of the contexts of batches, when they returned
	err  error   // of batches
}

func (s *slow) note(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = append(s.sent, what)
}

func (s *slow) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.sent)
}

func (s *slow) ended() []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ends)
}

func (s *slow) wait(ctx context.Context) error {
	select {
	case <-time.After(time.Second):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func resultOf(r *request) v1.BatchResult {
	if strings.HasPrefix(string(r.body), "bad") {
		return v1.BatchResult{Error: &v1.Error{Reason: v1.BadClaims, Detail: string(r.body), Field: "/items/9/jwt/claims"}}
	}
	return v1.BatchResult{JWT: &v1.JWTReply{Token: string(r.body)}}
}

func (s *slow) alone(ctx context.Context, _ string, r *request) (v1.BatchResult, error) {
	s.note(string(r.body))
	return resultOf(r), s.wait(ctx)
}

func (s *slow) together(ctx context.Context, _ string, requests []*request) ([]v1.BatchResult, error) {
	var bodies []string
	var results []v1.BatchResult
	for _, r := range requests {
		bodies = append(bodies, string(r.body))
		results = append(results, resultOf(r))
	}
	s.note(strings.Join(bodies, "+"))
	err := s.wait(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ends = append(s.ends, ctx.Err())
	if s.err != nil {
		err = s.err
	}
	return results, err
}

func (s *slow) waited(ctx context.Context) error { return context.Cause(ctx) }

// crowd calls a gatherer from many goroutines, in order.
type crowd struct {
	g       *gatherer
	calls   sync.WaitGroup
	mu      sync.Mutex
	results map[string]string // by body: token or error
}

func (c *crowd) call(ctx context.Context, body string) {
	c.calls.Go(func() {
		result, err := c.g.do(ctx, "k", operationJWT, []byte(body))
		c.mu.Lock()
		defer c.mu.Unlock()
		if err != nil {
			c.results[body] = err.Error()
		} else {
			c.results[body] = result.JWT.Token
		}
	})
	synctest.Wait() // so that the next one comes after it
}

func gathering(width int) (*slow, *crowd) {
	s := new(slow)
	return s, &crowd{g: newGatherer(width, s), results: map[string]string{}}
}

func (c *crowd) idle(t *testing.T) {
	t.Helper()
	if len(c.g.lanes) != 0 {
		t.Errorf("lanes are left: %v", c.g.lanes)
	}
}

// TestGathering: the first go at once, those behind them together, in their order, when one returns.
func TestGathering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := gathering(2)
		start := time.Now()
		for _, body := range []string{"a", "b", "c", "bad d", "e"} {
			c.call(t.Context(), body)
		}
		if len(s.seen()) != 2 {
			t.Errorf("went at once: %q", s.seen())
		}
		c.calls.Wait()
		if want := []string{"a", "b", "c+bad d+e"}; !slices.Equal(s.seen(), want) || time.Since(start) != 2*time.Second {
			t.Errorf("sent %q in %v, want %q", s.seen(), time.Since(start), want)
		}
		for body, got := range c.results {
			if want := map[bool]string{true: "bad_claims: bad d", false: body}[body == "bad d"]; got != want {
				t.Errorf("%s got %s", body, got)
			}
		}
		synctest.Wait()
		c.idle(t)
	})
}

// TestLoneCallWaitsForNothing: one after the other, each goes at once.
func TestLoneCallWaitsForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := gathering(1)
		start := time.Now()
		for i := range 3 {
			c.call(t.Context(), fmt.Sprint(i))
			c.calls.Wait()
		}
		if !slices.Equal(s.seen(), []string{"0", "1", "2"}) || time.Since(start) != 3*time.Second {
			t.Errorf("sent %q in %v", s.seen(), time.Since(start))
		}
		c.idle(t)
	})
}

// TestWhoGivesUp leaves alone: out of the queue, or out of a batch that goes on; all of them end it.
func TestWhoGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := gathering(1)
		short, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		longer, cancelLonger := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancelLonger()
		c.call(t.Context(), "a")
		c.call(short, "queued")
		c.call(longer, "b")
		c.call(t.Context(), "c")
		c.calls.Wait()
		if want := []string{"a", "b+c"}; !slices.Equal(s.seen(), want) || s.ended()[0] != nil {
			t.Errorf("sent %q, want %q; the batch ended with %v", s.seen(), want, s.ended())
		}
		gaveUp := context.DeadlineExceeded.Error()
		if c.results["queued"] != gaveUp || c.results["b"] != gaveUp || c.results["c"] != "c" {
			t.Errorf("%v", c.results)
		}

		both, cancelBoth := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancelBoth()
		start := time.Now()
		c.call(t.Context(), "d")
		c.call(both, "e")
		c.call(both, "f")
		c.calls.Wait()
		synctest.Wait()
		if !errors.Is(s.ended()[1], context.Canceled) || time.Since(start) != 1500*time.Millisecond {
			t.Errorf("a batch of nobody went on: %v after %v", s.ended(), time.Since(start))
		}
		c.idle(t)
	})
}

// TestBatchFailure falls to each; a refusal of the batch as such does not.
func TestBatchFailure(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		sent []string
		b    string
	}{
		"lost":        {ErrUnreachable, []string{"a", "b+c"}, ErrUnreachable.Error()},
		"unavailable": {&v1.Error{Reason: v1.Unavailable, Detail: "down"}, []string{"a", "b+c"}, "unavailable: down"},
		"refused":     {&v1.Error{Reason: v1.BadRequest, Detail: "nested"}, []string{"a", "b+c", "b", "c"}, "b"},
		"not granted": {&v1.Error{Reason: v1.NotGranted, Detail: "none"}, []string{"a", "b+c", "b", "c"}, "b"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, c := gathering(1)
				s.err = test.err
				for _, body := range []string{"a", "b", "c"} {
					c.call(t.Context(), body)
				}
				c.calls.Wait()
				if !slices.Equal(s.seen(), test.sent) || c.results["b"] != test.b || c.results["a"] != "a" {
					t.Errorf("sent %q, results %v", s.seen(), c.results)
				}
			})
		})
	}
}

// TestBatchesAreBounded in items and in bytes; what is too large for any goes alone, in its turn.
func TestBatchesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := gathering(1)
		c.call(t.Context(), "first")
		for i := range maxItems + 10 {
			c.call(t.Context(), fmt.Sprint(i))
		}
		c.calls.Wait()
		if len(s.seen()) != 3 || strings.Count(s.seen()[1], "+") != maxItems-1 || strings.Count(s.seen()[2], "+") != 9 {
			t.Errorf("%d requests", len(s.seen()))
		}
	})
	big := func(n int) *request { return &request{op: operationJWT, body: []byte(strings.Repeat("x", n))} }
	half := maxBatchBody/2 - 100
	for name, test := range map[string]struct {
		waiting []*request
		want    int
	}{
		"none":             {nil, 0},
		"two halves":       {[]*request{big(half), big(half), big(half)}, 2},
		"too large first":  {[]*request{big(maxBatchBody), big(1)}, 1},
		"too large second": {[]*request{big(1), big(maxBatchBody)}, 1},
	} {
		l := lane{waiting: test.waiting}
		if got := l.take(); len(got) != test.want || len(l.waiting) != len(test.waiting)-test.want {
			t.Errorf("%s: took %d", name, len(got))
		} else if body := batchBody(got); len(got) > 1 && len(body) > maxBatchBody {
			t.Errorf("%s: a body of %d bytes", name, len(body))
		}
	}
}

// TestNobodyStarves: under a load that never ends, everybody is served after the batches before him.
func TestNobodyStarves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := gathering(2)
		for i := range 50 {
			body := fmt.Sprint(i)
			start := time.Now()
			c.calls.Go(func() {
				if _, err := c.g.do(t.Context(), "k", operationJWT, []byte(body)); err != nil || time.Since(start) > 2*time.Second {
					t.Errorf("%s took %v: %v", body, time.Since(start), err)
				}
			})
			time.Sleep(100 * time.Millisecond)
		}
		c.calls.Wait()
		if len(s.seen()) > 15 {
			t.Errorf("%d requests for 50 calls in 5 s", len(s.seen()))
		}
	})
}

func TestOwnResult(t *testing.T) {
	for field, want := range map[string]string{
		"/items/3/jwt/claims/iss": "/claims/iss", "/items/3/jwt": "", "/items/3": "", "": "", "/items/31/jwt/kid": "/items/31/jwt/kid",
	} {
		_, err := ownResult(3, operationJWT, v1.BatchResult{Error: &v1.Error{Reason: v1.BadClaims, Field: field}})
		if e, ok := errors.AsType[*v1.Error](err); !ok || e.Field != want {
			t.Errorf("%q: %+v", field, err)
		}
	}
	if _, err := ownResult(0, operationSign, v1.BatchResult{JWT: new(v1.JWTReply)}); err == nil {
		t.Error("another operation's result was taken")
	}
}
