package client_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	v1 "keysetd.example/api/v1"
	"keysetd.example/client"
	"keysetd.example/client/internal/clienttest"
	"keysetd.example/hsm"
	"keysetd.example/internal/keyspec"
	"keysetd.example/signing/signingtest"
)

// signers are the calls that are gathered. Each checks that it got its own.
var signers = []func(ctx context.Context, c *client.Client, mine string) error{
	func(ctx context.Context, c *client.Client, mine string) error {
		reply, err := c.SignJWT(ctx, "any", &v1.JWTRequest{Claims: claims(`, "mine": "` + mine + `"`), Alg: "ES256"})
		if err != nil {
			return err
		}
		payload, err := base64.RawURLEncoding.DecodeString(strings.Split(reply.Token, ".")[1])
		if err != nil || !strings.Contains(string(payload), `"`+mine+`"`) {
			return fmt.Errorf("the token of %s says %s (%w)", mine, payload, err)
		}
		return nil
	},
	func(ctx context.Context, c *client.Client, mine string) error {
		payload := base64.RawURLEncoding.EncodeToString([]byte(mine))
		reply, err := c.Sign(ctx, "any", &v1.SignRequest{Payload: &payload, Alg: "EdDSA"})
		if err == nil && reply.Alg != "EdDSA" {
			err = fmt.Errorf("%+v", reply)
		}
		return err
	},
	func(ctx context.Context, c *client.Client, mine string) error {
		reply, err := c.SignClientAssertion(ctx, "any", &v1.ClientAssertionRequest{ClientID: mine, Audience: "https://as.example", Alg: "ES384"})
		if err != nil {
			return err
		}
		payload, err := base64.RawURLEncoding.DecodeString(strings.Split(reply.ClientAssertion, ".")[1])
		if err != nil || !strings.Contains(string(payload), `"`+mine+`"`) {
			return fmt.Errorf("the assertion of %s says %s (%w)", mine, payload, err)
		}
		return nil
	},
	func(ctx context.Context, c *client.Client, mine string) error { // what is refused, is refused to whom it belongs
		_, err := c.SignJWT(ctx, "any", &v1.JWTRequest{Claims: jsontext.Value(`{"iss":"x"}`), Alg: "ES256"})
		if e, ok := errors.AsType[*v1.Error](err); !ok || e.Reason != v1.BadClaims || !strings.HasPrefix(e.Field, "/claims") {
			return fmt.Errorf("%s: bad claims: %+w", mine, err)
		}
		return nil
	},
}

// crowd has n goroutines make calls each until the deadline or an error, and returns how many were made.
func crowd(t *testing.T, n int, until <-chan struct{}, c *client.Client) int64 {
	t.Helper()
	var calls atomic.Int64
	var callers sync.WaitGroup
	for i := range n {
		callers.Go(func() {
			for j := 0; ; j++ {
				select {
				case <-until:
					return
				default:
				}
				if err := signers[(i+j)%len(signers)](t.Context(), c, fmt.Sprintf("c-%d-%d", i, j)); err != nil {
					t.Error(err)
					return
				}
				calls.Add(1)
			}
		})
	}
	callers.Wait()
	return calls.Load()
}

// after is closed once f is done.
func after(f func()) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	return done
}

// TestGatheredByTheDaemon: many callers on one client, each with its own result, in few requests.
func TestGatheredByTheDaemon(t *testing.T) {
	h := clienttest.Start(t)
	c := h.Dial(t)
	calls := crowd(t, 32, after(func() { time.Sleep(300 * time.Millisecond) }), c)
	if n := h.Batches.Load(); n == 0 || n > calls/2 {
		t.Errorf("%d calls in %d batches", calls, n)
	}
	before := h.Batches.Load()
	for _, sign := range signers {
		if err := sign(t.Context(), c, "lone"); err != nil {
			t.Error(err)
		}
	}
	single := h.Dial(t, client.WithInFlight(0))
	crowd(t, 8, after(func() { time.Sleep(50 * time.Millisecond) }), single)
	if n := h.Batches.Load(); n != before {
		t.Errorf("%d batches of calls that were not to be gathered", n-before)
	}
}

// TestGivingUpUnderWay: one caller's end is not its neighbours'.
func TestGivingUpUnderWay(t *testing.T) {
	h := clienttest.Start(t)
	c := h.Dial(t, client.WithInFlight(1))
	entered, release := make(chan struct{}, 99), make(chan struct{})
	h.Keys[keyspec.P256].Hook(func(context.Context) { entered <- struct{}{}; <-release })
	short, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	var callers sync.WaitGroup
	for i := range 9 {
		ctx, want := t.Context(), error(nil)
		if i%2 == 1 {
			ctx, want = short, enough
		}
		callers.Go(func() {
			if err := signers[0](ctx, c, "c"); !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
		})
		if i == 0 {
			<-entered
		}
	}
	cancel(enough)
	close(release)
	callers.Wait()
}

// TestRestartUnderCallers: the daemon goes and comes again, and no call fails that may be repeated.
func TestRestartUnderCallers(t *testing.T) {
	w := signingtest.New(t, signingtest.All(uint32(os.Getuid())))
	socket := clienttest.SocketPath(t)
	stop := clienttest.Serve(t, w, socket)
	c := clienttest.Dial(t, socket)
	if err := signers[0](t.Context(), c, "first"); err != nil {
		t.Fatal(err)
	}
	restarts := after(func() {
		for range 8 {
			time.Sleep(100 * time.Millisecond)
			stop()
			time.Sleep(50 * time.Millisecond)
			stop = clienttest.Serve(t, w, socket)
		}
	})
	if calls := crowd(t, 16, restarts, c); calls < 100 {
		t.Errorf("%d calls", calls)
	}
}

// TestOverloadPasses: what the daemon says will pass is waited for.
func TestOverloadPasses(t *testing.T) {
	c, w := open(t)
	if err := signers[0](t.Context(), c, "first"); err != nil {
		t.Fatal(err)
	}
	w.Keys[keyspec.P256].Fail(hsm.ErrOverloaded)
	time.AfterFunc(250*time.Millisecond, func() { w.Keys[keyspec.P256].Fail(nil) })
	if err := signers[0](t.Context(), c, "second"); err != nil {
		t.Error(err)
	}
	if n := w.Keys[keyspec.P256].Calls.Load(); n < 3 || n > 5 {
		t.Errorf("the key was asked %d times", n)
	}
}

// TestRotationUnderCallers: without a kid nobody notices one.
func TestRotationUnderCallers(t *testing.T) {
	h := clienttest.Start(t)
	rotations := after(func() {
		for i := range 10 {
			time.Sleep(30 * time.Millisecond)
			h.Rotate(t, fmt.Sprint("rsa-", i))
		}
	})
	crowd(t, 8, rotations, h.Dial(t))
}

// BenchmarkCallers measures 64 goroutines on one keyset with a real door before software keys.
func BenchmarkCallers(b *testing.B) {
	for _, inFlight := range []int{0, 1, 2, 3, 4, 8} {
		b.Run(fmt.Sprintf("in-flight=%d", inFlight), func(b *testing.B) {
			w := signingtest.New(b, signingtest.All(uint32(os.Getuid())))
			socket := clienttest.SocketPath(b)
			clienttest.Serve(b, w, socket)
			c := clienttest.Dial(b, socket, client.WithInFlight(inFlight))
			body := claims("")
			b.ReportAllocs()
			b.ResetTimer()
			var left atomic.Int64
			left.Store(int64(b.N))
			var callers sync.WaitGroup
			for range 64 {
				callers.Go(func() {
					for left.Add(-1) >= 0 {
						if _, err := c.SignJWT(b.Context(), "default", &v1.JWTRequest{Claims: body}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			callers.Wait()
		})
	}
}

// BenchmarkLoneCaller is what a call takes that waits for nobody.
func BenchmarkLoneCaller(b *testing.B) {
	for _, inFlight := range []int{0, 2} {
		b.Run(fmt.Sprintf("in-flight=%d", inFlight), func(b *testing.B) {
			w := signingtest.New(b, signingtest.All(uint32(os.Getuid())))
			socket := clienttest.SocketPath(b)
			clienttest.Serve(b, w, socket)
			c := clienttest.Dial(b, socket, client.WithInFlight(inFlight))
			body := claims("")
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.SignJWT(b.Context(), "default", &v1.JWTRequest{Claims: body}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
