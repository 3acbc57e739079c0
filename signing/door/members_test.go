package door

import (
	"bufio"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	pb "keysetd.example/api/v1/keysetdpb"

	"keysetd.example/signing/signingtest"
)

// Users who are known by the rule of one group count as one, over either language: a person has tens of thousands of
// them (subuid(5)). A user with a rule of its own is served beside them.
func TestManyUsersByOneRule(t *testing.T) {
	h, server, uids := town(t)
	people := signingtest.All(0)
	people.Name, people.UID, people.GID = "people", nil, new(uint32(os.Getgid()))
	h.Service.Swap(h.State(t, people, signingtest.All(7009)))
	half := "POST /v1/keysets/raw/sign HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n" +
		`{"alg":"EdDSA","payload":"` + strings.Repeat("A", 256<<10)
	var open []net.Conn
	for i := range 128 {
		c := h.dialAs(t, uids, 100000+uint32(i))
		io.WriteString(c, half) // refused ones are closed under it
		open = append(open, c)
	}
	refused := h.metrics.requests.WithLabelValues(overHTTP, "sign", "rate_limited")
	for deadline := time.Now().Add(5 * time.Second); testutil.ToFloat64(refused) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing was refused")
		}
	}
	if total, _ := server.bodies.held(); total > maxBodiesOfOne {
		t.Errorf("the members of a group hold %d bytes", total)
	}
	if got := h.requestAs(t, uids, 7009, "POST", "/v1/keysets/raw/sign", ed25519Body); !strings.Contains(got, "200 OK") {
		t.Errorf("another user: %s", got)
	}
	go func() { uids <- 7009 }()
	if _, err := pb.NewSignerClient(h.grpc(t)).Sign(t.Context(), &pb.SignRequest{Keyset: "raw", Alg: "EdDSA", Input: &pb.SignRequest_Payload{Payload: []byte("x")}}); err != nil {
		t.Errorf("another user over gRPC: %v", err)
	}
	for _, c := range open {
		c.Close()
	}
	nothingHeld(t, server)
}

// Connections, too, are theirs together.
func TestConnectionsOfManyUsersByOneRule(t *testing.T) {
	h, _, uids := town(t, func(c *Config) { c.ConnectionsPerUID, c.BodyTimeout = 4, time.Minute })
	people := signingtest.All(0)
	people.Name, people.UID, people.GID = "people", nil, new(uint32(os.Getgid()))
	h.Service.Swap(h.State(t, people, signingtest.All(7009)))
	busy := func(uid uint32) net.Conn {
		c := h.dialAs(t, uids, uid)
		io.WriteString(c, "POST /v1/keysets/raw/sign HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n")
		if got, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.Contains(got, "100") { // its body is being waited for
			t.Fatalf("uid %d: %q, %v", uid, got, err)
		}
		return c
	}
	for uid := range uint32(4) {
		busy(100000 + uid)
	}
	if got := h.requestAs(t, uids, 100004, "GET", "/v1/whoami", ""); strings.Contains(got, "200 OK") {
		t.Errorf("a fifth user of the group: %s", got)
	}
	if got := h.requestAs(t, uids, 7009, "GET", "/v1/whoami", ""); !strings.Contains(got, `{"uid":7009,`) {
		t.Errorf("another user: %s", got)
	}
}
