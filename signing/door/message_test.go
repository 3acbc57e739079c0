package door

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	pb "keysetd.example/api/v1/keysetdpb"
)

// A member of another type is told which type it should have.
func TestWantedType(t *testing.T) {
	h := open(t)
	for _, test := range []struct{ path, body, field, want string }{
		{"/v1/keysets/default/client-assertion", `{"client_id":"a","audience":["b"]}`, "/audience", "audience must be a string"},
		{"/v1/keysets/default/client-assertion", `{"client_id":"a","audience":"b","lifetime":60}`, "/lifetime", `lifetime must be a string such as "60s"`},
		{"/v1/keysets/default/batch", `{"items":{}}`, "/items", "items must be an array"},
		{"/v1/keysets/default/batch", `{"items":[{"jwt":7}]}`, "/items/0/jwt", "items/0/jwt must be an object"},
		{"/v1/keysets/raw/sign", `{"payload":7}`, "/payload", "payload must be a string"},
		{"/v1/keysets/default/freeze", `{"until":7}`, "/until", `until must be a time in a string such as "2026-01-31T12:00:00Z"`},
		{"/v1/reload", `{"dry_run":"yes"}`, "/dry_run", "dry_run must be true or false"},
		{"/v1/policy-test", `{"uid":"root"}`, "/uid", "uid must be a whole number from 0 to 4294967295"},
		{"/v1/policy-test", `{"uid":1,"groups":[4294967296]}`, "/groups/0", "groups/0 must be a whole number from 0 to 4294967295"},
	} {
		resp, body := h.do(t, "POST", test.path, test.body)
		if resp.StatusCode != 400 || !strings.Contains(body, fmt.Sprintf(`"detail":%q`, test.want)) || !strings.Contains(body, fmt.Sprintf(`"field":%q`, test.field)) {
			t.Errorf("%s %s: %s, want %s", test.path, test.body, body, test.want)
		}
	}
}

// What is 0 or false by gRPC is there all the same, for those who print it as JSON.
func TestZeroIsThere(t *testing.T) {
	h := open(t)
	admin := pb.NewAdminClient(h.grpc(t))
	who, err := admin.WhoAmI(t.Context(), &pb.WhoAmIRequest{})
	if err != nil || who.Uid == nil || who.Gid == nil || who.Pid == nil || int(who.GetUid()) != os.Getuid() {
		t.Errorf("%v, %v", who, err)
	}
	reply, err := admin.PolicyTest(t.Context(), &pb.PolicyTestRequest{Uid: new(uint32(4711)), Gid: new(uint32(0)), Operation: "sign", Keyset: "raw", Alg: "ES256"})
	if text := protojson.Format(reply); err != nil || !strings.Contains(text, "granted") || reply.GetGranted() {
		t.Errorf("%s, %v", text, err)
	}
}

// Whoever leaves out the uid is not answered for root.
func TestUIDIsRequired(t *testing.T) {
	h := open(t)
	if resp, body := h.do(t, "POST", "/v1/policy-test", `{"operation":"read","keyset":"raw"}`); resp.StatusCode != 400 || !strings.Contains(body, `"field":"/uid"`) {
		t.Error(body)
	}
	_, err := pb.NewAdminClient(h.grpc(t)).PolicyTest(t.Context(), &pb.PolicyTestRequest{Operation: "read", Keyset: "raw"})
	if !strings.Contains(status.Convert(err).Message(), "uid is missing; give the number of the user that is asked about") {
		t.Error(err)
	}
}

// An error means the same in both languages, so it speaks none of them.
func TestErrorsSpeakNoLanguage(t *testing.T) {
	h := open(t)
	signer := pb.NewSignerClient(h.grpc(t))
	for keyset, want := range map[string]string{"": "keyset is missing", "nosuch": "no keyset \"nosuch\" is configured"} {
		_, err := signer.Sign(t.Context(), &pb.SignRequest{Keyset: keyset, Alg: "ES256"})
		if text := status.Convert(err).Message(); !strings.HasPrefix(text, want) || slices.ContainsFunc([]string{"GET", "/v1"}, func(s string) bool { return strings.Contains(text, s) }) {
			t.Errorf("%q: %v", keyset, err)
		}
	}
}
