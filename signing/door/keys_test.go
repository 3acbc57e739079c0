package door

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "keysetd.example/api/v1/keysetdpb"

	v1 "keysetd.example/api/v1"
	"keysetd.example/signing/policy"
)

// Both languages list the same keys, by Auth0's names.
func TestKeysOverBothLanguages(t *testing.T) {
	h := open(t)
	h.List(t)
	keysets := pb.NewKeysetsClient(h.grpc(t))
	at := func(s *timestamppb.Timestamp) time.Time {
		if s == nil {
			return time.Time{}
		}
		return s.AsTime()
	}
	for _, keyset := range []string{"default", "enc"} {
		resp, body := h.do(t, "GET", "/v1/keysets/"+keyset+"/keys", "")
		var list v1.KeyList
		if err := json.Unmarshal([]byte(body), &list); err != nil || resp.StatusCode != 200 || len(list.Keys) != 4 {
			t.Fatalf("%s: %s %s", keyset, resp.Status, body)
		}
		now := list.Keys[0]
		text := func(s string) string { return fmt.Sprintf("%q", s) }
		for _, want := range []string{
			`{"keys":[{"kid":"now","current":true,"next":false,"previous":false,"current_since":"2031-01-01T12:00:00Z","cert":` + text(now.Cert) +
				`,"pkcs7":` + text(now.PKCS7) + `,"fingerprint":` + text(now.Fingerprint) + `,"thumbprint":` + text(now.Thumbprint) + `,"revoked":false,"spec":"p-256","generation":2,"state":"active"},`,
			`{"kid":"next","current":false,"next":true,"previous":false,"revoked":false,"spec":"p-256","generation":3,"state":"pending"},`,
			`{"kid":"before","current":false,"next":false,"previous":true,"current_since":"2030-01-01T12:00:00Z","current_until":"2031-01-01T12:00:00Z","revoked":false,`,
			`{"kid":"gone","current":false,"next":false,"previous":false,"revoked":true,"revoked_at":"2031-01-01T13:00:00Z","spec":"p-521","generation":1,"state":"revoked"}]}`,
		} {
			if !strings.Contains(body, want) {
				t.Errorf("%s: %s is not in\n%s", keyset, want, body)
			}
		}
		if now.Cert == "" || now.PKCS7 == "" || now.Fingerprint == "" || now.Thumbprint == "" {
			t.Errorf("%+v", now)
		}
		reply, err := keysets.Keys(t.Context(), &pb.KeysRequest{Keyset: keyset})
		if err != nil || len(reply.GetKeys()) != 4 {
			t.Fatal(keyset, reply, err)
		}
		for i, k := range reply.Keys {
			got := v1.ListedKey{
				KID: k.Kid, Current: k.Current, Next: k.Next, Previous: k.Previous, CurrentSince: at(k.CurrentSince), CurrentUntil: at(k.CurrentUntil),
				Cert: k.Cert, PKCS7: k.Pkcs7, Fingerprint: k.Fingerprint, Thumbprint: k.Thumbprint, Revoked: k.Revoked, RevokedAt: at(k.RevokedAt),
				Spec: k.Spec, Generation: int(k.Generation), State: k.State,
			}
			if want := list.Keys[i]; got != want {
				t.Errorf("by gRPC %+v, by HTTP %+v", got, want)
			}
		}
	}
}

func TestBadKeys(t *testing.T) {
	h := open(t)
	keysets := pb.NewKeysetsClient(h.grpc(t))
	ask := func(keyset string) error {
		_, err := keysets.Keys(t.Context(), &pb.KeysRequest{Keyset: keyset})
		return err
	}
	resp, body := h.do(t, "GET", "/v1/keysets/nope/keys", "")
	checkProblem(t, "keyset", resp, body, 404, v1.KeysetUnknown, "")
	checkStatus(t, "keyset", ask("nope"), codes.NotFound, v1.KeysetUnknown, "")
	resp, body = h.do(t, "POST", "/v1/keysets/default/keys", "{}")
	checkProblem(t, "method", resp, body, 405, v1.MethodNotAllowed, "")
}

// Whoever may not read is told the same of every keyset.
func TestKeysNotGranted(t *testing.T) {
	h, _, uids := town(t)
	h.Service.Swap(h.State(t, policy.Rule{Name: "other", UID: new(uint32(7009)), Keysets: []string{"default", "nope"}, Operations: []policy.Operation{policy.Decrypt}}))
	for _, keyset := range []string{"default", "nope"} {
		if got := h.requestAs(t, uids, 7009, "GET", "/v1/keysets/"+keyset+"/keys", ""); !strings.Contains(got, " 403 ") || !strings.Contains(got, `"not_granted"`) {
			t.Errorf("%s: %s", keyset, got)
		}
		go func() { uids <- 7009 }()
		_, err := pb.NewKeysetsClient(h.grpc(t)).Keys(t.Context(), &pb.KeysRequest{Keyset: keyset})
		checkStatus(t, keyset, err, codes.PermissionDenied, v1.NotGranted, "")
	}
}
