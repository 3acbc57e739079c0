package signing_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	v1 "keysetd.example/api/v1"
	"keysetd.example/internal/audit"
	"keysetd.example/internal/keyspec"
	"keysetd.example/signing"
	"keysetd.example/signing/policy"
	"keysetd.example/signing/signingtest"
)

// panics is an Auditor that fails as code does.
type panics struct{}

func (panics) Append(context.Context, audit.Record) error { panic("a fault at /var/lib/secret") }

// An act that panics has its line in the audit log, and tells its caller no more than that.
func TestPanicIsAudited(t *testing.T) {
	fault := func(context.Context) { panic("a fault at /var/lib/secret") }
	w := signingtest.New(t, signingtest.All(uid))
	w.Operator.Hook = fault
	w.Keys[keyspec.P256].Hook(fault)
	s, ctx := w.Service, t.Context()
	s.Config.RetryPIN = func(ctx context.Context, _ string) error { fault(ctx); return nil }
	acts := operatorsActs(ctx, s, caller, "default")
	acts["jwt"] = func() (any, error) {
		return s.SignJWT(ctx, caller, "default", &v1.JWTRequest{Claims: claims("")})
	}
	acts["sign"] = func() (any, error) {
		return s.Sign(ctx, caller, "raw", &v1.SignRequest{Payload: new(""), Alg: "ES256"})
	}
	acts["client-assertion"] = func() (any, error) {
		return s.SignClientAssertion(ctx, caller, "default", assertionRequest(""))
	}
	acts["pin retry"] = func() (any, error) { return s.PINRetry(ctx, caller, "main") }
	acts["item"] = func() (any, error) {
		reply, err := s.Batch(ctx, caller, "default", &v1.BatchRequest{Items: []v1.BatchItem{{JWT: &v1.JWTRequest{Claims: claims("")}}}})
		if err != nil {
			return nil, err
		}
		return nil, reply.Items[0].Error
	}
	operations := map[string]string{
		"thaw": "freeze", "csr": "certificate", "import": "certificate", "plan": "read", "history": "read", "reload": "admin", "clock": "admin", "pin retry": "admin", "item": "jwt",
	}
	for name, act := range acts {
		before := len(w.Audit.Records())
		_, err := act()
		expectFault(t, name, err)
		operation := operations[name]
		if operation == "" {
			operation = name
		}
		r := w.Audit.Last()
		if n := len(w.Audit.Records()) - before; n != 1 || r.Operation != operation || r.Outcome != audit.Failed || r.Reason != "internal" || r.Caller.UID != uid || strings.Contains(r.Detail, "secret") {
			t.Errorf("%s: %d lines, the last %+v", name, n, r)
		}
		if signs := name == "jwt" || name == "sign" || name == "client-assertion"; signs && (r.KID == "" || r.Digest == nil) {
			t.Errorf("%s: what was known is not in %+v", name, r)
		}
	}
}

// Also those that touch nothing but memory: a state without a policy stands for a fault there.
func TestPanicOfWhatIsInMemory(t *testing.T) {
	w := signingtest.New(t)
	state, err := signing.NewState(nil, w.Keysets(), w.Metrics)
	if err != nil {
		t.Fatal(err)
	}
	s, ctx := w.Service, t.Context()
	s.Swap(state)
	for name, act := range map[string]func() error{
		"whoami":  func() error { _, err := s.WhoAmI(ctx, caller); return err },
		"keyset":  func() error { _, err := s.Keyset(ctx, caller, "default"); return err },
		"keysets": func() error { _, err := s.Keysets(ctx, caller); return err },
		"admit":   func() error { return s.Admit(ctx, caller, policy.JWT, "default") },
		"batch":   func() error { _, err := s.Batch(ctx, caller, "default", new(v1.BatchRequest)); return err },
	} {
		before := len(w.Audit.Records())
		expectFault(t, name, act())
		if all := w.Audit.Records(); len(all) != before+1 || all[before].Reason != "internal" {
			t.Errorf("%s: audited as %+v", name, all[before:])
		}
	}
}

// Where the audit log itself panics, an item of a batch does not end the daemon.
func TestPanicOfTheAuditLog(t *testing.T) {
	w := signingtest.New(t, signingtest.All(uid))
	w.Service.Auditor = panics{}
	reply, err := w.Service.Batch(t.Context(), caller, "default", &v1.BatchRequest{Items: []v1.BatchItem{{JWT: &v1.JWTRequest{Claims: claims("")}}}})
	if err != nil || reply.Items[0].JWT != nil {
		t.Fatalf("%+v, %v", reply, err)
	}
	expectFault(t, "item", reply.Items[0].Error)
}

func expectFault(t *testing.T, name string, err error) {
	t.Helper()
	expect(t, name, err, v1.Internal, "")
	if e, ok := errors.AsType[*v1.Error](err); ok && strings.Contains(e.Detail, "secret") || err == nil {
		t.Errorf("%s: told %s", name, fmt.Sprint(err))
	}
}
