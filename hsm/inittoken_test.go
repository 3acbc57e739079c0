package hsm_test

import (
	"errors"
	"testing"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/hsm/hsmtest/memory"
	"keysetd.example/hsm/wire"
	"keysetd.example/internal/keyspec"
)

func TestInitToken(t *testing.T) {
	m := memory.New("t", "1234")
	token := ready(t, m.Config())
	generate(t, token, keyspec.P256)
	so, user := []byte("87654321"), []byte("5678")
	if _, err := hsm.InitToken(within(t, 20*time.Second), m.Config(), "t", so, user); err == nil || len(m.Objects()) != 1 {
		t.Fatalf("a token in use was initialised (%v); %d keys are left", err, len(m.Objects()))
	}
	if string(so)+string(user) != "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" {
		t.Errorf("the PINs are still in memory: %q, %q", so, user)
	}
	m.Inject(memory.Fault{Op: wire.OpOpen, Code: ckrDeviceError})
	_, err := hsm.InitToken(within(t, 20*time.Second), m.Config(), "new", []byte("1"), []byte("5678"))
	if code, ok := errors.AsType[*wire.Error](err); !ok || code.Code != ckrDeviceError {
		t.Errorf("an outage: %v", err)
	}
	closeToken(t, token)

	info, err := hsm.InitToken(within(t, 20*time.Second), m.Config(), "new", []byte("87654321"), []byte("5678"))
	if err != nil || info.Label != "new" {
		t.Fatalf("%+v, %v", info, err)
	}
	cfg := m.Config() // of the token as it is now
	ready(t, cfg)
}
