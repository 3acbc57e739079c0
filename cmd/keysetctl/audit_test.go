package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keysetd.example/internal/audit"
)

func auditLog(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l, err := audit.Open(path, audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, jti := range []string{"a", "b", "c"} {
		if err := l.Append(t.Context(), audit.Record{Operation: "jwt", JTI: jti, Outcome: audit.Granted}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAuditVerify(t *testing.T) {
	path := auditLog(t)
	out := mustCtl(t, "", "audit", "verify", path)
	if !strings.HasPrefix(out, "3 lines, 1 to 3, 20") || !strings.Contains(out, "\nnot proven: 3 lines after line 0 are not covered by a checkpoint yet") ||
		!strings.Contains(out, "no head was given (--head") || strings.Count(out, "\n") != 2 {
		t.Error(out)
	}
	if out := mustCtl(t, "", "audit", "verify", "--json", path); !strings.Contains(out, `"last": 3`) {
		t.Error(out)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(data), `"jti":"b"`, `"jti":"x"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err = ctl(t, "", "audit", "verify", path)
	if fault, ok := errors.AsType[*audit.Fault](err); !ok || fault.Line != 2 || fault.Kind != audit.Changed || exitCode(err) != 1 ||
		!strings.HasPrefix(oneLine(err), "keysetctl: "+path+":2: changed: ") || !strings.HasPrefix(out, "up to the fault: ") {
		t.Errorf("%v\n%s", err, out)
	}
	for _, args := range [][]string{{"/nonexistent"}, {path, "--head", "x"}, {path, "--head", ""}, {path, "--head="}, {path, "--kid="}, {path, "--kid", "a,,b"}, {}} {
		if _, err := ctl(t, "", append([]string{"audit", "verify"}, args...)...); err == nil || exitCode(err) != 2 {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func TestAuditVerifyProvesNothing(t *testing.T) {
	path := auditLog(t)
	_, err := ctl(t, "", "audit", "verify", path, "--kid", "x")
	if fault, ok := errors.AsType[*audit.Fault](err); !ok || fault.Kind != audit.Unproven || exitCode(err) != 1 {
		t.Error(err)
	}
}

// TestAuditVerifyDeclared: what keysetd found is told, and the log is read on behind it.
func TestAuditVerifyDeclared(t *testing.T) {
	path := auditLog(t)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("junk\njunk\n"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := audit.Open(path, audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.Append(t.Context(), audit.Record{Operation: "jwt", Outcome: audit.Granted}), l.Close()); err != nil {
		t.Fatal(err)
	}
	out, err := ctl(t, "", "audit", "verify", path)
	if fault, ok := errors.AsType[*audit.Fault](err); !ok || fault.Kind != audit.Foreign || exitCode(err) != 1 ||
		!strings.HasPrefix(out, "5 lines, 1 to 5, ") || !strings.Contains(out, "\nkeysetd found when it started: "+path+":6: foreign: ") {
		t.Errorf("%v\n%s", err, out)
	}
}
