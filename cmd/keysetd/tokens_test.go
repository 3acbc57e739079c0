package main_test

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestTwoTokens: a keyset names its token and each token has a worker of its own, so that
// the death of one is nothing to the other; a keyset that is given another token moves there
// with its next generation.
func TestTwoTokens(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.initToken("second")
	s.configure(`
  default: {purpose: jwt, issuer: "https://issuer.example", keys: [p-256], token: one, certificate: {issuer: none}, rotation: {period: 3s, clock_skew: 200ms}, publish: {max_age: 1s}, max_token_lifetime: 2s}
  other: {purpose: raw, keys: [p-256], token: two, certificate: {issuer: none}}
`)
	yaml, err := os.ReadFile(s.path("keysetd.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	first, rest, _ := strings.Cut(string(yaml), "store:")
	one := strings.ReplaceAll(strings.TrimPrefix(strings.TrimSpace(first), "token:"), "\n  ", "\n    ")
	text := "tokens:\n  one:" + one + "\n  two:" + strings.Replace(one, "label: e2e", "label: second", 1) + "\nstore:" + rest
	s.write("keysetd.yaml", text)
	s.mustKeysetd("init", "-c", s.path("keysetd.yaml"))
	d := s.serve()
	sign := func() (int, map[string]any) {
		return d.call("POST", "/v1/keysets/default/jwt", fmt.Sprintf(`{"claims":{"exp":%d}}`, time.Now().Add(time.Second+500*time.Millisecond).Unix()))
	}
	if status, reply := sign(); status != 200 {
		t.Fatalf("keyset default: %d %v", status, reply)
	}
	if status, reply := d.call("POST", "/v1/keysets/other/sign", `{"payload":"eA"}`); status != 200 {
		t.Fatalf("keyset other: %d %v", status, reply)
	}
	var restarted []string
	syscall.Kill(d.worker(), syscall.SIGKILL)
	eventually(t, 10*time.Second, "both tokens are up again", func() bool {
		restarted = nil
		for _, name := range []string{"one", "two"} {
			if d.metric(`keysetd_token_up{token="`+name+`"}`) != 1 {
				return false
			}
			if d.metric(`keysetd_worker_restarts_total{token="`+name+`"}`) > 0 {
				restarted = append(restarted, name)
			}
		}
		return len(restarted) > 0
	})
	if len(restarted) != 1 {
		t.Errorf("the death of one worker restarted %v", restarted)
	}

	d.stop()
	s.write("keysetd.yaml", strings.Replace(text, "token: one", "token: two", 1))
	d = s.serve()
	eventually(t, 60*time.Second, "keyset default lives on token two alone", func() bool {
		if status, reply := sign(); status != 200 {
			t.Fatalf("while it moves: %d %v", status, reply)
		}
		on := d.ctl("status", "default", "--json")
		return strings.Contains(on, `"two"`) && !strings.Contains(on, `"one"`)
	})
	if left := s.privateKeys(); len(left) > 0 {
		t.Errorf("keys are left on token one: %v", left)
	}
}
