package worker

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" // RSA-OAEP of RFC 7518 §4.3, all that SoftHSM has
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/miekg/pkcs11"

	"keysetd.example/hsm/wire"
	"keysetd.example/internal/keyspec"
)

// A key has its one use and no other: the token says so, and refuses the others.
func TestUsages(t *testing.T) {
	p, _ := newToken(t, 1)
	for i, tt := range []struct {
		usage     wire.Usage
		spec      keyspec.Spec
		mechanism wire.Mechanism
	}{
		{wire.Sign, keyspec.RSA2048, wire.RSAPSS256}, {wire.Sign, keyspec.P256, wire.ECDSA},
		{wire.Decrypt, keyspec.RSA2048, wire.RSAPSS256}, {wire.Decrypt, keyspec.RSA2048, wire.RSAPKCS},
		{wire.Derive, keyspec.P256, wire.ECDSA}, {wire.Derive, keyspec.P384, wire.ECDSA}, {wire.Derive, keyspec.P521, wire.ECDSA},
	} {
		o, _, err := p.Generate(t.Context(), wire.GenerateRequest{ID: []byte{byte(i + 1)}, Label: string(tt.usage), Spec: tt.spec, Usage: tt.usage})
		if err != nil {
			t.Errorf("%s: %v", tt.usage, err)
			continue
		}
		for one, has := range map[wire.Usage]*bool{wire.Sign: o.Attributes.Sign, wire.Decrypt: o.Attributes.Decrypt, wire.Derive: o.Attributes.Derive} {
			if has == nil || *has != (one == tt.usage) {
				t.Errorf("a key to %s: %s is wrong", tt.usage, one)
			}
		}
		_, _, err = p.Sign(t.Context(), wire.SignRequest{Key: wire.Ref{ID: o.ID}, Mechanism: tt.mechanism, Data: make([]byte, 32)})
		if tt.usage == wire.Sign && err != nil || tt.usage != wire.Sign && errorOf(err).Code != pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED {
			t.Errorf("sign by %v with a key to %s: %v", tt.mechanism, tt.usage, err)
		}
	}
}

// Keys made to decrypt and to derive do so, when another program asks.
func TestKeysThatDecryptAndDerive(t *testing.T) {
	p, dir := newToken(t, 1)
	generate := func(id string, spec keyspec.Spec, usage wire.Usage) any {
		o, _, err := p.Generate(t.Context(), wire.GenerateRequest{ID: []byte(id), Label: id, Spec: spec, Usage: usage})
		if err != nil {
			t.Fatal(err)
		}
		pub, err := x509.ParsePKIXPublicKey(o.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		return pub
	}
	in, out := filepath.Join(t.TempDir(), "in"), filepath.Join(t.TempDir(), "out")
	ask := func(id string, input []byte, args ...string) []byte {
		if err := os.WriteFile(in, input, 0o600); err != nil {
			t.Fatal(err)
		}
		pkcs11Tool(t, dir, append(args, "--id", fmt.Sprintf("%x", id), "--input-file", in, "--output-file", out)...)
		b, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}

	message := []byte("a content encryption key")
	sealed, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, generate("dec", keyspec.RSA2048, wire.Decrypt).(*rsa.PublicKey), message, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := ask("dec", sealed, "--decrypt", "--mechanism", "RSA-PKCS-OAEP", "--hash-algorithm", "SHA-1", "--mgf", "MGF1-SHA1"); !bytes.Equal(got, message) {
		t.Errorf("decrypted %q", got)
	}

	ours, err := generate("agree", keyspec.P256, wire.Derive).(*ecdsa.PublicKey).ECDH()
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	peer, err := x509.MarshalPKIXPublicKey(theirs.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	want, err := theirs.ECDH(ours)
	if err != nil {
		t.Fatal(err)
	}
	if got := ask("agree", peer, "--derive", "--mechanism", "ECDH1-DERIVE"); !bytes.Equal(got, want) {
		t.Errorf("derived %x, want %x", got, want)
	}
}

// Without a public object an EC key's public half is in its certificates, if they agree.
func TestListCertified(t *testing.T) {
	p, dir := newToken(t, 1)
	stranger, err := ecdsa.GenerateKey(keyspec.P256.Curve(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]wire.Object{}
	for _, tt := range []struct {
		id     string
		keep   bool // the public object
		certs  int
		others int // certificates of another key
		told   bool
	}{
		{"one", false, 1, 0, true}, {"renewed", false, 2, 0, true}, {"none", false, 0, 0, false},
		{"mixed", false, 1, 1, false}, {"kept", true, 1, 1, true},
	} {
		o := p.generate(t, tt.id, keyspec.P256)
		id := fmt.Sprintf("%x", tt.id)
		if !tt.keep {
			pkcs11Tool(t, dir, "--delete-object", "--type", "pubkey", "--id", id)
			o.Public = false
		}
		pub, err := x509.ParsePKIXPublicKey(o.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		for i := range tt.certs + tt.others {
			of := pub
			if i >= tt.certs {
				of = stranger.Public()
			}
			template := &x509.Certificate{SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: tt.id}, NotAfter: time.Now().Add(time.Hour)}
			der, err := x509.CreateCertificate(rand.Reader, template, template, of, stranger)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "cert")
			if err := os.WriteFile(path, der, 0o600); err != nil {
				t.Fatal(err)
			}
			pkcs11Tool(t, dir, "--write-object", path, "--type", "cert", "--id", id, "--label", "a certificate")
		}
		if !tt.told {
			o.PublicKey = nil
		}
		want[tt.id] = o
	}
	p = reopen(t, dir)
	objects, _, err := p.List(t.Context(), wire.ListRequest{})
	if err != nil || len(objects) != len(want) {
		t.Fatalf("%v, %v", labels(objects), err)
	}
	for _, o := range objects {
		if !reflect.DeepEqual(o, want[string(o.ID)]) {
			t.Errorf("%+v\nwant %+v", o, want[string(o.ID)])
		}
	}
}
