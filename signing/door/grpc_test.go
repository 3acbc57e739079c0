package door

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "keysetd.example/api/v1/keysetdpb"

	v1 "keysetd.example/api/v1"
	"keysetd.example/internal/keyspec"
	"keysetd.example/rotation"
)

// grpc connects to the house as a client in another language would.
func (h *house) grpc(t testing.TB, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	options = append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))
	c, err := grpc.NewClient("unix:"+h.socket, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// checkStatus checks what a caller is told over gRPC.
func checkStatus(t *testing.T, name string, err error, code codes.Code, reason v1.Reason, field string) *errdetails.RetryInfo {
	t.Helper()
	s := status.Convert(err)
	var info *errdetails.ErrorInfo
	var retry *errdetails.RetryInfo
	for _, d := range s.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			info = d
		case *errdetails.RetryInfo:
			retry = d
		}
	}
	if s.Code() != code || info.GetReason() != string(reason) || info.GetDomain() != "keysetd" || info.GetMetadata()["field"] != field || s.Message() == "" {
		t.Errorf("%s: got %v %q %v", name, s.Code(), s.Message(), s.Details())
	}
	return retry
}

func TestSignOverGRPC(t *testing.T) {
	h := open(t)
	signer := pb.NewSignerClient(h.grpc(t))
	body := claims(`,"x": "\u0041"`)
	reply, err := signer.SignJWT(t.Context(), &pb.SignJWTRequest{
		Keyset: "default", Input: &pb.SignJWTRequest_Claims{Claims: []byte(body)}, Header: []byte(`{"typ":"at+jwt"}`), Alg: "ES256",
	})
	if err != nil {
		t.Fatal(err)
	}
	sig, err := jose.ParseSignedCompact(reply.Token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := sig.Verify(h.Keys[keyspec.P256].Public)
	if err != nil || string(payload) != body || sig.Signatures[0].Protected.ExtraHeaders["typ"] != "at+jwt" {
		t.Errorf("payload %s, want %s; %v", payload, body, err)
	}
	if caller := h.Audit.Last().Caller; int(caller.UID) != os.Getuid() || int(caller.GID) != os.Getgid() || int(caller.PID) != os.Getpid() {
		t.Errorf("caller %+v", caller)
	}

	// The signing input of that token gives its signature over again, which is not the same one.
	input := reply.Token[:strings.LastIndexByte(reply.Token, '.')]
	again, err := signer.SignJWT(t.Context(), &pb.SignJWTRequest{Keyset: "default", Input: &pb.SignJWTRequest_SigningInput{SigningInput: input}})
	if err != nil || len(again.GetSignature()) != 64 || again.GetToken() != "" {
		t.Errorf("signing input: %v %v", again, err)
	}
	for name, req := range map[string]*pb.SignRequest{
		"payload": {Keyset: "raw", Alg: "EdDSA", Input: &pb.SignRequest_Payload{Payload: []byte("hi")}},
		"empty":   {Keyset: "raw", Alg: "EdDSA", Input: &pb.SignRequest_Payload{}},
		"digest":  {Keyset: "raw", Alg: "ES256", Input: &pb.SignRequest_Digest{Digest: make([]byte, 32)}},
	} {
		if reply, err := signer.Sign(t.Context(), req); err != nil || len(reply.GetSignature()) != 64 || reply.GetAlg() != req.Alg {
			t.Errorf("%s: %v %v", name, reply, err)
		}
	}
	assertion, err := signer.SignClientAssertion(t.Context(), &pb.SignClientAssertionRequest{Keyset: "any", ClientId: "c", Audience: "https://as.example", Alg: "ES256"})
	if err != nil || strings.Count(assertion.GetClientAssertion(), ".") != 2 || !assertion.GetExpiresAt().AsTime().After(time.Now()) {
		t.Errorf("assertion: %v %v", assertion, err)
	}
	for operation, want := range map[string]float64{"jwt": 2, "sign": 3} {
		if got := testutil.ToFloat64(h.metrics.requests.WithLabelValues("grpc", operation, "ok")); got != want {
			t.Errorf("requests of %s: %v", operation, got)
		}
	}
}

func TestBatchOverBothLanguages(t *testing.T) {
	h := open(t)
	reply, err := pb.NewSignerClient(h.grpc(t)).Batch(t.Context(), &pb.BatchRequest{Keyset: "any", Items: []*pb.BatchItem{
		{Item: &pb.BatchItem_Jwt{Jwt: &pb.SignJWTRequest{Alg: "ES256", Input: &pb.SignJWTRequest_Claims{Claims: []byte(claims(""))}}}},
		{Item: &pb.BatchItem_Sign{Sign: &pb.SignRequest{Alg: "ES256", Input: &pb.SignRequest_Digest{Digest: []byte("short")}}}},
		{Item: &pb.BatchItem_Sign{Sign: &pb.SignRequest{Alg: "EdDSA", Input: &pb.SignRequest_Payload{Payload: []byte("x")}}}},
	}})
	if err != nil || len(reply.GetItems()) != 3 {
		t.Fatal(reply, err)
	}
	if reply.Items[0].GetJwt().GetToken() == "" || reply.Items[1].GetError().GetReason() != string(v1.BadDigest) || len(reply.Items[2].GetSign().GetSignature()) != 64 {
		t.Errorf("%v", reply)
	}
	resp, body := h.do(t, "POST", "/v1/keysets/any/batch", `{"items":[{"jwt":{"alg":"ES256","claims":`+claims("")+`}},{"sign":{"alg":"ES256","digest":"AAAA"}},{}]}`)
	if resp.StatusCode != 200 || !strings.HasPrefix(body, `{"items":[{"jwt":{"token":"ey`) || !strings.Contains(body, `{"error":{"reason":"bad_digest"`) {
		t.Errorf("%s %s", resp.Status, body)
	}
	resp, body = h.do(t, "POST", "/v1/keysets/any/batch", `{"items":[`+strings.Repeat("{},", 256)+`{}]}`)
	checkProblem(t, "257", resp, body, 400, v1.BadRequest, "/items")
	resp, body = h.do(t, "POST", "/v1/keysets/any/batch", `{"items":[{"jwt":{"alg":"`+strings.Repeat("x", 1<<20)+`"}}]}`)
	checkProblem(t, "1 MiB", resp, body, 413, v1.TooLarge, "")
}

func TestWhoAmIOverBothLanguages(t *testing.T) {
	h := open(t)
	groups, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	reply, err := pb.NewAdminClient(h.grpc(t)).WhoAmI(t.Context(), &pb.WhoAmIRequest{})
	if err != nil || int(reply.GetUid()) != os.Getuid() || int(reply.GetPid()) != os.Getpid() || len(reply.GetGrants()) != 1 {
		t.Fatal(reply, err)
	}
	for _, g := range groups {
		if !slices.Contains(reply.GetGroups(), uint32(g)) {
			t.Errorf("group %d is not among %v", g, reply.GetGroups())
		}
	}
	if resp, body := h.do(t, "GET", "/v1/whoami", ""); resp.StatusCode != 200 || !strings.HasPrefix(body, fmt.Sprintf(`{"uid":%d,`, os.Getuid())) {
		t.Errorf("%s %s", resp.Status, body)
	}
	test := fmt.Sprintf(`{"uid":%d,"gid":0,"operation":"sign","keyset":"raw","alg":"ES256"}`, os.Getuid())
	if resp, body := h.do(t, "POST", "/v1/policy-test", test); resp.StatusCode != 200 || !strings.Contains(body, `"granted":true`) {
		t.Errorf("%s %s", resp.Status, body)
	}
	tested, err := pb.NewAdminClient(h.grpc(t)).PolicyTest(t.Context(), &pb.PolicyTestRequest{Uid: new(uint32(4711)), Gid: new(uint32(4711)), Operation: "sign", Keyset: "raw", Alg: "ES256"})
	if err != nil || tested.GetGranted() || tested.GetReason() == "" {
		t.Errorf("%v %v", tested, err)
	}
}

// TestActsOverGRPC: each method reaches its act with what the message says.
func TestActsOverGRPC(t *testing.T) {
	h := open(t)
	at := time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
	h.Operator.Revoked = rotation.Revoked{Keys: []rotation.Revocation{{KID: "gone", At: at}}, AcceptedUntil: at}
	h.Operator.Steps = []rotation.Forecast{{At: at, Step: rotation.Step{Kind: rotation.StepActivate, Generation: 2, Reason: "it is time"}}}
	h.Operator.Events = []rotation.Event{{At: at, What: "made", By: "schedule"}}
	h.Operator.Reloaded = v1.ReloadReply{Applied: true, Changes: []v1.KeysetChange{{Keyset: "a", Change: "b", At: at}}}
	h.Operator.Requests = []v1.CertificateRequest{{KID: "k", CSR: "PEM", ValidUntil: at}}
	h.FoundSerial = "4711"
	keysets, admin := pb.NewKeysetsClient(h.grpc(t)), pb.NewAdminClient(h.grpc(t))
	ctx := t.Context()
	for name, test := range map[string]struct {
		do   func() (fmt.Stringer, error)
		call string
		want string // in the reply, as protobuf prints it
	}{
		"list": {func() (fmt.Stringer, error) { return keysets.List(ctx, &pb.ListRequest{}) }, "", `serial:"0123"`},
		"get":  {func() (fmt.Stringer, error) { return keysets.Get(ctx, &pb.GetRequest{Keyset: "default"}) }, "", `spec:"p-256"`},
		"plan": {func() (fmt.Stringer, error) { return keysets.Plan(ctx, &pb.PlanRequest{Keyset: "default"}) }, "plan default", `generation:2`},
		"rotate": {func() (fmt.Stringer, error) {
			return keysets.Rotate(ctx, &pb.RotateRequest{Keyset: "default", Kid: "k", Reason: "r"})
		}, "rotate default {By: Why:r KID:k}", `name:"default"`},
		"csr": {func() (fmt.Stringer, error) { return keysets.CSR(ctx, &pb.CSRRequest{Keyset: "default"}) }, "csr default", `csr:"PEM"`},
		"certificate": {func() (fmt.Stringer, error) {
			return keysets.ImportCertificate(ctx, &pb.ImportCertificateRequest{Keyset: "default", Kid: "k", Chain: "PEM"})
		}, `certificate default "PEM" {By: Why: KID:k}`, `name:"default"`},
		"thaw": {func() (fmt.Stringer, error) {
			return keysets.Thaw(ctx, &pb.ThawRequest{Keyset: "default", Reason: "r"})
		}, "thaw default {By: Why:r KID:}", `name:"default"`},
		"clock": {func() (fmt.Stringer, error) { return admin.AcceptClock(ctx, &pb.AcceptClockRequest{}) }, "clock accept {By: Why: KID:}", ``},
		"history": {func() (fmt.Stringer, error) {
			return keysets.History(ctx, &pb.HistoryRequest{Keyset: "default", Limit: 7})
		}, "history default 7", `what:"made"`},
		"freeze": {func() (fmt.Stringer, error) {
			return keysets.Freeze(ctx, &pb.FreezeRequest{Keyset: "default", Until: timestamppb.New(at), Reason: "r"})
		}, "freeze default {By: Why:r KID:} 2031-01-01T00:00:00Z", `name:"default"`},
		"revoke": {func() (fmt.Stringer, error) {
			return keysets.Revoke(ctx, &pb.RevokeRequest{Keyset: "default", All: true, Through: 3, Reason: "r", AcceptUnpublished: true, KeepObject: true})
		}, "revoke default {Act:{By: Why:r KID:} All:true Through:3 AcceptUnpublished:true KeepObject:true}", `kid:"gone"`},
		"reload": {func() (fmt.Stringer, error) {
			return admin.Reload(ctx, &pb.ReloadRequest{DryRun: true, Remove: []string{"a"}})
		}, "reload  {DryRun:true Remove:[a]}", `change:"b"`},
		"accept": {func() (fmt.Stringer, error) {
			return admin.AcceptToken(ctx, &pb.AcceptTokenRequest{Token: "main", Serial: "4711"})
		}, "", `found_serial:"4711"`},
		"pin": {func() (fmt.Stringer, error) { return admin.RetryPIN(ctx, &pb.RetryPINRequest{Token: "main"}) }, "", `name:"main"`},
	} {
		before := len(h.Operator.Calls())
		reply, err := test.do()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := strings.ReplaceAll(reply.String(), ":  ", ":"); !strings.Contains(strings.ReplaceAll(got, ": ", ":"), test.want) {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
		calls := h.Operator.Calls()[before:]
		if got := strings.Replace(strings.Join(calls, ";"), h.by(), "", 1); got != test.call {
			t.Errorf("%s: asked for %q, want %q", name, got, test.call)
		}
	}
	if !slices.Equal(h.Accepted, []string{"4711"}) || !slices.Equal(h.Retried, []string{"main"}) {
		t.Errorf("accepted %v, retried %v", h.Accepted, h.Retried)
	}
}

func TestBadMessages(t *testing.T) {
	h := open(t)
	c := h.grpc(t)
	signer, keysets := pb.NewSignerClient(c), pb.NewKeysetsClient(c)
	jwt := func(change func(*pb.SignJWTRequest)) error {
		req := &pb.SignJWTRequest{Keyset: "default", Input: &pb.SignJWTRequest_Claims{Claims: []byte(claims(""))}}
		change(req)
		_, err := signer.SignJWT(t.Context(), req)
		return err
	}
	header := func(json string) error { return jwt(func(r *pb.SignJWTRequest) { r.Header = []byte(json) }) }
	input := func(claims string) error {
		return jwt(func(r *pb.SignJWTRequest) { r.Input = &pb.SignJWTRequest_Claims{Claims: []byte(claims)} })
	}
	batch := func(item *pb.SignJWTRequest) error {
		_, err := signer.Batch(t.Context(), &pb.BatchRequest{Keyset: "default", Items: []*pb.BatchItem{{Item: &pb.BatchItem_Jwt{Jwt: item}}}})
		return err
	}
	news := &pb.SignJWTRequest{}
	news.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1))
	_, many := signer.Batch(t.Context(), &pb.BatchRequest{Keyset: "default", Items: slices.Repeat([]*pb.BatchItem{{}}, 257)})
	_, until := keysets.Freeze(t.Context(), &pb.FreezeRequest{Keyset: "default", Until: &timestamppb.Timestamp{Seconds: 1 << 60}})
	_, limit := keysets.History(t.Context(), &pb.HistoryRequest{Keyset: "default", Limit: -1})
	for name, test := range map[string]struct {
		err    error
		code   codes.Code
		reason v1.Reason
		field  string
	}{
		"keyset":           {jwt(func(r *pb.SignJWTRequest) { r.Keyset = "nope" }), codes.NotFound, v1.KeysetUnknown, ""},
		"nothing":          {jwt(func(r *pb.SignJWTRequest) { r.Input = nil }), codes.InvalidArgument, v1.BadRequest, "/claims"},
		"claims":           {input("[]"), codes.InvalidArgument, v1.BadClaims, "/claims"},
		"claims twice":     {input(claims(`,"a":1,"a":2`)), codes.InvalidArgument, v1.BadClaims, "/claims/a"},
		"claims 1e400":     {input(`{"exp":1e400}`), codes.InvalidArgument, v1.BadClaims, "/claims/exp"},
		"claims trailing":  {input(claims("") + "{}"), codes.InvalidArgument, v1.BadClaims, "/claims"},
		"claims not UTF-8": {input(claims(",\"a\":\"\xff\"")), codes.InvalidArgument, v1.BadClaims, "/claims/a"},
		"claims large":     {input(claims(`,"a":"` + strings.Repeat("x", 65<<10) + `"`)), codes.ResourceExhausted, v1.TooLarge, "/claims"},
		"header":           {header("[]"), codes.InvalidArgument, v1.BadHeader, "/header"},
		"header twice":     {header(`{"typ":"a","typ":"b"}`), codes.InvalidArgument, v1.BadHeader, "/header/typ"},
		"header trailing":  {header(`{}{}`), codes.InvalidArgument, v1.BadHeader, "/header"},
		"header cut":       {header(`{"typ`), codes.InvalidArgument, v1.BadHeader, "/header"},
		"header large":     {header(`{"typ":"` + strings.Repeat("x", 20<<10) + `"}`), codes.ResourceExhausted, v1.TooLarge, "/header"},
		"header crit":      {header(`{"crit":["b64"],"b64":false}`), codes.InvalidArgument, v1.BadHeader, "/header/b64"},
		"kid":              {jwt(func(r *pb.SignJWTRequest) { r.Kid = "gone" }), codes.FailedPrecondition, v1.KidNotActive, "/kid"},
		"purpose":          {jwt(func(r *pb.SignJWTRequest) { r.Keyset = "raw" }), codes.PermissionDenied, v1.PurposeMismatch, ""},
		"unknown field":    {jwt(func(r *pb.SignJWTRequest) { r.ProtoReflect().SetUnknown(news.ProtoReflect().GetUnknown()) }), codes.InvalidArgument, v1.BadRequest, ""},
		"unknown, deep":    {batch(news), codes.InvalidArgument, v1.BadRequest, "/items/0/jwt"},
		"item's header":    {batch(&pb.SignJWTRequest{Header: []byte("x")}), codes.InvalidArgument, v1.BadHeader, "/items/0/jwt/header"},
		"item's keyset":    {batch(&pb.SignJWTRequest{Keyset: "raw"}), codes.InvalidArgument, v1.BadRequest, "/items/0/jwt/keyset"},
		"batch of 257":     {many, codes.InvalidArgument, v1.BadRequest, "/items"},
		"no instant":       {until, codes.InvalidArgument, v1.BadRequest, "/until"},
		"limit":            {limit, codes.InvalidArgument, v1.BadRequest, ""},
	} {
		checkStatus(t, name, test.err, test.code, test.reason, test.field)
	}
	if err := input(strings.Repeat("x", maxMessage)); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a message over the limit: %v", err)
	}
	if err := c.Invoke(t.Context(), "/keysetd.v1.Signer/Forge", &pb.ListRequest{}, &pb.ListResponse{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("a method that there is not: %v", err)
	}
	if err := jwt(func(*pb.SignJWTRequest) {}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
