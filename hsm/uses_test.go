package hsm_test

import (
	"crypto/x509"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/hsm/hsmtest"
	"keysetd.example/hsm/hsmtest/memory"
	"keysetd.example/hsm/wire"
	"keysetd.example/internal/keyspec"
)

// Keys that decrypt or derive do that and nothing else, by what the token says and by what it does.
func TestKeysHaveOneUse(t *testing.T) {
	usages := []hsm.Usage{hsm.Sign, hsm.Decrypt, hsm.Derive}
	for name, cfg := range map[string]hsm.Config{"memory": memory.New("t", "1234").Config(), "SoftHSM": hsmtest.SoftHSM(t).Config()} {
		t.Run(name, func(t *testing.T) {
			cfg.Accept = []string{"uses/" + string(keyspec.RSA2048), "uses/" + string(keyspec.P256)} // which is of no help
			token := ready(t, cfg)
			for spec, usage := range map[keyspec.Spec]hsm.Usage{
				keyspec.RSA2048: hsm.Decrypt,
				keyspec.P256:    hsm.Derive, keyspec.P384: hsm.Derive, keyspec.P521: hsm.Derive,
			} {
				r := request("uses/"+string(spec), spec)
				r.Usage = usage
				o, err := token.Generate(within(t, time.Minute), r)
				if err != nil {
					t.Fatal(err)
				}
				for _, u := range usages {
					if err := hsm.CheckAttributes(o, u); (err == nil) != (u == usage) {
						t.Errorf("a key %s to %s, as one to %s: %v", spec, usage, u, err)
					}
				}
				objects, err := token.Objects(within(t, time.Minute), "")
				if err != nil {
					t.Fatal(err)
				}
				for _, u := range usages {
					if found, err := hsm.Find(objects, hsm.Ref{Label: r.Label}, u, cfg.Accept); (err == nil) != (u == usage) || err == nil && string(found.PublicKey) != string(o.PublicKey) {
						t.Errorf("a key %s to %s is found as one to %s: %v", spec, usage, u, err)
					}
				}
				pub, err := x509.ParsePKIXPublicKey(o.PublicKey)
				if err != nil {
					t.Fatal(err)
				}
				key, err := token.Key(hsm.Ref{ID: r.ID}, pub)
				if err != nil {
					t.Fatal(err)
				}
				if err := sign(t, within(t, time.Minute), key); !errors.Is(err, hsm.ErrTemplate) {
					t.Errorf("a key %s to %s is to sign: %v, want ErrTemplate", spec, usage, err)
				}
			}
			for _, r := range []hsm.GenerateRequest{
				{Spec: keyspec.P256, Usage: hsm.Decrypt}, {Spec: keyspec.RSA2048, Usage: hsm.Derive},
				{Spec: keyspec.Ed25519, Usage: hsm.Derive}, {Spec: keyspec.Ed25519, Usage: hsm.Decrypt},
			} {
				r.ID, r.Label = []byte("no"), "uses/no"
				if _, err := token.Generate(within(t, time.Minute), r); !errors.Is(err, hsm.ErrUnsupported) {
					t.Errorf("a key %s to %s: %v, want ErrUnsupported", r.Spec, r.Usage, err)
				}
			}
		})
	}
}

// A token in memory, like a real one, does not sign with a key that is for something else,
// whoever asks.
func TestMemoryTokenMindsTheUse(t *testing.T) {
	m := memory.New("t", "1234")
	token := ready(t, m.Config())
	r := request("uses/enc", keyspec.RSA2048)
	r.Usage = hsm.Decrypt
	if _, err := token.Generate(within(t, time.Minute), r); err != nil {
		t.Fatal(err)
	}
	w, err := m.Launch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Kill()
	c, _, err := wire.NewClient(t.Context(), w.Conn())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Prepare(t.Context(), wire.PrepareRequest{Sessions: 1}); err != nil {
		t.Fatal(err)
	}
	_, _, err = c.Sign(t.Context(), wire.SignRequest{Key: wire.Ref{ID: r.ID}, Mechanism: wire.RSAPSS256, Data: make([]byte, 32)})
	if e, ok := errors.AsType[*wire.Error](err); !ok || e.Code != 0x68 {
		t.Errorf("error %v, want CKR_KEY_FUNCTION_NOT_PERMITTED", err)
	}
}

// A key that an administrator brought signs by its label alone, where the operator accepts what is
// wrong with it.
func TestAdministratorsKeyOnSoftHSM(t *testing.T) {
	soft := hsmtest.SoftHSM(t)
	pin, err := os.ReadFile(soft.PINFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"--key-type", "EC:prime256v1", "--label", "signs", "--id", "01", "--usage-sign"},
		{"--key-type", "rsa:2048", "--label", "decrypts", "--id", "02", "--usage-decrypt"},
	} {
		cmd := exec.Command("pkcs11-tool", append([]string{"--module", soft.Module, "--token-label", soft.Label, "--login", "--pin", strings.TrimSpace(string(pin)), "--keypairgen"}, args...)...)
		cmd.Env = []string{"SOFTHSM2_CONF=" + soft.Conf}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("pkcs11-tool %v: %v: %s", args, err, out)
		}
	}
	for _, accept := range [][]string{nil, {"signs", "decrypts"}} {
		cfg := soft.Config()
		cfg.Accept = accept
		token := ready(t, cfg)
		objects, err := token.Objects(within(t, 20*time.Second), "")
		if err != nil {
			t.Fatal(err)
		}
		for label, usage := range map[string]hsm.Usage{"signs": hsm.Sign, "decrypts": hsm.Decrypt} {
			if _, err := hsm.Find(objects, hsm.Ref{Label: label}, usage, accept); accept == nil && !errors.Is(err, hsm.ErrTemplate) || accept != nil && err != nil {
				t.Errorf("%s, accepted %q: %v", label, accept, err)
			}
		}
		o, err := hsm.Find(objects, hsm.Ref{Label: "signs"}, hsm.Sign, []string{"signs"})
		if err != nil {
			t.Fatal(err)
		}
		pub, err := x509.ParsePKIXPublicKey(o.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		for _, ref := range []hsm.Ref{{Label: "signs"}, {ID: []byte{1}}, {ID: o.ID, Label: o.Label}} {
			key, err := token.Key(ref, pub)
			if err != nil {
				t.Fatal(err)
			}
			if err := sign(t, within(t, 20*time.Second), key); accept == nil && !errors.Is(err, hsm.ErrTemplate) || accept != nil && err != nil {
				t.Errorf("sign with %+v, accepted %q: %v", ref, accept, err)
			}
		}
		closeToken(t, token)
	}
}
