package signing_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

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
		r.Keysets = []string{"default", "empty", "to come"}
		r.Types, r.ClientIDs = []string{"at+jwt", "JWT"}, []string{"a"}
		r.Claims = `claims.sub != "bad" && header.alg == "ES256" && (!has(claims.exp) || claims.exp - now <= 60)`
	})
	raw := policy.Rule{Name: "raw", UID: new(uint32(2)), Keysets: []string{"raw"}, Operations: []policy.Operation{policy.Sign}, Algorithms: []jose.SignatureAlgorithm{jose.ES256}}
	raw.Keysets = append(raw.Keysets, "default")
	plain := limited(func(r *policy.Rule) {
		r.Name, r.UID, r.Keysets, r.Operations, r.ClientIDs = "plain", new(uint32(3)), []string{policy.All}, []policy.Operation{policy.JWT, policy.Read}, nil
	})
	w := signingtest.New(t, admin, svc, raw, plain)
	ask := func(as uint32, body string) (*v1.PolicyTestReply, error) {
		var req v1.PolicyTestRequest
		if err := json.Unmarshal([]byte(body), &req, json.RejectUnknownMembers(true)); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		return w.Service.PolicyTest(t.Context(), policy.Caller{UID: as}, &req)
	}
	exp := fmt.Sprintf(`"exp":%d`, time.Now().Add(30*time.Second).Unix())
	const svcAsks = `{"uid":1001,"gid":1001,"operation":`
	for body, want := range map[string]string{ // who grants it, or why nobody does
		svcAsks + `"jwt","keyset":"default","claims":{"sub":"x",` + exp + `}}`:                              "svc",
		svcAsks + `"jwt","keyset":"default","alg":"ES256","typ":"at+jwt","claims":{"sub":"x",` + exp + `}}`: "svc",
		svcAsks + `"client-assertion","keyset":"default","client_id":"a","audience":"https://as.example"}`:  "svc",
		svcAsks + `"client-assertion","keyset":"default","client_id":"a","audience":"as","lifetime":"59s"}`: "svc",
		`{"uid":2,"gid":2,"operation":"sign","keyset":"raw","alg":"ES256"}`:                                 "raw",
		`{"uid":1,"gid":1,"operation":"admin"}`:                                                             "ops",
		`{"uid":3,"gid":3,"operation":"jwt","keyset":"default"}`:                                            "plain", // of a token for a minute
		`{"uid":0,"gid":0,"operation":"read","keyset":"default"}`:                                           "",
		svcAsks + `"jwt","keyset":"default","claims":{"sub":"bad",` + exp + `}}`:                            "! caller svc grants uid 1001 operation jwt on keyset default, but its claims expression is false",
		svcAsks + `"jwt","keyset":"default"}`:                                                               "! caller svc grants uid 1001 operation jwt on keyset default, but its claims expression fails", // no sub
		svcAsks + `"jwt","keyset":"default","alg":"RS256","claims":{"sub":"x",` + exp + `}}`:                "! uid 1001 is not granted operation jwt with RS256 on keyset default; it is granted ES256",
		svcAsks + `"jwt","keyset":"default","typ":"x+jwt","claims":{"sub":"x",` + exp + `}}`:                "! caller svc grants uid 1001 operation jwt on keyset default, but only with typ at+jwt, JWT; this token has x+jwt",
		svcAsks + `"client-assertion","keyset":"default","client_id":"b","audience":"as"}`:                  "! caller svc grants uid 1001 operation client-assertion on keyset default, but not for client id b; it grants a",
		svcAsks + `"client-assertion","keyset":"default","client_id":"a","audience":"as","lifetime":"2m"}`:  "! caller svc grants uid 1001 operation client-assertion on keyset default, but its claims expression is false",
		svcAsks + `"sign","keyset":"default"}`:                                                              "! uid 1001 is not granted operation sign on keyset default; add it under callers:",
		`{"uid":7,"gid":1,"groups":[2],"operation":"read","keyset":"default"}`:                              "! uid 7 is not granted operation read on keyset default",
		`{"uid":65534,"gid":1,"operation":"read","keyset":"default"}`:                                       "! uid 65534 is the kernel's overflow uid",

		// What the request itself would be refused with.
		svcAsks + `"jwt","keyset":"default","claims":{"sub":"x"}}`:                                                    "! bad_claims: the claims have no exp",
		svcAsks + `"jwt","keyset":"default","claims":{"sub":"x","exp":1}}`:                                            "! bad_claims: exp 1 is not in the future",
		svcAsks + `"jwt","keyset":"default","claims":[]}`:                                                             "! bad_claims: the claims must be a JSON object",
		svcAsks + `"jwt","keyset":"default","claims":{"iss":"https://other.example",` + exp + `}}`:                    "! issuer_mismatch: iss ",
		svcAsks + `"jwt","keyset":"default","claims":{"exp":` + fmt.Sprint(time.Now().Add(2*time.Hour).Unix()) + `}}`: "! lifetime_too_long: exp ",
		svcAsks + `"jwt","keyset":"default","typ":"a b"}`:                                                             "! bad_header: typ \"a b\" has a character",
		svcAsks + `"jwt","keyset":"default","typ":"client-authentication+jwt"}`:                                       "! bad_header: typ \"client-authentication+jwt\" is that of client assertions",
		svcAsks + `"jwt","keyset":"to come","alg":"ES256"}`:                                                           "! keyset_unknown: no keyset \"to come\" is configured",
		svcAsks + `"jwt","keyset":"empty","alg":"ES256"}`:                                                             "! not_ready: ",
		svcAsks + `"client-assertion","keyset":"default","client_id":"a"}`:                                            "! bad_request: audience is missing",
		svcAsks + `"client-assertion","keyset":"default","client_id":"a","audience":"as","lifetime":"6m"}`:            "! lifetime_too_long: a lifetime of 6m0s",
		`{"uid":2,"gid":2,"operation":"sign","keyset":"default","alg":"ES256"}`:                                       "! purpose_mismatch: keyset default has purpose jwt, which does not serve operation sign; ask a keyset of purpose raw or any",
		`{"uid":3,"gid":3,"operation":"jwt","keyset":"raw","alg":"ES256"}`:                                            "! purpose_mismatch: keyset raw has purpose raw, which does not serve operation jwt; ask a keyset of purpose jwt or any",
		`{"uid":3,"gid":3,"operation":"jwt","keyset":"any"}`:                                                          "! bad_request: the keyset names no default algorithm; give alg, one of ",
		`{"uid":2,"gid":2,"operation":"sign","keyset":"raw"}`:                                                         "! bad_request: the keyset names no default algorithm; give alg, one of ",
		`{"uid":3,"gid":3,"operation":"read","keyset":"to come"}`:                                                     "! keyset_unknown: ",
		`{"uid":0,"gid":0,"operation":"read","keyset":"to come"}`:                                                     "! keyset_unknown: ",
		`{"uid":1,"gid":1,"operation":"jwt","keyset":"default","alg":"none"}`:                                         "! uid 1 is not granted operation jwt on keyset default",
	} {
		reply, err := ask(1, body)
		why, refused := strings.CutPrefix(want, "! ")
		if err != nil || reply.Granted == refused || !refused && (reply.Rule != want || reply.Reason != "") || refused && (reply.Rule != "" || !strings.HasPrefix(reply.Reason, why)) {
			t.Errorf("%s: %+v, %v; want %q", body, reply, err, want)
		}
		if r := w.Audit.Last(); r.Operation != "admin" || r.Outcome != "granted" || !strings.Contains(r.Detail, "policy test of uid ") {
			t.Errorf("audited as %+v", r)
		}
	}
	for body, want := range map[string]string{
		`{"operation":"read","keyset":"default"}`:                                      "bad_request /uid",
		`{"uid":1,"operation":"read","keyset":"default"}`:                              "bad_request /gid",
		svcAsks + `"","keyset":"default"}`:                                             "bad_request /operation",
		svcAsks + `"mint","keyset":"default"}`:                                         "bad_request /operation",
		svcAsks + `"*","keyset":"default"}`:                                            "bad_request /operation",
		svcAsks + `"jwt"}`:                                                             "bad_request /keyset",
		svcAsks + `"jwt","keyset":"` + strings.Repeat("n", 65) + `"}`:                  "bad_request /keyset",
		svcAsks + `"read","keyset":"default","alg":"ES256"}`:                           "bad_request /alg",
		svcAsks + `"client-assertion","keyset":"default","claims":{}}`:                 "bad_request /claims",
		svcAsks + `"client-assertion","keyset":"default","client_id":"a","typ":"JWT"}`: "bad_request /typ",
		svcAsks + `"jwt","keyset":"default","client_id":"a"}`:                          "bad_request /client_id",
		svcAsks + `"sign","keyset":"default","audience":"a"}`:                          "bad_request /audience",
		svcAsks + `"jwt","keyset":"default","lifetime":"1s"}`:                          "bad_request /lifetime",
	} {
		_, err := ask(1, body)
		e, ok := errors.AsType[*v1.Error](err)
		if !ok || fmt.Sprint(e.Reason, " ", e.Field) != want {
			t.Errorf("%s: %v, want %s", body, err, want)
		}
	}
	_, err := ask(uid, `{"uid":1001,"gid":1,"operation":"jwt","keyset":"default"}`)
	expect(t, "not admin", err, v1.NotGranted, "")
	reply, err := w.Service.PolicyTest(t.Context(), policy.Caller{UID: 1}, &v1.PolicyTestRequest{
		UID: new(uint32(3)), GID: new(uint32(3)), Operation: "jwt", Keyset: "default", Claims: jsontext.Value(`{"a":1,"a":2}`),
	})
	if err != nil || reply.Granted || !strings.HasPrefix(reply.Reason, "bad_claims: ") {
		t.Errorf("a member twice: %+v, %v", reply, err)
	}
	for spec, key := range w.Keys {
		if n := key.Calls.Load(); n != 0 {
			t.Errorf("%s was asked to sign %d times", spec, n)
		}
	}
}
