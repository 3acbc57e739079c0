package door

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	v1 "keysetd.example/api/v1"
	"keysetd.example/internal/audit"
	"keysetd.example/rotation"
	"keysetd.example/signing/policy"
	"keysetd.example/signing/signingtest"
)

const until = `"until":"2030-01-02T03:04:05Z"`

// TestActsOverTheSocket: each path reaches its act with what the body says, and is counted under
// the operation that is granted.
func TestActsOverTheSocket(t *testing.T) {
	for name, test := range map[string]struct {
		line, body string
		call       string // what the operator was asked for, less who asked
		reply      string
		operation  policy.Operation
	}{
		"rotate":        {"POST /v1/keysets/default/rotate", `{"kid":"k","reason":"r"}`, "rotate default {By: Why:r KID:k}", `{"keyset":{"name":"default",`, policy.Rotate},
		"rotate, bare":  {"POST /v1/keysets/default/rotate", "", "rotate default {By: Why: KID:}", `{"keyset":{"name":"default",`, policy.Rotate},
		"rotate, {}":    {"POST /v1/keysets/default/rotate", "{}", "rotate default {By: Why: KID:}", `{"keyset":{"name":"default",`, policy.Rotate},
		"revoke":        {"POST /v1/keysets/default/revoke", `{"kid":"k","reason":"r","keep_object":true}`, "revoke default {Act:{By: Why:r KID:k} All:false Through:0 AcceptUnpublished:false KeepObject:true}", `"revoked":[{"kid":"gone",`, policy.Revoke},
		"revoke all":    {"POST /v1/keysets/default/revoke", `{"all":true,"reason":"r","accept_unpublished":true}`, "revoke default {Act:{By: Why:r KID:} All:true Through:0 AcceptUnpublished:true KeepObject:false}", `"accepted_until":"2031-`, policy.Revoke},
		"freeze":        {"POST /v1/keysets/default/freeze", `{` + until + `}`, "freeze default {By: Why: KID:} 2030-01-02T03:04:05Z", `{"keyset":{"name":"default",`, policy.Freeze},
		"thaw":          {"POST /v1/keysets/default/thaw", `{"reason":"r"}`, "thaw default {By: Why:r KID:}", `{"keyset":{"name":"default",`, policy.Freeze},
		"thaw, bare":    {"POST /v1/keysets/default/thaw", "", "thaw default {By: Why: KID:}", `{"keyset":{"name":"default",`, policy.Freeze},
		"certificate":   {"POST /v1/keysets/default/certificate", `{"kid":"k","chain":"PEM"}`, "certificate default \"PEM\" {By: Why: KID:k}", `{"keyset":{"name":"default",`, policy.Certificate},
		"csr":           {"GET /v1/keysets/default/csr", "", "csr default", `{"requests":[{"kid":"k","generation":2,"state":"pending","csr":"PEM","valid_until":"2031-01-01T00:00:00Z"}]}`, policy.Certificate},
		"plan":          {"GET /v1/keysets/default/plan", "", "plan default", `{"steps":[{"at":"2031-01-01T00:00:00Z","step":"activate","generation":2,"reason":"it is time"}]}`, policy.Read},
		"history":       {"GET /v1/keysets/default/history?limit=7", "", "history default 7", `{"events":[{"at":"2031-01-01T00:00:00Z","what":"made","by":"schedule"}]}`, policy.Read},
		"history, all":  {"GET /v1/keysets/default/history", "", "history default 100", `{"events":[`, policy.Read},
		"reload":        {"POST /v1/reload", `{"dry_run":true,"remove":["a","b"]}`, "reload  {DryRun:true Remove:[a b]}", `{"applied":true,"changes":[]}`, policy.Admin},
		"reload, bare":  {"POST /v1/reload", "", "reload  {DryRun:false Remove:[]}", `{"applied":true,"changes":[]}`, policy.Admin},
		"clock":         {"POST /v1/clock/accept", "", "clock accept {By: Why: KID:}", "{}\n", policy.Admin},
		"clock, {}":     {"POST /v1/clock/accept", "{}", "clock accept {By: Why: KID:}", "{}\n", policy.Admin},
		"name with a %": {"GET /v1/keysets/d%65fault/plan", "", "plan default", `{"steps":[`, policy.Read},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t)
			at := time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
			h.Operator.Revoked = rotation.Revoked{Keys: []rotation.Revocation{{KID: "gone", At: at}}, AcceptedUntil: at}
			h.Operator.Steps = []rotation.Forecast{{At: at, Step: rotation.Step{Kind: rotation.StepActivate, Generation: 2, Reason: "it is time"}}}
			h.Operator.Requests = []v1.CertificateRequest{{KID: "k", Generation: 2, State: "pending", CSR: "PEM", ValidUntil: at}}
			h.Operator.Events = []rotation.Event{{At: at, What: "made", By: "schedule"}}
			h.Operator.Reloaded = v1.ReloadReply{Applied: true, Changes: []v1.KeysetChange{}}

			method, path, _ := strings.Cut(test.line, " ")
			req, err := http.NewRequestWithContext(t.Context(), method, "http://localhost"+path, strings.NewReader(test.body))
			if err != nil {
				t.Fatal(err)
			}
			if test.body != "" {
				req.Header.Set("Content-Type", "application/json")
			}
			resp, reply := h.send(t, req)
			if resp.StatusCode != 200 || !strings.Contains(reply, test.reply) {
				t.Errorf("%s %s, want %s", resp.Status, reply, test.reply)
			}
			calls := h.Operator.Calls()
			if len(calls) != 1 || strings.Replace(calls[0], h.by(), "", 1) != test.call {
				t.Errorf("asked for %q, want %q", calls, test.call)
			}
			if n := testutil.ToFloat64(h.metrics.requests.WithLabelValues("http", string(test.operation), "ok")); n != 1 {
				t.Errorf("%v requests are counted as %s", n, test.operation)
			}
			if last := h.Audit.Last(); last.Operation != string(test.operation) || last.Outcome != audit.Granted {
				t.Errorf("the audit log says %+v", last)
			}
		})
	}
}

func TestBadActs(t *testing.T) {
	h := open(t)
	const rotate, revoke, freeze, thaw, reload, history = "POST /v1/keysets/default/rotate", "POST /v1/keysets/default/revoke",
		"POST /v1/keysets/default/freeze", "POST /v1/keysets/default/thaw", "POST /v1/reload", "GET /v1/keysets/default/history"
	long := strings.Repeat("x", 5<<10)
	for name, test := range map[string]struct {
		line, body string
		status     int
		reason     v1.Reason
		field      string
	}{
		"rotate, method":         {"GET /v1/keysets/default/rotate", "", 405, v1.MethodNotAllowed, ""},
		"plan, method":           {"POST /v1/keysets/default/plan", "{}", 405, v1.MethodNotAllowed, ""},
		"reload, method":         {"GET /v1/reload", "", 405, v1.MethodNotAllowed, ""},
		"clock, path":            {"POST /v1/clock", "", 404, v1.NotFound, ""},
		"rotate, white space":    {rotate, " ", 400, v1.BadRequest, ""},
		"rotate, unknown member": {rotate, `{"accept_unpublished":true}`, 400, v1.BadRequest, "/accept_unpublished"},
		"rotate, member twice":   {rotate, `{"kid":"a","kid":"b"}`, 400, v1.BadRequest, "/kid"},
		"rotate, trailing":       {rotate, `{}{}`, 400, v1.BadRequest, ""},
		"rotate, cut short":      {rotate, `{"kid":`, 400, v1.BadRequest, "/kid"},
		"rotate, too large":      {rotate, `{"reason":"` + long + `"}`, 413, v1.TooLarge, ""},
		"revoke, empty":          {revoke, "", 400, v1.BadRequest, ""},
		"revoke, no reason":      {revoke, `{"kid":"k"}`, 400, v1.BadRequest, "/reason"},
		"revoke, no key":         {revoke, `{"reason":"r"}`, 400, v1.BadRequest, "/kid"},
		"freeze, empty":          {freeze, "", 400, v1.BadRequest, ""},
		"freeze, no until":       {freeze, `{}`, 400, v1.BadRequest, "/until"},
		"freeze, no time":        {freeze, `{"until":"tomorrow"}`, 400, v1.BadRequest, "/until"},
		"thaw, unknown member":   {thaw, `{` + until + `}`, 400, v1.BadRequest, "/until"},
		"reload, member's type":  {reload, `{"remove":"default"}`, 400, v1.BadRequest, "/remove"},
		"reload, null":           {reload, `[]`, 400, v1.BadRequest, ""},
		"history, limit 0":       {history + "?limit=0", "", 400, v1.BadRequest, ""},
		"history, limit < 0":     {history + "?limit=-1", "", 400, v1.BadRequest, ""},
		"history, limit empty":   {history + "?limit", "", 400, v1.BadRequest, ""},
		"history, limit a word":  {history + "?limit=many", "", 400, v1.BadRequest, ""},
		"history, limit 1e2":     {history + "?limit=1e2", "", 400, v1.BadRequest, ""},
		"history, limit huge":    {history + "?limit=99999999999999999999", "", 400, v1.BadRequest, ""},
		"history, limit 1001":    {history + "?limit=1001", "", 400, v1.BadRequest, ""},
		"history, limit twice":   {history + "?limit=1&limit=2", "", 400, v1.BadRequest, ""},
		"history, else":          {history + "?limt=1", "", 400, v1.BadRequest, ""},
		"history, and else":      {history + "?limit=1&from=2", "", 400, v1.BadRequest, ""},
		"history, no query":      {history + "?%zz", "", 400, v1.BadRequest, ""},
	} {
		method, path, _ := strings.Cut(test.line, " ")
		before := len(h.Audit.Records())
		resp, body := h.do(t, method, path, test.body)
		checkProblem(t, name, resp, body, test.status, test.reason, test.field)
		if after := len(h.Audit.Records()) - before; after != 1 && test.status != 404 && test.status != 405 {
			t.Errorf("%s: %d lines in the audit log", name, after)
		}
	}
	if calls := h.Operator.Calls(); len(calls) != 0 {
		t.Errorf("asked for %q", calls)
	}
}

// An empty body of unknown length is empty, too; one that is there says what it is.
func TestOptionalBodies(t *testing.T) {
	h := open(t)
	for name, test := range map[string]struct {
		path, kind, body string
		status           int
	}{
		"curl -X POST":     {"/v1/keysets/default/thaw", "", "", 200},
		"curl -d ''":       {"/v1/keysets/default/thaw", "application/x-www-form-urlencoded", "", 200},
		"curl -d '{}'":     {"/v1/keysets/default/thaw", "application/x-www-form-urlencoded", "{}", 415},
		"must be there":    {"/v1/keysets/default/revoke", "", "", 415},
		"there and a kind": {"/v1/keysets/default/rotate", "application/json", `{"kid":"k"}`, 200},
	} {
		for _, known := range []bool{true, false} {
			req, _ := http.NewRequest("POST", "http://x"+test.path, strings.NewReader(test.body))
			if !known {
				req.ContentLength, req.Body = -1, unsized{strings.NewReader(test.body)}
			}
			if test.kind != "" {
				req.Header.Set("Content-Type", test.kind)
			}
			if resp, body := h.send(t, req); resp.StatusCode != test.status {
				t.Errorf("%s, length known %v: %s %s", name, known, resp.Status, body)
			}
		}
	}
}

type unsized struct{ *strings.Reader }

func (unsized) Close() error { return nil }

// TestRefusedActs: what rotation refuses comes with its status and, where a time is known, with
// Retry-After, which is never too early.
func TestRefusedActs(t *testing.T) {
	h := open(t)
	at := time.Now().Add(90 * time.Minute)
	for name, test := range map[string]struct {
		err    error
		status int
		reason v1.Reason
		field  string
		wait   bool
	}{
		"not yet":       {&rotation.Refusal{Kind: rotation.RefusedNotYet, Detail: "too early", At: at}, 409, v1.NotYet, "", true},
		"not yet, when": {&rotation.Refusal{Kind: rotation.RefusedNotYet, Detail: "nobody knows"}, 409, v1.NotYet, "", false},
		"rate":          {&rotation.Refusal{Kind: rotation.RefusedRateLimited, Detail: "too often", At: at}, 429, v1.RateLimited, "", true},
		"frozen":        {&rotation.Refusal{Kind: rotation.RefusedFrozen, Detail: "frozen", At: at}, 409, v1.Frozen, "", true},
		"kid":           {&rotation.Refusal{Kind: rotation.RefusedUnknownKID, Detail: "no such key"}, 404, v1.KidUnknown, "/kid", false},
		"keyset":        {&rotation.Refusal{Kind: rotation.RefusedUnknownKeyset, Detail: "no such keyset"}, 404, v1.KeysetUnknown, "", false},
		"configuration": {&v1.Error{Reason: v1.BadConfiguration, Detail: "line 3: no"}, 409, v1.BadConfiguration, "", false},
		"fault":         {errors.New("secret"), 500, v1.Internal, "", false},
	} {
		h.Operator.Err = test.err
		begun := time.Now()
		resp, body := h.do(t, "POST", "/v1/keysets/default/rotate", "")
		checkProblem(t, name, resp, body, test.status, test.reason, test.field)
		after, _ := time.ParseDuration(resp.Header.Get("Retry-After") + "s")
		if early := begun.Add(after).Before(at.Add(-time.Since(begun))); test.wait && (early || after > 90*time.Minute) || !test.wait && after != 0 {
			t.Errorf("%s: Retry-After is %s", name, resp.Header.Get("Retry-After"))
		}
		if strings.Contains(body, "secret") {
			t.Errorf("%s: %s", name, body)
		}
	}
}

// TestActsNeedGrants: what is not granted is refused before the body is looked at.
func TestActsNeedGrants(t *testing.T) {
	h := open(t)
	uid := uint32(os.Getuid())
	lines := map[policy.Operation][]string{
		policy.Rotate: {"/v1/keysets/default/rotate"}, policy.Revoke: {"/v1/keysets/default/revoke"},
		policy.Freeze: {"/v1/keysets/default/freeze", "/v1/keysets/default/thaw"}, policy.Certificate: {"/v1/keysets/default/certificate"}, policy.Admin: {"/v1/reload", "/v1/clock/accept"},
	}
	for without, paths := range lines {
		rule := signingtest.All(uid)
		rule.Operations = slices.DeleteFunc(policy.Operations(), func(o policy.Operation) bool { return o == without })
		h.Service.Swap(h.State(t, rule))
		for _, path := range paths {
			resp, body := h.do(t, "POST", path, "not JSON")
			checkProblem(t, path, resp, body, 403, v1.NotGranted, "")
		}
	}
	// Root may read without a rule, so this is somebody else.
	stranger := context.WithValue(t.Context(), callerKey{}, policy.Caller{UID: 4242})
	answer := httptest.NewRecorder()
	New(Config{Service: h.Service, Metrics: h.metrics, Logger: slog.New(slog.DiscardHandler)}).http.Handler.
		ServeHTTP(answer, httptest.NewRequestWithContext(stranger, "GET", "/v1/keysets/default/history?limit=x", nil))
	checkProblem(t, "history", answer.Result(), answer.Body.String(), 403, v1.NotGranted, "")
	if calls := h.Operator.Calls(); len(calls) != 0 {
		t.Errorf("asked for %q", calls)
	}
}

// impatient is an auditor that writes nothing for a caller whose time is over.
type impatient struct{ *signingtest.Audit }

func (i impatient) Append(ctx context.Context, r audit.Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return i.Audit.Append(ctx, r)
}

// TestActsTakeTheirTime: the limits that are there for signatures and slow callers do not cut an
// act off, nor the audit log's line or the reply.
func TestActsTakeTheirTime(t *testing.T) {
	h := open(t, func(c *Config) {
		c.RequestTimeout, c.BodyTimeout, c.HeaderTimeout = 20*time.Millisecond, 40*time.Millisecond, 40*time.Millisecond
	})
	h.Service.Auditor = impatient{h.Audit}
	h.Operator.Hook = func(context.Context) { <-time.After(200 * time.Millisecond) }
	for _, path := range []string{"/v1/reload", "/v1/keysets/default/thaw"} {
		for _, body := range []string{"", "{}"} {
			if resp, reply := h.do(t, "POST", path, body); resp.StatusCode != 200 {
				t.Errorf("%s %q: %s %s", path, body, resp.Status, reply)
			}
		}
	}
	// A body that is promised and does not come is still not waited for.
	c := h.dial(t)
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write([]byte("POST /v1/reload HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")); err != nil {
		t.Fatal(err)
	}
	reply := make([]byte, 4<<10)
	if n, err := c.Read(reply); err != nil || !strings.Contains(string(reply[:n]), "400 Bad Request") {
		t.Errorf("half a body: %s, %v", reply[:n], err)
	}
}

// TestActGoesOnWithoutItsOperator: who hangs up does not decide how far an act comes, and the
// audit log says what became of it.
func TestActGoesOnWithoutItsOperator(t *testing.T) {
	h := open(t)
	h.Service.Auditor = impatient{h.Audit}
	ctx, cancel := context.WithCancel(t.Context())
	gone, seen := make(chan struct{}), make(chan error, 1)
	h.Operator.Hook = func(ctx context.Context) {
		cancel()
		<-gone
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond): // in which the server notices
		}
		seen <- ctx.Err()
	}
	req, _ := http.NewRequestWithContext(ctx, "POST", "http://x/v1/keysets/default/revoke", strings.NewReader(`{"kid":"k","reason":"r"}`))
	req.Header.Set("Content-Type", "application/json")
	if _, err := h.client.Do(req); !errors.Is(err, context.Canceled) {
		t.Errorf("the operator: %v", err)
	}
	close(gone)
	if err := <-seen; err != nil {
		t.Errorf("the act ended with %v", err)
	}
	for deadline := time.Now().Add(10 * time.Second); h.Audit.Last().Outcome != audit.Granted; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the log ends with %+v", h.Audit.Last())
		}
	}
}
