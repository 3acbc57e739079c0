package main_test

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"keysetd.example/hsm/hsmtest"
)

// TestWrongPINThroughEveryCommand counts at the token how often a wrong PIN is tried: once.
func TestWrongPINThroughEveryCommand(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.configure("  default: {purpose: jwt, issuer: \"https://issuer.example\", keys: [p-256], certificate: {issuer: none}}\n")
	f := hsmtest.NewFaulty(t, s.soft())
	cfg := f.Config()
	s.through(cfg.Open.Module, cfg.Environment)
	f.Delay("C_Login", 0) // which changes nothing and counts the calls
	logins := func(what string, want int) {
		t.Helper()
		if got := f.Taken(); got != want {
			t.Errorf("%s: C_Login was called %d times in all, want %d", what, got, want)
		}
	}
	s.mustKeysetd("init", "-c", s.path("keysetd.yaml"))
	d := s.serve()
	d.stop()
	logins("init and serve with the right PIN", 2)

	s.write("pin", "not-"+pin+"\n")
	d = s.start("listening")
	eventually(t, 20*time.Second, "the daemon says that the PIN was refused", func() bool { return strings.Contains(d.logged(), "keysetctl pin retry") })
	logins("serve with a wrong PIN", 3)
	if worker := childOf(d.cmd.Process.Pid); worker != 0 { // it is not kept; if it were, the next would try again
		syscall.Kill(worker, syscall.SIGKILL)
	}
	if status, reply, err := d.tryCall("POST", "/v1/keysets/default/jwt", `{"alg":"ES256","claims":`+claims("blocked")+`}`); status != 503 || reply["reason"] != "unavailable" {
		t.Errorf("sign while nobody logs in: %d %v %v", status, reply, err)
	}
	for _, args := range [][]string{{"check"}, {"init"}, {"check"}} {
		if _, stderr, err := s.keysetd(args[0], "-c", s.path("keysetd.yaml")); err == nil {
			t.Errorf("%s beside the daemon: no error\n%s", args[0], stderr)
		}
	}
	d.stop()
	for range 2 {
		d = s.start("listening")
		eventually(t, 20*time.Second, "the restarted daemon says why it does not log in", func() bool { return strings.Contains(d.logged(), "keysetctl pin retry") })
		d.stop()
		if _, stderr, err := s.keysetd("check", "-c", s.path("keysetd.yaml")); err == nil || !strings.Contains(stderr, "PIN") {
			t.Errorf("check: %v\n%s", err, stderr)
		}
	}
	s.write("pin", pin+"\n") // nothing tells the daemon that it is right now
	if _, _, err := s.keysetd("check", "-c", s.path("keysetd.yaml")); err == nil {
		t.Error("check logs in without an operator's word")
	}
	logins("serve, restart, check", 3)
	d = s.start("listening")
	d.ctl("pin", "retry")
	logins("pin retry", 4)
	if status, reply := d.call("POST", "/v1/keysets/default/jwt", `{"alg":"ES256","claims":`+claims("again")+`}`); status != 200 {
		t.Errorf("sign after pin retry: %d %v", status, reply)
	}
	logins("signing", 4)
}
