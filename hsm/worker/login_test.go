package worker

import (
	"strings"
	"testing"

	"github.com/miekg/pkcs11"

	"keysetd.example/hsm/wire"
	"keysetd.example/internal/keyspec"
)

// A wrong PIN is told by its code, and the process does not try another one.
func TestWrongPIN(t *testing.T) {
	_, dir := newToken(t, 1)
	p := start(t, dir)
	if _, _, err := p.Open(t.Context(), wire.OpenRequest{Module: softHSM, Label: label}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Prepare(t.Context(), wire.PrepareRequest{Sessions: 1}); err != nil {
		t.Fatal(err)
	}
	_, err := p.Login(t.Context(), wire.LoginRequest{PIN: []byte("wrong-" + userPIN)})
	if e := errorOf(err); e.Code != pkcs11.CKR_PIN_INCORRECT || e.Function != "C_Login" || !strings.Contains(e.Message, label) {
		t.Errorf("got %v", err)
	}
	if strings.Contains(err.Error(), userPIN) {
		t.Errorf("the PIN is in the error: %v", err)
	}
	if err := p.login(t.Context(), 1); reasonOf(err) != wire.Protocol {
		t.Errorf("a second try: %v", err)
	}
	if _, _, err := p.List(t.Context(), wire.ListRequest{}); reasonOf(err) != wire.Protocol {
		t.Errorf("list without login: %v", err)
	}
}

func TestLoginRefuses(t *testing.T) {
	p, _ := newToken(t, 1, "FAULT=none")
	if err := p.login(t.Context(), 1); reasonOf(err) != wire.Protocol {
		t.Errorf("twice: %v", err)
	}
	if _, _, err := p.Open(t.Context(), wire.OpenRequest{Module: softHSM, Label: label}); reasonOf(err) != wire.Protocol {
		t.Errorf("open while logged in: %v", err)
	}
	_, dir := newToken(t, 1)
	p = start(t, dir)
	if _, _, err := p.Open(t.Context(), wire.OpenRequest{Module: softHSM, Label: label}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Login(t.Context(), wire.LoginRequest{}); reasonOf(err) != wire.Protocol {
		t.Errorf("an empty PIN: %v", err)
	}
	if err := p.login(t.Context(), 1); err != nil { // nothing was tried yet
		t.Errorf("afterwards: %v", err)
	}
}

func TestEverythingNeedsALogin(t *testing.T) {
	p := start(t, tokenDir(t))
	ctx := t.Context()
	_, _, signErr := p.Sign(ctx, signRequest())
	_, _, listErr := p.List(ctx, wire.ListRequest{})
	_, _, destroyErr := p.Destroy(ctx, wire.Ref{ID: []byte("ec")})
	_, _, generateErr := p.Generate(ctx, wire.GenerateRequest{ID: []byte("ec"), Label: "l", Spec: keyspec.P256, Usage: wire.Sign})
	for what, err := range map[string]error{"login": p.login(ctx, 1), "sign": signErr, "list": listErr, "destroy": destroyErr, "generate": generateErr} {
		if reasonOf(err) != wire.Protocol {
			t.Errorf("%s: got %v", what, err)
		}
	}
}

// That somebody is logged in already proves nothing about the PIN.
func TestAlreadyLoggedIn(t *testing.T) {
	_, dir := newToken(t, 1)
	p := start(t, dir, "FAULT=already-logged-in")
	if _, _, err := p.Open(t.Context(), wire.OpenRequest{Module: faultModule(t), Label: label}); err != nil {
		t.Fatal(err)
	}
	if err := p.login(t.Context(), 1); errorOf(err).Code != pkcs11.CKR_USER_ALREADY_LOGGED_IN || reasonOf(err) != wire.Protocol {
		t.Errorf("got %v", err)
	}
}
