package signing_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	v1 "keysetd.example/api/v1"
	"keysetd.example/signing/policy"
	"keysetd.example/signing/signingtest"
)

func TestWhoAmI(t *testing.T) {
	ops := policy.Rule{Name: "ops", GID: new(uint32(50)), Keysets: []string{policy.All}, Operations: []policy.Operation{policy.Read, policy.Rotate}, Priority: 5}
	svc := limited(func(r *policy.Rule) {
		r.Types, r.ClientIDs, r.Audiences = []string{"at+jwt"}, []string{"a"}, []string{"api"}
		r.Claims, r.Rate, r.Burst, r.Priority = `claims.exp - now <= 60`, 10, 20, 7
	})
	w := signingtest.New(t, svc, ops)
	for name, test := range map[string]struct {
		caller policy.Caller
		want   string
	}{
		"by uid":   {caller, `{"uid":1001,"gid":1001,"pid":4242,"grants":[SVC]}`},
		"by group": {policy.Caller{UID: 7, GID: 8, PID: 9, Groups: []uint32{50, 51}}, `{"uid":7,"gid":8,"pid":9,"groups":[50,51],"grants":[OPS]}`},
		"by gid":   {policy.Caller{UID: 7, GID: 50}, `{"uid":7,"gid":50,"pid":0,"grants":[OPS]}`},
		"by both":  {policy.Caller{UID: uid, GID: 50}, `{"uid":1001,"gid":50,"pid":0,"grants":[SVC,OPS]}`},
		"stranger": {policy.Caller{UID: 7}, `{"uid":7,"gid":0,"pid":0,"grants":[]}`},
		"nobody":   {policy.Caller{UID: 65534, GID: 50, Groups: []uint32{50}}, `{"uid":65534,"gid":50,"pid":0,"groups":[50],"grants":[]}`},
	} {
		reply, err := w.Service.WhoAmI(t.Context(), test.caller)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := json.Marshal(reply)
		want := strings.ReplaceAll(test.want, "SVC", `{"name":"svc","keysets":["any"],"operations":["jwt","client-assertion"],"algorithms":["ES256"],"types":["at+jwt"],"client_ids":["a"],"audiences":["api"],"claims":"claims.exp - now <= 60","rate":10,"burst":20,"priority":7}`)
		want = strings.ReplaceAll(want, "OPS", `{"name":"ops","keysets":["*"],"operations":["read","rotate"],"priority":5}`)
		if err != nil || string(got) != want {
			t.Errorf("%s: %v\ngot  %s\nwant %s", name, err, got, want)
		}
		if r := w.Audit.Last(); r.Operation != "whoami" || r.Outcome != "granted" || r.Caller.UID != test.caller.UID {
			t.Errorf("%s: audited as %+v", name, r)
		}
	}
	w.Audit.Fail(errors.New("disk full"))
	_, err := w.Service.WhoAmI(t.Context(), caller)
	expect(t, "without its line", err, v1.AuditFailed, "")
}

func TestPolicyTest(t *testing.T) {
	admin := policy.Rule{Name: "ops", UID: new(uint32(1)), Keysets: []string{"default"}, Operations: []policy.Operation{policy.Admin}}
	svc := limited(func(r *policy.Rule) {
		r.Keysets = []string{"default", "to come"}
		r.Types, r.ClientIDs = []string{"at+jwt", "JWT"}, []string{"a"}
		r.Claims = `claims.sub != "bad" && header.alg == "ES256" && (!has(claims.exp) || claims.exp - now <= 60)`
	})
	raw := policy.Rule{Name: "raw", UID: new(uint32(2)), Keysets: []string{"raw"}, Operations: []policy.Operation{policy.Sign}, Algorithms: []jose.SignatureAlgorithm{jose.ES256}}
	w := signingtest.New(t, admin, svc, raw)
	ask := func(as uint32, body string) (*v1.PolicyTestReply, error) {
		var req v1.PolicyTestRequest
		if err := json.Unmarshal([]byte(body), &req, json.RejectUnknownMembers(true)); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		return w.Service.PolicyTest(t.Context(), policy.Caller{UID: as}, &req)
	}
	for body, rule := range map[string]string{
		`{"uid":1001,"operation":"jwt","keyset":"default","claims":{"sub":"x"}}`:                                "svc",
		`{"uid":1001,"operation":"jwt","keyset":"default","alg":"ES256","typ":"at+jwt","claims":{"sub":"x"}}`:   "svc",
		`{"uid":1001,"operation":"jwt","keyset":"to come","alg":"ES256","claims":{"sub":"x"}}`:                  "svc",
		`{"uid":1001,"operation":"client-assertion","keyset":"default","client_id":"a"}`:                        "svc",
		`{"uid":2,"operation":"sign","keyset":"raw","alg":"ES256"}`:                                             "raw",
		`{"uid":1,"operation":"admin","keyset":""}`:                                                             "ops",
		`{"uid":1001,"operation":"jwt","keyset":"default","claims":{"sub":"bad"}}`:                              "",
		`{"uid":1001,"operation":"jwt","keyset":"default"}`:                                                     "", // no sub, so that the expression fails
		`{"uid":1001,"operation":"jwt","keyset":"default","alg":"RS256","claims":{"sub":"x"}}`:                  "",
		`{"uid":1001,"operation":"jwt","keyset":"default","typ":"x+jwt","claims":{"sub":"x"}}`:                  "",
		`{"uid":1001,"operation":"client-assertion","keyset":"default","client_id":"b"}`:                        "",
		`{"uid":1001,"operation":"client-assertion","keyset":"default","client_id":"a","claims":{"sub":"bad"}}`: "",
		`{"uid":1001,"operation":"sign","keyset":"default"}`:                                                    "",
		`{"uid":7,"gid":1,"groups":[2],"operation":"read","keyset":"default"}`:                                  "",
		`{"uid":65534,"operation":"read","keyset":"default"}`:                                                   "",
	} {
		reply, err := ask(1, body)
		if err != nil || reply.Granted != (rule != "") || reply.Rule != rule || (reply.Reason == "") != reply.Granted {
			t.Errorf("%s: %+v, %v; want %q", body, reply, err, rule)
		}
		if r := w.Audit.Last(); r.Operation != "admin" || r.Outcome != "granted" || !strings.Contains(r.Detail, "policy test of uid ") {
			t.Errorf("audited as %+v", r)
		}
	}
	for body, want := range map[string]string{
		`{"uid":1,"operation":"mint","keyset":"default"}`:                                                                         "bad_request /operation",
		`{"uid":1,"operation":"*","keyset":"default"}`:                                                                            "bad_request /operation",
		`{"uid":1,"operation":"jwt","keyset":"any"}`:                                                                              "bad_request /alg",
		`{"uid":1,"operation":"jwt","keyset":"to come"}`:                                                                          "bad_request /alg",
		`{"uid":1,"operation":"jwt","keyset":"` + strings.Repeat("n", 65) + `"}`:                                                  "bad_request /keyset",
		`{"uid":1,"operation":"jwt","keyset":"default","typ":"a b"}`:                                                              "bad_request /typ",
		`{"uid":1,"operation":"jwt","keyset":"default","claims":[]}`:                                                              "bad_claims /claims",
		`{"uid":1,"operation":"jwt","keyset":"default","claims":{"a":` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `}}`: "bad_claims /claims",
	} {
		_, err := ask(1, body)
		e, ok := errors.AsType[*v1.Error](err)
		if !ok || fmt.Sprint(e.Reason, " ", e.Field) != want {
			t.Errorf("%s: %v, want %s", body, err, want)
		}
	}
	_, err := ask(uid, `{"uid":1001,"operation":"jwt","keyset":"default"}`)
	expect(t, "not admin", err, v1.NotGranted, "")
	_, err = w.Service.PolicyTest(t.Context(), policy.Caller{UID: 1}, &v1.PolicyTestRequest{
		Operation: "jwt", Keyset: "default", Claims: jsontext.Value(`{"a":1,"a":2}`),
	})
	expect(t, "a member twice", err, v1.BadClaims, "/claims")
	for spec, key := range w.Keys {
		if n := key.Calls.Load(); n != 0 {
			t.Errorf("%s was asked to sign %d times", spec, n)
		}
	}
}
