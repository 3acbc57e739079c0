package worker

import (
	"fmt"
	"os/exec"
	"reflect"
	"strings"
	"sync"
	"testing"

	"keysetd.example/hsm/wire"
	"keysetd.example/internal/keyspec"
)

// pkcs11Tool acts on the token from outside, as an administrator would.
func pkcs11Tool(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("pkcs11-tool", append([]string{"--module", softHSM, "--token-label", label, "--login", "--pin", userPIN}, args...)...)
	cmd.Env = []string{"SOFTHSM2_CONF=" + dir + "/softhsm2.conf"}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("pkcs11-tool %v: %v: %s", args, err, out)
	}
}

func labels(objects []wire.Object) (all []string) {
	for _, o := range objects {
		all = append(all, fmt.Sprintf("%s %x", o.Label, o.ID))
	}
	return all
}

func TestList(t *testing.T) {
	p, dir := newToken(t, 1)
	if all, _, err := p.List(t.Context(), wire.ListRequest{}); err != nil || all == nil || len(all) != 0 {
		t.Errorf("an empty token: %v, %v", all, err)
	}
	made := map[string]wire.Object{}
	for id, spec := range map[string]keyspec.Spec{"3": keyspec.RSA2048, "1": keyspec.P521, "2": keyspec.Ed25519} {
		made[id] = p.generate(t, id, spec)
	}
	pkcs11Tool(t, dir, "--keypairgen", "--key-type", "EC:secp384r1", "--label", "other", "--id", "0a")
	p = reopen(t, dir)
	ours, _, err := p.List(t.Context(), wire.ListRequest{Prefix: "keysetd:"})
	if want := []wire.Object{made["1"], made["2"], made["3"]}; err != nil || !reflect.DeepEqual(ours, want) {
		t.Errorf("got %+v, %v, want %+v", ours, err, want)
	}
	all, _, err := p.List(t.Context(), wire.ListRequest{})
	if want := []string{"keysetd:1 31", "keysetd:2 32", "keysetd:3 33", "other 0a"}; err != nil || !reflect.DeepEqual(labels(all), want) {
		t.Errorf("got %v, %v", labels(all), err)
	}
	if none, _, err := p.List(t.Context(), wire.ListRequest{Prefix: "nobody:"}); err != nil || len(none) != 0 {
		t.Errorf("got %v, %v", labels(none), err)
	}
}

// Without the public object an RSA key still tells its public half; an EC key does not.
// With another key under the same CKA_ID both are counted, and neither can be used by it.
func TestListHalvesAndDuplicates(t *testing.T) {
	p, dir := newToken(t, 1)
	rsa := p.generate(t, "rsa", keyspec.RSA2048)
	p.generate(t, "ec", keyspec.P256)
	p.generate(t, "twice", keyspec.P256)
	planted := p.generate(t, "planted", keyspec.P256)
	for _, id := range []string{"rsa", "ec"} {
		pkcs11Tool(t, dir, "--delete-object", "--type", "pubkey", "--id", fmt.Sprintf("%x", id))
	}
	pkcs11Tool(t, dir, "--keypairgen", "--key-type", "EC:prime256v1", "--label", "foreign", "--id", fmt.Sprintf("%x", "twice"))
	pkcs11Tool(t, dir, "--keypairgen", "--key-type", "EC:prime256v1", "--label", "orphan", "--id", "0b")
	pkcs11Tool(t, dir, "--delete-object", "--type", "privkey", "--id", "0b")
	// A public key with the CKA_ID of ours, which anyone can make without logging in.
	pkcs11Tool(t, dir, "--keypairgen", "--key-type", "EC:prime256v1", "--label", "a stranger's", "--id", fmt.Sprintf("%x", "planted"))
	pkcs11Tool(t, dir, "--delete-object", "--type", "privkey", "--id", fmt.Sprintf("%x", "planted"), "--label", "a stranger's")
	p = reopen(t, dir)
	objects, _, err := p.List(t.Context(), wire.ListRequest{})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]wire.Object{}
	for _, o := range objects {
		found[string(o.ID)] = o
	}
	if o := found["rsa"]; o.Public || !o.Private || !reflect.DeepEqual(o.PublicKey, rsa.PublicKey) {
		t.Errorf("rsa: %+v", o)
	}
	if o := found["ec"]; o.Public || !o.Private || o.PublicKey != nil || o.Attributes.Sign == nil {
		t.Errorf("ec: %+v", o)
	}
	if o := found["twice"]; o.Duplicates != 1 || o.Label == "" {
		t.Errorf("twice: %+v", o)
	}
	if o := found["planted"]; o.Duplicates != 0 || !o.Private || o.PublicKey != nil || o.Label != planted.Label {
		t.Errorf("beside a stranger's public key: %+v", o)
	}
	if o := found["\x0b"]; o.Private || !o.Public || o.PublicKey == nil || o.Label != "orphan" {
		t.Errorf("orphan: %+v", o)
	}
	if ours, _, err := p.List(t.Context(), wire.ListRequest{Prefix: "keysetd:twice"}); err != nil || len(ours) != 1 || ours[0].Duplicates != 1 || ours[0].Label != "keysetd:twice" {
		t.Errorf("ours: %+v, %v", ours, err)
	}
	r := wire.SignRequest{Key: wire.Ref{ID: []byte("twice")}, Mechanism: wire.ECDSA, Data: make([]byte, 32)}
	if _, _, err := p.Sign(t.Context(), r); reasonOf(err) != wire.KeyNotOne {
		t.Errorf("sign by a CKA_ID that two keys have: %v", err)
	}
	r.Key.Label = "keysetd:twice"
	if _, _, err := p.Sign(t.Context(), r); err != nil {
		t.Errorf("sign by CKA_ID and label: %v", err)
	}
}

func TestDestroy(t *testing.T) {
	p, dir := newToken(t, 1)
	for _, id := range []string{"a", "ab", "b", "c"} {
		p.generate(t, id, keyspec.P256)
	}
	digest := make([]byte, 32)
	sign := func(r wire.Ref) error {
		_, _, err := p.Sign(t.Context(), wire.SignRequest{Key: r, Mechanism: wire.ECDSA, Data: digest})
		return err
	}
	byID, byLabel := wire.Ref{ID: []byte("a")}, wire.Ref{Label: "keysetd:a"}
	for _, r := range []wire.Ref{byID, byLabel} { // both remember the handle
		if err := sign(r); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := p.Destroy(t.Context(), wire.Ref{Label: "keysetd:a"}); reasonOf(err) != wire.Protocol {
		t.Errorf("without a CKA_ID: %v", err)
	}
	if reply, _, err := p.Destroy(t.Context(), wire.Ref{ID: []byte("a"), Label: "another"}); err != nil || reply.Objects != 0 {
		t.Errorf("with another label: %+v, %v", reply, err)
	}
	for i, want := range []int{2, 0} {
		if reply, _, err := p.Destroy(t.Context(), byID); err != nil || reply.Objects != want {
			t.Errorf("attempt %d: %+v, %v", i, reply, err)
		}
	}
	for _, r := range []wire.Ref{byID, byLabel} {
		if err := sign(r); reasonOf(err) != wire.KeyMissing {
			t.Errorf("sign with %v afterwards: %v", r, err)
		}
	}
	// The same CKA_ID may be used again, and is then another key.
	p.generate(t, "a", keyspec.P256)
	if err := sign(byID); err != nil {
		t.Errorf("sign with the new key: %v", err)
	}
	// A certificate of the key goes with it; one of another key, and objects of other classes, stay.
	cert := t.TempDir() + "/cert"
	if out, err := exec.Command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "/dev/null",
		"-subj", "/CN=x", "-outform", "DER", "-out", cert).CombinedOutput(); err != nil {
		t.Fatalf("openssl: %v: %s", err, out)
	}
	pkcs11Tool(t, dir, "--write-object", cert, "--type", "cert", "--id", "62", "--label", "a certificate")
	pkcs11Tool(t, dir, "--write-object", cert, "--type", "data", "--label", "some data")
	p = reopen(t, dir)
	if reply, _, err := p.Destroy(t.Context(), wire.Ref{ID: []byte("b")}); err != nil || reply.Objects != 3 {
		t.Errorf("with a certificate: %+v, %v", reply, err)
	}
	left, _, err := p.List(t.Context(), wire.ListRequest{})
	if want := []string{"keysetd:a 61", "keysetd:ab 6162", "keysetd:c 63"}; err != nil || !reflect.DeepEqual(labels(left), want) {
		t.Errorf("left are %v, %v", labels(left), err)
	}
}

func TestGenerateRefuses(t *testing.T) {
	p, _ := newToken(t, 1)
	first := p.generate(t, "id", keyspec.P256)
	tests := map[string]struct {
		request wire.GenerateRequest
		want    wire.Reason
	}{
		"the same CKA_ID":    {wire.GenerateRequest{ID: []byte("id"), Label: "another", Spec: keyspec.P384, Usage: wire.Sign}, wire.KeyNotOne},
		"no CKA_ID":          {wire.GenerateRequest{Label: "l", Spec: keyspec.P256, Usage: wire.Sign}, wire.Protocol},
		"no label":           {wire.GenerateRequest{ID: []byte("x"), Spec: keyspec.P256, Usage: wire.Sign}, wire.Protocol},
		"unknown spec":       {wire.GenerateRequest{ID: []byte("x"), Label: "l", Spec: "rsa-1024", Usage: wire.Sign}, wire.Unsupported},
		"no usage":           {wire.GenerateRequest{ID: []byte("x"), Label: "l", Spec: keyspec.P256}, wire.Unsupported},
		"RSA derives":        {wire.GenerateRequest{ID: []byte("x"), Label: "l", Spec: keyspec.RSA2048, Usage: wire.Derive}, wire.Unsupported},
		"EC decrypts":        {wire.GenerateRequest{ID: []byte("x"), Label: "l", Spec: keyspec.P256, Usage: wire.Decrypt}, wire.Unsupported},
		"Ed25519 derives":    {wire.GenerateRequest{ID: []byte("x"), Label: "l", Spec: keyspec.Ed25519, Usage: wire.Derive}, wire.Unsupported},
		"an invented usage":  {wire.GenerateRequest{ID: []byte("x"), Label: "l", Spec: keyspec.RSA2048, Usage: "wrap"}, wire.Unsupported},
		"the empty key spec": {wire.GenerateRequest{ID: []byte("x"), Label: "l", Usage: wire.Sign}, wire.Unsupported},
	}
	for name, tt := range tests {
		if _, _, err := p.Generate(t.Context(), tt.request); reasonOf(err) != tt.want {
			t.Errorf("%s: got %v, want %s", name, err, tt.want)
		}
	}
	all, _, err := p.List(t.Context(), wire.ListRequest{})
	if err != nil || !reflect.DeepEqual(all, []wire.Object{first}) {
		t.Errorf("the token has %v, %v", labels(all), err)
	}
}

// Several keys generated, used and destroyed by many at once.
func TestObjectsAtOnce(t *testing.T) {
	p, _ := newToken(t, 2)
	var callers sync.WaitGroup
	for i := range 6 {
		callers.Go(func() {
			id := fmt.Sprint(i)
			for range 5 {
				p.generate(t, id, keyspec.P256)
				r := wire.SignRequest{Key: wire.Ref{ID: []byte(id)}, Mechanism: wire.ECDSA, Data: make([]byte, 32)}
				if _, _, err := p.Sign(t.Context(), r); err != nil {
					t.Error(err)
				}
				if _, _, err := p.List(t.Context(), wire.ListRequest{Prefix: "keysetd:"}); err != nil {
					t.Error(err)
				}
				if reply, _, err := p.Destroy(t.Context(), r.Key); err != nil || reply.Objects != 2 {
					t.Errorf("%+v, %v", reply, err)
				}
			}
		})
	}
	callers.Wait()
}

func TestMatch(t *testing.T) {
	h := func(id, label string) half { return half{id: []byte(id), label: label} }
	pairs := match(
		[]half{h("1", "k:a"), h("2", "other"), h("", "k:none"), h("3", "other"), h("3", "k:b")},
		[]half{h("1", ""), h("2", "other"), h("", "k:none"), h("", "else"), h("4", "k:orphan")},
		"k:")
	got := map[string]string{}
	for _, p := range pairs {
		got[string(append(p.private, p.public...)[0].id)] += fmt.Sprintf("%d+%d", len(p.private), len(p.public))
	}
	if want := map[string]string{"1": "1+1", "": "1+1", "3": "2+0", "4": "0+1"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if p := preferred([]half{h("3", "other"), h("3", "k:b")}, "k:"); p.label != "k:b" {
		t.Errorf("got %q", p.label)
	}
	if !strings.Contains(name(wire.Ref{ID: []byte{1}, Label: "l"}), `"l" with CKA_ID 01`) {
		t.Error(name(wire.Ref{ID: []byte{1}, Label: "l"}))
	}
}
