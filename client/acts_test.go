package client_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	v1 "keysetd.example/api/v1"
	"keysetd.example/client"
	"keysetd.example/client/internal/clienttest"
	"keysetd.example/rotation"
)

func TestActs(t *testing.T) {
	c, w := open(t)
	at := time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
	w.Operator.Revoked = rotation.Revoked{Keys: []rotation.Revocation{{KID: "gone", At: at, Kept: true}}, AcceptedUntil: at, RefusedUntil: at}
	w.Operator.Steps = []rotation.Forecast{{At: at, Step: rotation.Step{Generation: 2, Reason: "it is time"}}}
	w.Operator.Events = []rotation.Event{{At: at, What: "made", KIDs: []string{"k"}}}
	w.Operator.Reloaded = v1.ReloadReply{Applied: true, Changes: []v1.KeysetChange{{Keyset: "default", Change: "less", At: at}}}
	ctx := t.Context()

	for name, act := range map[string]func() (*v1.ActReply, error){
		"rotate": func() (*v1.ActReply, error) {
			return c.Rotate(ctx, "default", &v1.RotateRequest{KID: "k", Reason: "r"})
		},
		"rotate, any": func() (*v1.ActReply, error) { return c.Rotate(ctx, "default", new(v1.RotateRequest)) },
		"freeze":      func() (*v1.ActReply, error) { return c.Freeze(ctx, "default", &v1.FreezeRequest{Until: at}) },
		"thaw":        func() (*v1.ActReply, error) { return c.Thaw(ctx, "default", new(v1.ThawRequest)) },
		"certificate": func() (*v1.ActReply, error) {
			return c.ImportCertificate(ctx, "default", &v1.ImportCertificateRequest{KID: "k", Chain: "c"})
		},
	} {
		if reply, err := act(); err != nil || reply.Keyset.Name != "default" || len(reply.Keyset.Generations) != 1 {
			t.Errorf("%s: %+v, %v", name, reply, err)
		}
	}
	reply, err := c.Revoke(ctx, "default", &v1.RevokeRequest{All: true, Reason: "r", AcceptUnpublished: true})
	if err != nil || !reply.Revoked[0].Kept || reply.Revoked[0].KID != "gone" || !reply.AcceptedUntil.Equal(at) || !reply.RefusedUntil.Equal(at) {
		t.Errorf("revoke: %+v, %v", reply, err)
	}
	if plan, err := c.Plan(ctx, "default"); err != nil || len(plan.Steps) != 1 || plan.Steps[0].Generation != 2 || !plan.Steps[0].At.Equal(at) {
		t.Errorf("plan: %+v, %v", plan, err)
	}
	w.Operator.Requests = []v1.CertificateRequest{{KID: "k", CSR: "PEM"}}
	if list, err := c.CSR(ctx, "default"); err != nil || len(list.Requests) != 1 || list.Requests[0].CSR != "PEM" {
		t.Errorf("csr: %+v, %v", list, err)
	}
	for _, limit := range []int{0, 7} {
		if history, err := c.History(ctx, "default", limit); err != nil || len(history.Events) != 1 || history.Events[0].KIDs[0] != "k" {
			t.Errorf("history: %+v, %v", history, err)
		}
	}
	if _, err := c.History(ctx, "default", -1); !errors.Is(err, client.ErrBadRequest) {
		t.Errorf("history of -1: %v", err)
	}
	if reply, err := c.Reload(ctx, &v1.ReloadRequest{DryRun: true, Remove: []string{"a", "b"}}); err != nil || !reply.Applied || reply.Changes[0].Change != "less" {
		t.Errorf("reload: %+v, %v", reply, err)
	}
	if err := c.AcceptClock(ctx); err != nil {
		t.Errorf("clock: %v", err)
	}

	calls := w.Operator.Calls()
	by := fmt.Sprintf("uid %d", os.Getuid())
	for _, want := range []string{
		"rotate default {By:" + by + " Why:r KID:k}", "rotate default {By:" + by + " Why: KID:}",
		"freeze default {By:" + by + " Why: KID:} 2031-01-01T00:00:00Z", "thaw default {By:" + by + " Why: KID:}",
		"revoke default {Act:{By:" + by + " Why:r KID:} All:true Through:0 AcceptUnpublished:true KeepObject:false}",
		`certificate default "c" {By:` + by + ` Why: KID:k}`, "csr default",
		"plan default", "history default 100", "history default 7",
		"reload " + by + " {DryRun:true Remove:[a b]}", "clock accept {By:" + by + " Why: KID:}",
	} {
		if !slices.Contains(calls, want) {
			t.Errorf("%s is not among %q", want, calls)
		}
	}
	if len(calls) != 12 {
		t.Errorf("%d calls: %q", len(calls), calls)
	}
}

func TestRefusedActs(t *testing.T) {
	c, w := open(t)
	for kind, want := range map[rotation.RefusalKind]error{
		rotation.RefusedNotYet: client.ErrNotYet, rotation.RefusedRateLimited: client.ErrRateLimited,
		rotation.RefusedFrozen: client.ErrFrozen, rotation.RefusedUnknownKID: client.ErrKidUnknown,
	} {
		w.Operator.Err = &rotation.Refusal{Kind: kind, Detail: "because", At: time.Now().Add(time.Hour)}
		_, err := c.Rotate(t.Context(), "default", &v1.RotateRequest{KID: "k"})
		if e, _ := errors.AsType[*v1.Error](err); !errors.Is(err, want) || e.Detail != "because" || e.RetryAfterMillis < 3_590_000 {
			t.Errorf("%s: %v", kind, err)
		}
	}
	w.Operator.Err = &v1.Error{Reason: v1.BadConfiguration, Detail: "line 3"}
	if _, err := c.Reload(t.Context(), new(v1.ReloadRequest)); !errors.Is(err, client.ErrBadConfiguration) {
		t.Errorf("reload: %v", err)
	}
}

// TestWhatIsSentTwice: a connection that ends under an act leaves open whether it was done. What
// changes nothing when it is done again is asked for again; a rotation of whichever key signs would
// rotate twice, and a PIN be tried twice.
func TestWhatIsSentTwice(t *testing.T) {
	for name, test := range map[string]struct {
		act  func(context.Context, *client.Client) error
		sent int64
	}{
		"rotate": {func(ctx context.Context, c *client.Client) error {
			_, err := c.Rotate(ctx, "default", &v1.RotateRequest{Reason: "r"})
			return err
		}, 1},
		"rotate with kid": {func(ctx context.Context, c *client.Client) error {
			_, err := c.Rotate(ctx, "default", &v1.RotateRequest{KID: "k"})
			return err
		}, 2},
		"revoke": {func(ctx context.Context, c *client.Client) error {
			_, err := c.Revoke(ctx, "default", &v1.RevokeRequest{KID: "k", Reason: "r"})
			return err
		}, 2},
		"freeze": {func(ctx context.Context, c *client.Client) error {
			_, err := c.Freeze(ctx, "default", new(v1.FreezeRequest))
			return err
		}, 2},
		"thaw": {func(ctx context.Context, c *client.Client) error {
			_, err := c.Thaw(ctx, "default", new(v1.ThawRequest))
			return err
		}, 2},
		"reload": {func(ctx context.Context, c *client.Client) error {
			_, err := c.Reload(ctx, new(v1.ReloadRequest))
			return err
		}, 1},
		"reload, dry": {func(ctx context.Context, c *client.Client) error {
			_, err := c.Reload(ctx, &v1.ReloadRequest{DryRun: true})
			return err
		}, 2},
		"revoke all": {func(ctx context.Context, c *client.Client) error {
			_, err := c.Revoke(ctx, "default", &v1.RevokeRequest{All: true, Reason: "r"})
			return err
		}, 1},
		"revoke all through": {func(ctx context.Context, c *client.Client) error {
			_, err := c.Revoke(ctx, "default", &v1.RevokeRequest{All: true, Through: 3, Reason: "r"})
			return err
		}, 2},
		"certificate": {func(ctx context.Context, c *client.Client) error {
			_, err := c.ImportCertificate(ctx, "default", &v1.ImportCertificateRequest{KID: "k", Chain: "c"})
			return err
		}, 1},
		"clock": {func(ctx context.Context, c *client.Client) error { return c.AcceptClock(ctx) }, 1},
		"pin": {func(ctx context.Context, c *client.Client) error {
			_, err := c.PINRetry(ctx, "main")
			return err
		}, 1},
		"accept": {func(ctx context.Context, c *client.Client) error {
			_, err := c.Accept(ctx, "main", "4711")
			return err
		}, 1},
		"policy test": {func(ctx context.Context, c *client.Client) error {
			_, err := c.PolicyTest(ctx, new(v1.PolicyTestRequest))
			return err
		}, 2},
		"decrypt": {func(ctx context.Context, c *client.Client) error {
			_, err := c.Decrypt(ctx, "enc", new(v1.DecryptRequest))
			return err
		}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			socket, sent := forgetful(t)
			c, err := client.Dial(socket)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := c.Keysets(t.Context()); err != nil { // which leaves a connection lying idle
				t.Fatal(err)
			}
			err = test.act(t.Context(), c)
			if got := sent.Load(); got != test.sent || (err == nil) != (test.sent == 2) {
				t.Errorf("sent %d times, want %d; %v", got, test.sent, err)
			}
			if err != nil && !errors.Is(err, client.ErrUnreachable) {
				t.Errorf("%v", err)
			}
		})
	}
}

// forgetful answers the first request on each connection, and hangs up on the second once it is
// read. It counts the POST requests.
func forgetful(t *testing.T) (socket string, sent *atomic.Int64) {
	t.Helper()
	socket, sent = clienttest.SocketPath(t), new(atomic.Int64)
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var answering sync.WaitGroup
	t.Cleanup(answering.Wait)
	t.Cleanup(func() { l.Close() })
	answering.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			r := bufio.NewReader(conn)
			for first := true; ; first = false {
				req, err := http.ReadRequest(r)
				if err != nil {
					break
				}
				io.Copy(io.Discard, req.Body)
				if req.Method == http.MethodPost {
					sent.Add(1)
				}
				if !first {
					break
				}
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
			}
			conn.Close()
		}
	})
	return socket, sent
}
