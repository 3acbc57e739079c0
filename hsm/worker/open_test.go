package worker

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/pkcs11"

	"keysetd.example/hsm/wire"
)

func TestOpenTellsWhatTheTokenIs(t *testing.T) {
	_, dir := newToken(t, 1)
	p := start(t, dir)
	info, _, err := p.Open(t.Context(), wire.OpenRequest{Module: softHSM, Label: label})
	if err != nil {
		t.Fatal(err)
	}
	if info.Label != label || len(info.Serial) != 16 || info.Manufacturer != "SoftHSM project" || info.Model != "SoftHSM v2" ||
		info.LibraryName != "Implementation of PKCS11" || !strings.HasPrefix(info.LibraryVersion, "2.") || info.MaxSessions != 0 ||
		!info.LoginRequired || info.PINLocked || info.PINFinalTry || info.PINCountLow {
		t.Errorf("got %+v", info)
	}
	for _, m := range []uint64{pkcs11.CKM_RSA_PKCS, pkcs11.CKM_RSA_PKCS_PSS, pkcs11.CKM_ECDSA, ckmEdDSA} {
		if !slices.Contains(info.Mechanisms, m) {
			t.Errorf("mechanism 0x%X is not listed", m)
		}
	}
	for name, r := range map[string]wire.OpenRequest{
		"serial":     {Module: softHSM, Serial: info.Serial},
		"everything": {Module: softHSM, Label: label, Serial: info.Serial, Manufacturer: info.Manufacturer, Model: info.Model},
	} {
		if again, _, err := p.Open(t.Context(), r); err != nil || again.Serial != info.Serial {
			t.Errorf("by %s: got %+v, %v", name, again, err)
		}
	}
	_, _, err = p.Open(t.Context(), wire.OpenRequest{Module: softHSM, Label: label, Model: "another"})
	if reasonOf(err) != wire.TokenMissing || !strings.Contains(err.Error(), label) || !strings.Contains(err.Error(), info.Serial) {
		t.Errorf("got %v", err)
	}
}

func TestTwoTokensWithOneLabel(t *testing.T) {
	dir := tokenDir(t)
	for range 2 {
		cmd := exec.Command("softhsm2-util", "--init-token", "--free", "--label", label, "--pin", "1234", "--so-pin", "12345678")
		cmd.Env = []string{"SOFTHSM2_CONF=" + dir + "/softhsm2.conf"}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	p := start(t, dir)
	_, _, err := p.Open(t.Context(), wire.OpenRequest{Module: softHSM, Label: label})
	if reasonOf(err) != wire.TokenNotOne || !strings.Contains(err.Error(), "serial number") {
		t.Errorf("got %v", err)
	}
	if err := p.login(t.Context(), 1); reasonOf(err) != wire.Protocol {
		t.Errorf("login without a token: %v", err)
	}
}

func TestModuleMissing(t *testing.T) {
	p := start(t, tokenDir(t), "FAULT=no-list")
	for name, path := range map[string]string{
		"no file":           filepath.Join(t.TempDir(), "none.so"),
		"not a library":     "/proc/self/status",
		"not a module":      "libc.so.6",
		"list refused":      faultModule(t),
		"the empty path":    "",
		"a path with a NUL": "libc.so.6\x00",
	} {
		_, _, err := p.Open(t.Context(), wire.OpenRequest{Module: path, Label: label})
		if reasonOf(err) != wire.ModuleMissing || !strings.Contains(err.Error(), "token.module") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	p = start(t, tokenDir(t), "FAULT=gap")
	_, _, err := p.Open(t.Context(), wire.OpenRequest{Module: faultModule(t), Label: label})
	if reasonOf(err) != wire.ModuleMissing || !strings.Contains(err.Error(), "gaps") {
		t.Errorf("a function list with gaps: got %v", err)
	}
}

func TestInitToken(t *testing.T) {
	p := start(t, tokenDir(t))
	if _, err := p.initToken(t.Context()); reasonOf(err) != wire.Protocol {
		t.Errorf("before open: %v", err)
	}
	if _, _, err := p.Open(t.Context(), wire.OpenRequest{Module: softHSM, Label: label}); reasonOf(err) != wire.TokenMissing {
		t.Errorf("got %v", err)
	}
	for _, bad := range []string{"", strings.Repeat("x", 33)} {
		if _, _, err := p.InitToken(t.Context(), wire.InitTokenRequest{Label: bad}); reasonOf(err) != wire.Protocol {
			t.Errorf("label %q: got %v", bad, err)
		}
	}
	info, err := p.initToken(t.Context())
	if err != nil || info.Label != label || info.Serial == "" || len(info.Mechanisms) == 0 {
		t.Fatalf("got %+v, %v", info, err)
	}
	if _, err := p.initToken(t.Context()); reasonOf(err) != wire.TokenNotOne || !strings.Contains(err.Error(), info.Serial) {
		t.Errorf("a second time: %v", err)
	}
	// It is chosen now, also for one who opens it again.
	if again, _, err := p.Open(t.Context(), wire.OpenRequest{Module: softHSM, Label: label}); err != nil || again.Serial != info.Serial {
		t.Errorf("open it again: %+v, %v", again, err)
	}
	if err := p.login(t.Context(), 1); err != nil {
		t.Errorf("log in to it: %v", err)
	}
	if _, err := p.initToken(t.Context()); reasonOf(err) != wire.Protocol {
		t.Errorf("after login: %v", err)
	}
}

func TestChoose(t *testing.T) {
	a := slot{number: 1, initialised: true, token: wire.TokenInfo{Label: "l", Serial: "1", Manufacturer: "m", Model: "x"}}
	b := slot{number: 2, initialised: true, token: wire.TokenInfo{Label: "l", Serial: "2", Manufacturer: "m", Model: "y"}}
	free := slot{number: 3, token: wire.TokenInfo{Label: "l"}}
	tests := []struct {
		name  string
		slots []slot
		want  wire.OpenRequest
		slot  uint
		err   wire.Reason
		says  string
	}{
		{"by label", []slot{free, a}, wire.OpenRequest{Label: "l"}, 1, "", ""},
		{"by serial", []slot{a, b}, wire.OpenRequest{Serial: "2"}, 2, "", ""},
		{"by label and model", []slot{a, b}, wire.OpenRequest{Label: "l", Model: "y"}, 2, "", ""},
		{"ambiguous", []slot{a, b}, wire.OpenRequest{Label: "l", Manufacturer: "m"}, 0, wire.TokenNotOne, `"l" with serial number "1", "l" with serial number "2"`},
		{"another label", []slot{a}, wire.OpenRequest{Label: "k"}, 0, wire.TokenMissing, `label "k"; there are "l" with serial number "1"`},
		{"a prefix", []slot{{initialised: true, token: wire.TokenInfo{Label: "label"}}}, wire.OpenRequest{Label: "lab"}, 0, wire.TokenMissing, ""},
		{"only one that is not initialised", []slot{free}, wire.OpenRequest{Label: "l"}, 0, wire.TokenMissing, "initialised"},
		{"nothing asked for", []slot{a}, wire.OpenRequest{Manufacturer: "m"}, 0, wire.Protocol, "neither"},
	}
	for _, tt := range tests {
		got, err := choose(tt.slots, tt.want)
		if got.number != tt.slot || reasonOf(err) != tt.err || (err == nil) != (tt.err == "") {
			t.Errorf("%s: got slot %d, %v", tt.name, got.number, err)
		}
		if err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %q does not say %q", tt.name, err, tt.says)
		}
	}
}

func TestChooseFree(t *testing.T) {
	used := slot{number: 1, initialised: true, hasUserPIN: true, token: wire.TokenInfo{Label: "l", Serial: "1"}}
	if s, err := chooseFree([]slot{used, {number: 2}, {number: 3}}, "k"); err != nil || s.number != 2 {
		t.Errorf("got %d, %v", s.number, err)
	}
	if _, err := chooseFree([]slot{used}, "k"); reasonOf(err) != wire.TokenMissing {
		t.Errorf("no free slot: %v", err)
	}
	if _, err := chooseFree([]slot{{number: 2}, used}, "l"); reasonOf(err) != wire.TokenNotOne || !strings.Contains(err.Error(), "in use") {
		t.Errorf("in use: %v", err)
	}
	used.hasUserPIN = false
	if _, err := chooseFree([]slot{used, {number: 2}}, "l"); reasonOf(err) != wire.TokenNotOne || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("half made: %v", err)
	}
}
