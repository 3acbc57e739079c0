package door

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	pb "keysetd.example/api/v1/keysetdpb"

	v1 "keysetd.example/api/v1"
	"keysetd.example/hsm"
	"keysetd.example/internal/keyspec"
)

func TestFaultsOverGRPC(t *testing.T) {
	h := open(t, func(c *Config) { c.RequestTimeout = 200 * time.Millisecond })
	signer := pb.NewSignerClient(h.grpc(t))
	sign := func() error {
		_, err := signer.Sign(t.Context(), &pb.SignRequest{Keyset: "raw", Alg: "ES256", Input: &pb.SignRequest_Payload{Payload: []byte("x")}})
		return err
	}
	key := h.Keys[keyspec.P256]
	key.Fail(hsm.ErrOverloaded)
	if retry := checkStatus(t, "overloaded", sign(), codes.Unavailable, v1.Overloaded, ""); retry.GetRetryDelay().AsDuration() != 100*time.Millisecond {
		t.Errorf("retry %v", retry)
	}
	key.Fail(nil)
	key.Hook(func(context.Context) { panic("boom") })
	err := sign()
	checkStatus(t, "panic", err, codes.Internal, v1.Internal, "")
	if strings.Contains(err.Error(), "boom") || !strings.Contains(h.log.String(), "boom") {
		t.Errorf("%v\nlog %s", err, h.log)
	}
	key.Hook(func(ctx context.Context) { <-ctx.Done() })
	checkStatus(t, "timeout", sign(), codes.DeadlineExceeded, v1.DeadlineExceeded, "")
	key.Hook(nil)
	h.Service.Swap(h.State(t))
	checkStatus(t, "not granted", sign(), codes.PermissionDenied, v1.NotGranted, "")
}

func TestHealth(t *testing.T) {
	h := open(t)
	client := healthpb.NewHealthClient(h.grpc(t))
	for _, service := range []string{"", "keysetd.v1.Signer", "keysetd.v1.Keysets", "keysetd.v1.Admin"} {
		if reply, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{Service: service}); err != nil || reply.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("%q: %v %v", service, reply, err)
		}
	}
}

func TestEveryReasonHasACode(t *testing.T) {
	for reason, c := range statuses {
		if c.grpc == codes.OK || c.grpc == codes.Unknown {
			t.Errorf("%s has no code", reason)
		}
		if retried, client := c.http >= 500, c.grpc == codes.Unavailable || c.grpc == codes.Internal || c.grpc == codes.DeadlineExceeded; retried != client {
			t.Errorf("%s: %d over HTTP and %v over gRPC", reason, c.http, c.grpc)
		}
	}
}

// TestShutdownDrainsBothLanguages: what is under way is finished, what watches is ended.
func TestShutdownDrainsBothLanguages(t *testing.T) {
	h, server := openServer(t)
	c := h.grpc(t)
	watch, err := healthpb.NewHealthClient(c).Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	under, finish := make(chan struct{}, 2), make(chan struct{})
	h.Keys[keyspec.P256].Hook(func(context.Context) { under <- struct{}{}; <-finish })
	results := make(chan error, 2)
	go func() {
		_, err := pb.NewSignerClient(c).Sign(t.Context(), &pb.SignRequest{Keyset: "raw", Alg: "ES256", Input: &pb.SignRequest_Payload{}})
		results <- err
	}()
	go func() {
		req, _ := http.NewRequestWithContext(t.Context(), "POST", "http://x/v1/keysets/raw/sign", strings.NewReader(`{"alg":"ES256","payload":""}`))
		req.Header.Set("Content-Type", "application/json")
		resp, err := h.client.Do(req)
		if err == nil {
			defer resp.Body.Close()
			if resp.StatusCode != 200 {
				err = fmt.Errorf("%s", resp.Status)
			}
		}
		results <- err
	}()
	<-under
	<-under
	silent := h.dial(t)
	ended := make(chan error, 1)
	go func() { ended <- server.Shutdown(context.Background()) }()
	for { // told, and then ended
		if _, err := watch.Recv(); err != nil {
			break
		}
	}
	if _, err := net.Dial("unix", h.socket); err == nil {
		t.Error("a connection was accepted during Shutdown")
	}
	if _, err := silent.Read(make([]byte, 1)); err == nil {
		t.Error("a silent connection was left open")
	}
	close(finish)
	for range 2 {
		if err := <-results; err != nil {
			t.Errorf("a request under way: %v", err)
		}
	}
	if err := <-ended; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}
