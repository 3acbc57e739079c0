package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"keysetd.example/internal/audit"
)

func newTrail(t *testing.T) (trail *audit.Log, records func() []audit.Record) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	trail, err := audit.Open(path, audit.Options{Sync: audit.SyncSecond})
	if err != nil {
		t.Fatal(err)
	}
	return trail, func() (list []audit.Record) {
		t.Helper()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			var r audit.Record
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				t.Fatal(err)
			}
			list = append(list, r)
		}
		return list
	}
}

// own checks that records are the daemon's own acts, as OPERATION KEYSET KID OUTCOME REASON: DETAIL.
func own(t *testing.T, records []audit.Record, want ...string) {
	t.Helper()
	var got []string
	for _, r := range records {
		if int(r.Caller.UID) != os.Getuid() || int(r.Caller.GID) != os.Getgid() || int(r.Caller.PID) != os.Getpid() || r.Time.IsZero() {
			t.Errorf("it is of %+v at %v", r.Caller, r.Time)
		}
		got = append(got, strings.Join([]string{r.Operation, r.Keyset, r.KID, string(r.Outcome), r.Reason}, " ")+": "+r.Detail)
	}
	if !slices.Equal(got, want) {
		t.Errorf("the audit log has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestHangupIsInTheAuditLog: with what became of it.
func TestHangupIsInTheAuditLog(t *testing.T) {
	trail, records := newTrail(t)
	defer trail.Close()
	synctest.Test(t, func(t *testing.T) {
		s := newReloadStage(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		hangups := make(chan os.Signal)
		go onHangup(ctx, hangups, trail, s.reloader, notifier{log: s.reloader.log})
		hangup := func() {
			hangups <- syscall.SIGHUP
			synctest.Wait()
		}
		hangup()
		s.broken = errors.New("keysetd.yaml:3:4: wrong")
		hangup()
		s.broken, s.manager.err = nil, errors.New("the disk is full")
		hangup()
		own(t, records(),
			"admin   granted : reload by SIGHUP",
			"admin   refused bad_configuration: reload by SIGHUP: bad_configuration: keysetd.yaml:3:4: wrong",
			"admin   failed internal: reload by SIGHUP: putting the configuration in force: the disk is full")
	})
}
