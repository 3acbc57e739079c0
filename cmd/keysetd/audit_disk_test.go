package main_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"keysetd.example/hsm/hsmtest"
)

// auditIn is a site whose audit log is in a folder of its own, and the kid of its audit key.
func auditIn(t *testing.T, folder string) (*site, string) {
	t.Helper()
	s := newSite(t)
	s.configure(`  default: {purpose: jwt, any_issuer: true, keys: [p-256]}`)
	s.edit("audit: {path: audit.jsonl}", "audit: {path: "+folder+"/audit.jsonl}")
	if err := os.Mkdir(s.path(folder), 0o700); err != nil {
		t.Fatal(err)
	}
	return s, auditKID(t, s.mustKeysetd("init", "-c", s.path("keysetd.yaml")))
}

// unaudited asks for a token that must not be made, and returns what is said.
func (d *daemon) unaudited(what string) (detail string, ok bool) {
	d.t.Helper()
	status, reply := d.token("default", "ES256", time.Minute)
	detail, _ = reply["detail"].(string)
	if status == http.StatusOK {
		return "", false
	}
	if status != http.StatusServiceUnavailable || reply["reason"] != "audit_failed" || reply["token"] != nil {
		d.t.Fatalf("%s: %d %v", what, status, reply)
	}
	return detail, true
}

// TestAuditDiskFull: on a disk without room nothing is signed; with room it goes on, and the chain holds.
func TestAuditDiskFull(t *testing.T) {
	t.Parallel()
	s, kid := auditIn(t, "disk")
	if err := syscall.Mount("keysetd-test", s.path("disk"), "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, "size=64k"); err != nil {
		if errors.Is(err, syscall.EPERM) {
			t.Skip("mounting a small disk takes the rights of root")
		}
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(s.path("disk"), syscall.MNT_DETACH) })
	d := s.serve()
	d.mustToken("default", "ES256", time.Minute)
	ballast := s.path("disk/ballast")
	if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	var detail string
	signed := 0 // into the page that the log has already
	eventually(t, 20*time.Second, "nothing is signed any more", func() (full bool) {
		detail, full = d.unaudited("a full disk")
		if !full {
			signed++
		}
		return full
	})
	contains(t, "what a caller is told of a full disk", detail, "audit log")
	contains(t, "the daemon's log", d.logged(), "no space left on device", "nothing is signed until it can be written")
	if _, full := d.unaudited("a full disk"); !full {
		t.Error("signed after all")
	}
	get(t, "http://"+d.Public+"/keysets/default/jwks.json") // verifiers are served all the same
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	d.mustToken("default", "ES256", time.Minute)
	d.stop()
	path := s.path("disk/audit.jsonl")
	chained(t, path, "--kid", kid, "--head", d.head())
	if got := strings.Count(strings.Join(s.lines("disk/audit.jsonl"), "\n"), `"outcome":"granted"`); got != signed+2 {
		t.Errorf("%d lines of what was granted, want %d", got, signed+2)
	}
}

// TestAuditFileVanishes: a file that is deleted is replaced and the loss is in the log; without a folder to
// put one in nothing is signed, until there is one.
func TestAuditFileVanishes(t *testing.T) {
	t.Parallel()
	s, kid := auditIn(t, "log")
	d := s.serve()
	path := s.path("log/audit.jsonl")
	d.mustToken("default", "ES256", time.Minute)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "a new file tells that the one before was deleted", func() bool {
		b, _ := os.ReadFile(path)
		return bytes.Contains(b, []byte(`"event":"file_deleted"`))
	})
	d.mustToken("default", "ES256", time.Minute)

	if err := os.RemoveAll(s.path("log")); err != nil {
		t.Fatal(err)
	}
	var detail string
	eventually(t, 10*time.Second, "nothing is signed without a place for the log", func() (gone bool) {
		detail, gone = d.unaudited("no folder")
		return gone
	})
	contains(t, "what a caller is told", detail, "audit log")
	contains(t, "the daemon's log", d.logged(), path, "no such file or directory")
	if err := os.Mkdir(s.path("log"), 0o700); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "signing goes on", func() bool {
		_, failed := d.unaudited("a new folder")
		return !failed
	})
	d.stop()
	out := chained(t, path, "--kid", kid, "--head", d.head())
	contains(t, "audit verify", out, "are not in these files")
	if lines := s.lines("log/audit.jsonl"); !strings.Contains(lines[0], `"event":"file_deleted"`) {
		t.Errorf("the file begins with %s", lines[0])
	}
}

// TestAuditWithoutToken: lines are written, and the checkpoint comes late and says since when.
func TestAuditWithoutToken(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.configure(remoteSpecs)
	kid := auditKID(t, s.mustKeysetd("init", "-c", s.path("keysetd.yaml")))
	p := hsmtest.NewP11Kit(t, s.soft())
	cfg := p.Config()
	s.through(cfg.Open.Module, cfg.Environment)
	d := s.serve()
	d.ctl("sign", "default", "--alg", "ES256", "--claims", claims("before"))
	p.Kill()
	eventually(t, 10*time.Second, "the token is away", func() bool {
		if d.ready() != http.StatusOK {
			return true
		}
		d.hasty(200 * time.Millisecond)
		return false
	})
	gone := time.Now()
	s.rotateLog(d, "audit.jsonl.1") // which wants a checkpoint, and does not wait for ever
	if waited := time.Since(gone); waited > 15*time.Second {
		t.Errorf("the log was rotated after %v", waited)
	}
	contains(t, "the daemon's log", d.logged(), "the audit log's checkpoint is late")
	p.Restart(t)
	eventually(t, 30*time.Second, "the token is there again", func() bool { return d.ready() == http.StatusOK })
	s.rotateLog(d, "audit.jsonl.2")
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(d.head(), ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var late struct {
		Since time.Time `json:"late_since"`
	}
	if err := json.Unmarshal(payload, &late); err != nil || late.Since.Before(gone.Add(-time.Second)) || late.Since.After(time.Now()) {
		t.Errorf("the checkpoint says %s (%v); the token was away since %v", payload, err, gone)
	}
	d.ctl("sign", "default", "--alg", "ES256", "--claims", claims("after"))
	d.stop()
	if payload, _ := base64.RawURLEncoding.DecodeString(strings.Split(d.head(), ".")[1]); bytes.Contains(payload, []byte("late_since")) {
		t.Errorf("the checkpoint after it is late too: %s", payload)
	}
	out := chained(t, s.path("audit.jsonl"), s.path("audit.jsonl.1"), s.path("audit.jsonl.2"), "--kid", kid, "--head", d.head())
	contains(t, "audit verify", out, fmt.Sprintf("by the checkpoints of %s (2)", kid))
}
