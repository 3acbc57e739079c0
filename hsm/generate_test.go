package hsm_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/hsm/hsmtest/memory"
	"keysetd.example/hsm/wire"
	"keysetd.example/internal/keyspec"
)

func TestGenerateRefusesWhatItDoesNotTrust(t *testing.T) {
	for _, c := range []struct {
		name  string
		alter func(*wire.Object)
		fault memory.Fault // of signing
		err   error
	}{
		{"extractable", func(o *wire.Object) { o.Attributes.Extractable = new(true) }, memory.Fault{}, hsm.ErrTemplate},
		{"also decrypts", func(o *wire.Object) { o.Attributes.Decrypt = new(true) }, memory.Fault{}, hsm.ErrTemplate},
		{"another label", func(o *wire.Object) { o.Label += "x" }, memory.Fault{}, hsm.ErrTemplate},
		{"no public half", func(o *wire.Object) { o.PublicKey = nil }, memory.Fault{}, nil},
		{"signs wrongly", nil, memory.Fault{Corrupt: true}, hsm.ErrBadSignature},
		{"does not sign", nil, memory.Fault{Code: ckrMechanismInvalid}, hsm.ErrUnsupported},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := memory.New("t", "1234")
			cfg := m.Config()
			cfg.Verify = hsm.VerifyNone // a new key is verified all the same
			token := ready(t, cfg)
			m.AlterGenerated(c.alter)
			if c.alter == nil {
				c.fault.Op = wire.OpSign
				m.Inject(c.fault)
			}
			r := request("test/1", keyspec.P256)
			_, err := token.Generate(within(t, 20*time.Second), r)
			if err == nil || c.err != nil && !errors.Is(err, c.err) || !strings.Contains(err.Error(), "test/1") {
				t.Errorf("error %v, want %v", err, c.err)
			}
			left := len(m.Objects())
			if c.name == "another label" { // not by the name that was asked for: not ours to destroy
				left--
			}
			if left != 0 {
				t.Errorf("%d keys are left", left)
			}
		})
	}
}

// An attempt that was cut off is not repeated; what it left is in the next inventory, and goes.
func TestGenerateIsNotRepeated(t *testing.T) {
	for _, after := range []bool{false, true} {
		m := memory.New("t", "1234")
		token := ready(t, m.Config())
		m.Inject(memory.Fault{Op: wire.OpGenerate, Drop: true, After: after})
		r := request("test/1", keyspec.P256)
		if _, err := token.Generate(within(t, 20*time.Second), r); !errors.Is(err, hsm.ErrUnavailable) {
			t.Errorf("error %v, want ErrUnavailable", err)
		}
		objects, err := token.Objects(within(t, 20*time.Second), "test/")
		if err != nil || len(objects) != len(m.Objects()) || (len(objects) == 1) != after {
			t.Errorf("%d keys in the inventory (%v), %d on the token, after the effect: %v", len(objects), err, len(m.Objects()), after)
		}
		n, err := token.Destroy(within(t, 20*time.Second), hsm.Ref{ID: r.ID})
		if err != nil || (n > 0) != after || len(m.Objects()) != 0 {
			t.Errorf("%d objects destroyed, %v; %d keys left", n, err, len(m.Objects()))
		}
	}
}

// A caller that gave up on a key keeps nobody from making the next, once the module is done.
func TestGenerateOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memory.New("t", "1234")
		token, err := hsm.Start(m.Config())
		if err != nil {
			t.Fatal(err)
		}
		defer closeToken(t, token)
		free := make(chan struct{})
		m.Inject(memory.Fault{Op: wire.OpGenerate, Hang: free})
		if _, err := token.Generate(within(t, time.Second), request("test/1", keyspec.P256)); !errors.Is(err, hsm.ErrUnavailable) {
			t.Errorf("error %v, want ErrUnavailable", err)
		}
		if _, err := token.Generate(within(t, time.Second), request("test/2", keyspec.P256)); !errors.Is(err, hsm.ErrUnavailable) {
			t.Errorf("two keys at once: %v", err)
		}
		if objects, err := token.Objects(t.Context(), ""); len(objects) != 0 || err != nil {
			t.Errorf("%d keys, %v", len(objects), err)
		}
		close(free)
		if _, err := token.Generate(t.Context(), request("test/3", keyspec.P256)); err != nil {
			t.Error(err)
		}
		objects, err := token.Objects(t.Context(), "")
		if err != nil || len(objects) != 2 {
			t.Errorf("%d keys, %v; want the late one and the new one", len(objects), err)
		}
	})
}

func TestGenerateBadRequests(t *testing.T) {
	token := ready(t, memory.New("t", "1234").Config())
	for _, r := range []hsm.GenerateRequest{
		{Label: "l", Spec: keyspec.P256, Usage: hsm.Sign},
		{ID: []byte{1}, Spec: keyspec.P256, Usage: hsm.Sign},
		{ID: []byte{1}, Label: "l", Spec: "p-192", Usage: hsm.Sign},
	} {
		if _, err := token.Generate(t.Context(), r); err == nil {
			t.Errorf("%+v was accepted", r)
		}
	}
	if _, err := token.Destroy(t.Context(), hsm.Ref{}); err == nil {
		t.Error("everything was to be destroyed")
	}
}

// The inventory is asked for once in an epoch and after a change, and errors are no absence.
func TestObjectsAreListedOnce(t *testing.T) {
	m := memory.New("t", "1234")
	token := ready(t, m.Config())
	generate(t, token, keyspec.P256)
	for range 3 {
		if objects, err := token.Objects(t.Context(), "test/"); len(objects) != 1 || err != nil {
			t.Fatalf("%d keys, %v", len(objects), err)
		}
		m.Clear()
		m.Inject(memory.Fault{Op: wire.OpList, Drop: true}) // nobody asks
	}
	if objects, err := token.Objects(t.Context(), "other/"); len(objects) != 0 || err != nil {
		t.Errorf("%d keys, %v", len(objects), err)
	}
	if m.Started() != 1 {
		t.Errorf("%d workers, want 1", m.Started())
	}
	m.Clear()
	if _, err := token.Destroy(t.Context(), hsm.Ref{ID: []byte("nothing")}); err != nil {
		t.Fatal(err)
	}
	m.Inject(memory.Fault{Op: wire.OpList, Drop: true})
	if objects, err := token.Objects(within(t, 20*time.Second), "test/"); len(objects) != 1 || err != nil {
		t.Errorf("over an outage: %d keys, %v", len(objects), err)
	}
}
