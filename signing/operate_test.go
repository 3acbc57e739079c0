package signing_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "keysetd.example/api/v1"
	"keysetd.example/hsm"
	"keysetd.example/internal/audit"
	"keysetd.example/rotation"
	"keysetd.example/signing"
	"keysetd.example/signing/policy"
	"keysetd.example/signing/signingtest"
)

var until = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// operatorsActs calls everything that an operator can ask for, as c on keyset.
func operatorsActs(ctx context.Context, s *signing.Service, c policy.Caller, keyset string) map[string]func() (any, error) {
	return map[string]func() (any, error){
		"rotate": func() (any, error) {
			return s.Rotate(ctx, c, keyset, &v1.RotateRequest{KID: "k1", Reason: "test"})
		},
		"revoke": func() (any, error) {
			return s.Revoke(ctx, c, keyset, &v1.RevokeRequest{KID: "k1", Reason: "test"})
		},
		"freeze": func() (any, error) {
			return s.Freeze(ctx, c, keyset, &v1.FreezeRequest{Until: until, Reason: "test"})
		},
		"csr": func() (any, error) { return s.CSR(ctx, c, keyset) },
		"import": func() (any, error) {
			return s.ImportCertificate(ctx, c, keyset, &v1.ImportCertificateRequest{KID: "k1", Chain: "PEM"})
		},
		"thaw": func() (any, error) { return s.Thaw(ctx, c, keyset, &v1.ThawRequest{Reason: "test"}) },
		"plan": func() (any, error) { return s.Plan(ctx, c, keyset) },
		"history": func() (any, error) {
			return s.History(ctx, c, keyset, 0)
		},
		"reload": func() (any, error) { return s.Reload(ctx, c, &v1.ReloadRequest{DryRun: true}) },
		"clock":  func() (any, error) { return &struct{}{}, s.AcceptClock(ctx, c) },
	}
}

// What is asked for reaches the Operator and the audit log, with who and why.
func TestOperatorsActs(t *testing.T) {
	for name, want := range map[string]struct{ call, operation, keyset, kid, detail string }{
		"rotate":  {"rotate default {By:uid 1001 Why:test KID:k1}", "rotate", "default", "k1", `because "test"`},
		"revoke":  {"revoke default {Act:{By:uid 1001 Why:test KID:k1} All:false Through:0 AcceptUnpublished:false KeepObject:false}", "revoke", "default", "k1", `because "test"`},
		"freeze":  {"freeze default {By:uid 1001 Why:test KID:} 2030-01-02T03:04:05Z", "freeze", "default", "", `freeze, until 2030-01-02T03:04:05Z, because "test"`},
		"csr":     {"csr default", "certificate", "default", "", "csr"},
		"import":  {`certificate default "PEM" {By:uid 1001 Why: KID:k1}`, "certificate", "default", "k1", "import"},
		"thaw":    {"thaw default {By:uid 1001 Why:test KID:}", "freeze", "default", "", `thaw, because "test"`},
		"plan":    {"plan default", "read", "default", "", "plan"},
		"history": {"history default 100", "read", "default", "", "history"},
		"reload":  {"reload uid 1001 {DryRun:true Remove:[]}", "admin", "", "", "reload, dry run"},
		"clock":   {"clock accept {By:uid 1001 Why: KID:}", "admin", "", "", "clock accept"},
	} {
		w := signingtest.New(t, signingtest.All(uid))
		if _, err := operatorsActs(t.Context(), w.Service, caller, "default")[name](); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := strings.Join(w.Operator.Calls(), "; "); got != want.call {
			t.Errorf("%s: asked for %s\nwant %s", name, got, want.call)
		}
		r := w.Audit.Last()
		if r.Operation != want.operation || r.Keyset != want.keyset || r.KID != want.kid || r.Detail != want.detail ||
			r.Outcome != audit.Granted || r.Reason != "" || len(w.Audit.Records()) != 1 {
			t.Errorf("%s: audited as %+v", name, w.Audit.Records())
		}
	}
}

func TestActsNotGranted(t *testing.T) {
	everything := policy.Rule{Name: "svc", UID: new(uint32(uid)), Keysets: []string{"default"}, Algorithms: signingtest.All(uid).Algorithms, ClientIDs: []string{policy.All}}
	needs := map[string]policy.Operation{
		"rotate": policy.Rotate, "revoke": policy.Revoke, "freeze": policy.Freeze, "thaw": policy.Freeze,
		"csr": policy.Certificate, "import": policy.Certificate,
		"plan": policy.Read, "history": policy.Read, "reload": policy.Admin, "clock": policy.Admin,
	}
	for name, need := range needs {
		others := everything
		for _, o := range policy.Operations() {
			if o != need {
				others.Operations = append(others.Operations, o)
			}
		}
		w := signingtest.New(t, others)
		var told []string
		for _, keyset := range []string{"default", "absent"} {
			reply, err := operatorsActs(t.Context(), w.Service, caller, keyset)[name]()
			expect(t, name, err, v1.NotGranted, "")
			if r := w.Audit.Last(); r.Outcome != audit.Refused || r.Reason != "not_granted" || !strings.Contains(r.Detail, "; asked: ") {
				t.Errorf("%s: audited as %+v", name, r)
			}
			if v := reflect.ValueOf(reply); name != "clock" && !v.IsNil() {
				t.Errorf("%s: replied %+v", name, reply)
			}
			told = append(told, strings.ReplaceAll(err.Error(), keyset, "KEYSET"))
		}
		if told[0] != told[1] {
			t.Errorf("%s: %q and %q differ", name, told[0], told[1])
		}
		if calls := w.Operator.Calls(); calls != nil {
			t.Errorf("%s: reached the operator: %v", name, calls)
		}
	}
}

// What the State does not have, the Operator is not asked for: it may have keysets that are nobody's
// business. What is about no keyset is.
func TestActsOnKeysetsThatAreNot(t *testing.T) {
	for _, keyset := range []string{"audit", "absent"} {
		w := signingtest.New(t, signingtest.All(uid))
		for name, act := range operatorsActs(t.Context(), w.Service, caller, keyset) {
			_, err := act()
			if name == "reload" || name == "clock" {
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
				continue
			}
			expect(t, name, err, v1.KeysetUnknown, "")
			if r := w.Audit.Last(); r.Outcome != audit.Refused || r.Reason != "keyset_unknown" || r.Keyset != keyset {
				t.Errorf("%s: audited as %+v", name, r)
			}
		}
		if calls := w.Operator.Calls(); len(calls) != 2 {
			t.Errorf("keyset %q: the operator was asked for %q", keyset, calls)
		}
	}
}

// Each kind of refusal has its word, and those that pass tell when.
func TestActRefused(t *testing.T) {
	now := time.Date(2026, 11, 21, 20, 20, 0, 0, time.UTC)
	for _, c := range []struct {
		err     error
		reason  v1.Reason
		field   string
		retry   int64
		outcome audit.Outcome
	}{
		{&rotation.Refusal{Kind: rotation.RefusedNotYet, Detail: "d", At: now.Add(90 * time.Second)}, v1.NotYet, "", 90_000, audit.Refused},
		{&rotation.Refusal{Kind: rotation.RefusedNotYet, Detail: "d"}, v1.NotYet, "", 0, audit.Refused},
		{&rotation.Refusal{Kind: rotation.RefusedRateLimited, Detail: "d", At: now.Add(1500 * time.Microsecond)}, v1.RateLimited, "", 2, audit.Refused},
		{&rotation.Refusal{Kind: rotation.RefusedFrozen, Detail: "d", At: now.Add(-time.Hour)}, v1.Frozen, "", 1000, audit.Refused},
		{&rotation.Refusal{Kind: rotation.RefusedUnknownKeyset, Detail: "d"}, v1.KeysetUnknown, "", 0, audit.Refused},
		{&rotation.Refusal{Kind: rotation.RefusedUnknownKID, Detail: "d"}, v1.KidUnknown, "/kid", 0, audit.Refused},
		{&rotation.Refusal{Kind: rotation.RefusedBadRequest, Detail: "d"}, v1.BadRequest, "", 0, audit.Refused},
		{&rotation.Refusal{Kind: "whatever", Detail: "d"}, v1.Internal, "", 0, audit.Failed},
		{&v1.Error{Reason: v1.BadConfiguration, Detail: "d"}, v1.BadConfiguration, "", 0, audit.Refused},
		{context.DeadlineExceeded, v1.DeadlineExceeded, "", 0, audit.Failed},
		{rotation.ErrStore, v1.Internal, "", 0, audit.Failed},
		{rotation.ErrNotShown, v1.Internal, "", 0, audit.Failed},
		{errors.Join(hsm.ErrUnavailable, context.DeadlineExceeded), v1.Unavailable, "", 1000, audit.Failed},
		{errors.New("at /var/lib/secret"), v1.Internal, "", 0, audit.Failed},
	} {
		w := signingtest.New(t, signingtest.All(uid))
		w.Service.Now = func() time.Time { return now }
		w.Operator.Err = fmt.Errorf("doing it: %w", c.err)
		for name, act := range operatorsActs(t.Context(), w.Service, caller, "default") {
			_, err := act()
			expect(t, name, err, c.reason, c.field)
			e, _ := errors.AsType[*v1.Error](err)
			if e.RetryAfterMillis != c.retry || !errors.Is(err, c.err) || strings.Contains(e.Error(), "secret") {
				t.Errorf("%s, %v: told %+v", name, c.err, e)
			}
			for is, detail := range map[error]string{rotation.ErrStore: "store cannot be written", rotation.ErrNotShown: "done and on disk"} {
				if errors.Is(err, is) != strings.Contains(e.Detail, detail) {
					t.Errorf("%s, %v: told %q", name, c.err, e.Detail)
				}
			}
			if r := w.Audit.Last(); r.Outcome != c.outcome || r.Reason != string(c.reason) || !strings.HasPrefix(r.Detail, e.Detail) {
				t.Errorf("%s, %v: audited as %+v", name, c.err, r)
			}
		}
	}
}

func TestActsChecked(t *testing.T) {
	w := signingtest.New(t, signingtest.All(uid))
	long := strings.Repeat("x", 501)
	revoke := func(r v1.RevokeRequest) func() error {
		return func() error { _, err := w.Service.Revoke(t.Context(), caller, "default", &r); return err }
	}
	rotate := func(why, kid string) func() error {
		return func() error {
			_, err := w.Service.Rotate(t.Context(), caller, "default", &v1.RotateRequest{Reason: why, KID: kid})
			return err
		}
	}
	history := func(limit int) func() error {
		return func() error { _, err := w.Service.History(t.Context(), caller, "default", limit); return err }
	}
	for name, c := range map[string]struct {
		do    func() error
		field string
	}{
		"no reason":        {revoke(v1.RevokeRequest{KID: "k"}), "/reason"},
		"blank reason":     {revoke(v1.RevokeRequest{KID: "k", Reason: " "}), "/reason"},
		"long reason":      {revoke(v1.RevokeRequest{KID: "k", Reason: long}), "/reason"},
		"neither":          {revoke(v1.RevokeRequest{Reason: "r"}), "/kid"},
		"both":             {revoke(v1.RevokeRequest{KID: "k", All: true, Reason: "r"}), "/kid"},
		"long kid":         {revoke(v1.RevokeRequest{KID: strings.Repeat("k", 513), Reason: "r"}), "/kid"},
		"two lines":        {rotate("a\nb", ""), "/reason"},
		"a tab":            {rotate("a\tb", ""), "/reason"},
		"an escape":        {rotate("a\x1b[2Jb", ""), "/reason"},
		"a C1 control":     {rotate("a\u009bb", ""), "/reason"},
		"a line separator": {rotate("a\u2028b", ""), "/reason"},
		"a turned text":    {rotate("a\u202eb", ""), "/reason"},
		"no UTF-8":         {rotate("a\xff", ""), "/reason"},
		"long, to rotate":  {rotate(long, ""), "/reason"},
		"kid, to rotate":   {rotate("", strings.Repeat("k", 513)), "/kid"},
		"thaw, two lines": {func() error {
			_, err := w.Service.Thaw(t.Context(), caller, "default", &v1.ThawRequest{Reason: "\n"})
			return err
		}, "/reason"},
		"no until": {func() error {
			_, err := w.Service.Freeze(t.Context(), caller, "default", &v1.FreezeRequest{})
			return err
		}, "/until"},
		"a negative limit":  {history(-1), ""},
		"an endless limit":  {history(1001), ""},
		"an endless keyset": {func() error { _, err := w.Service.Plan(t.Context(), caller, long); return err }, ""},
	} {
		expect(t, name, c.do(), v1.BadRequest, c.field)
		if r := w.Audit.Last(); r.Outcome != audit.Refused || r.Reason != "bad_request" || len(r.Detail) > 1000 {
			t.Errorf("%s: audited as %+v", name, r)
		}
	}
	if calls := w.Operator.Calls(); calls != nil {
		t.Errorf("reached the operator: %v", calls)
	}
	for name, do := range map[string]func() error{
		"longest": rotate(strings.Repeat("x", 500), ""), "no reason": rotate("", ""), "umlauts": rotate("Schlüssel „weg“ 🔑", ""),
		"all": revoke(v1.RevokeRequest{All: true, Reason: "r"}), "limit": history(1000),
	} {
		if err := do(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The reply shows the keyset as the act left it, not as it found it.
func TestActReply(t *testing.T) {
	w := signingtest.New(t, signingtest.All(uid))
	after := w.Keysets()
	after[0].Status.FrozenUntil = until
	w.Operator.Hook = func(context.Context) { w.Service.Swap(w.StateOf(t, after)) }
	w.Operator.Revoked = rotation.Revoked{
		Keys:          []rotation.Revocation{{KID: "k1", At: until, By: "uid 7", Why: "leaked", Kept: true}, {KID: "k2"}},
		AcceptedUntil: until.Add(1), RefusedUntil: until.Add(2),
	}
	reply, err := w.Service.Revoke(t.Context(), caller, "default", &v1.RevokeRequest{All: true, Through: 3, Reason: "leaked", AcceptUnpublished: true, KeepObject: true})
	if err != nil {
		t.Fatal(err)
	}
	if reply.Keyset.Name != "default" || !reply.Keyset.Ready || !reply.Keyset.FrozenUntil.Equal(until) {
		t.Errorf("keyset %+v", reply.Keyset)
	}
	want := []v1.RevokedKey{{KID: "k1", At: until, By: "uid 7", Reason: "leaked", Kept: true}, {KID: "k2"}}
	if !reflect.DeepEqual(reply.Revoked, want) || !reply.AcceptedUntil.Equal(until.Add(1)) || !reply.RefusedUntil.Equal(until.Add(2)) {
		t.Errorf("reply %+v", reply)
	}
	if got := w.Audit.Last().Detail; got != `all, through generation 3, accept unpublished, keep object, because "leaked", revoked k1, revoked k2` {
		t.Errorf("audited as %s", got)
	}
	if got := w.Operator.Calls()[0]; !strings.HasSuffix(got, "All:true Through:3 AcceptUnpublished:true KeepObject:true}") {
		t.Error(got)
	}

	w.Service.Swap(w.State(t, signingtest.All(uid)))
	w.Operator.Hook = func(context.Context) { w.Service.Swap(w.StateOf(t, nil)) }
	if reply, err := w.Service.Thaw(t.Context(), caller, "default", new(v1.ThawRequest)); err != nil || reply.Keyset.Name != "default" {
		t.Errorf("a keyset of which nothing is left: %+v, %v", reply, err)
	}
}

func TestPlanAndHistory(t *testing.T) {
	w := signingtest.New(t, signingtest.All(uid))
	w.Operator.Steps = []rotation.Forecast{
		{At: until, Step: rotation.Step{Kind: "activate", Generation: 3, Reason: "its time has come"}},
		{At: until.Add(1), Step: rotation.Step{Kind: "inventory", Token: "main", Reason: "weekly"}},
	}
	w.Operator.Events = []rotation.Event{{At: until, What: "made", Generation: 3, KIDs: []string{"k"}, By: "schedule", Why: "w"}}
	plan, err := w.Service.Plan(t.Context(), caller, "default")
	if want := (&v1.Plan{Steps: []v1.PlannedStep{
		{At: until, Step: "activate", Generation: 3, Reason: "its time has come"}, {At: until.Add(1), Step: "inventory", Reason: "token main: weekly"},
	}}); err != nil || !reflect.DeepEqual(plan, want) {
		t.Errorf("plan %+v, %v", plan, err)
	}
	history, err := w.Service.History(t.Context(), caller, "default", 7)
	if want := (&v1.History{Events: []v1.Event{{At: until, What: "made", Generation: 3, KIDs: []string{"k"}, By: "schedule", Why: "w"}}}); err != nil || !reflect.DeepEqual(history, want) {
		t.Errorf("history %+v, %v", history, err)
	}
	w.Operator.Steps, w.Operator.Events = nil, nil
	plan, _ = w.Service.Plan(t.Context(), caller, "default")
	history, _ = w.Service.History(t.Context(), caller, "default", 0)
	if plan.Steps == nil || history.Events == nil { // [] in JSON
		t.Errorf("plan %+v, history %+v", plan, history)
	}
}

// An act goes on when its caller has gone, but not for ever.
func TestActIsNotCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := signingtest.New(t, signingtest.All(uid))
		for _, name := range []string{"rotate", "revoke", "freeze", "thaw", "import", "reload", "clock"} {
			ctx, hangUp := context.WithCancel(t.Context())
			w.Operator.Hook = func(context.Context) { hangUp() }
			if _, err := operatorsActs(ctx, w.Service, caller, "default")[name](); err != nil {
				t.Errorf("%s, with the caller gone: %v", name, err)
			}
			begun := time.Now()
			w.Operator.Hook = func(ctx context.Context) { <-ctx.Done() }
			_, err := operatorsActs(t.Context(), w.Service, caller, "default")[name]()
			expect(t, name, err, v1.DeadlineExceeded, "")
			if took := time.Since(begun); took != 30*time.Second {
				t.Errorf("%s: given up after %v", name, took)
			}
		}
	})
}

// What was done and not audited must not look as if it had not been done.
func TestActDoneAndNotAudited(t *testing.T) {
	for name := range operatorsActs(t.Context(), nil, caller, "") {
		w := signingtest.New(t, signingtest.All(uid))
		w.Audit.Fail(context.DeadlineExceeded)
		_, err := operatorsActs(t.Context(), w.Service, caller, "default")[name]()
		if name == "plan" || name == "history" || name == "csr" {
			expect(t, name, err, v1.DeadlineExceeded, "")
			continue
		}
		if expect(t, name, err, v1.AuditFailed, ""); !strings.Contains(fmt.Sprint(err), "it was done") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
