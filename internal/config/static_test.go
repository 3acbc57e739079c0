package config

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"io/fs"
	"math/big"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"keysetd.example/hsm"
	"keysetd.example/internal/keyspec"
	"keysetd.example/rotation"
)

// Static keysets and one that decrypts, with everything that the bad ones change.
const goodStatic = `token: {module: m.so, label: l, pin: {file: pin}}
keysets:
  a:
    purpose: jwt
    issuer: i
    mode: static
    static:
      rsa:
        active: {label: my-rsa, id: "0a1b", kid: main, chain: c.pem}
        previous: {label: old-rsa, kid: was}
      p-256: {active: {label: my-ec}}
      ed25519: {previous: {id: "ED"}}
    default_algorithm: RS384
    publish: {algorithms: [RS384]}
    rotation: {lead: 1d, retain: until-revoked, clock_skew: 1m, verifier_cache: 1m}
  b:
    purpose: enc
    mode: static
    static:
      rsa: {active: {label: open, kid: other}}
      p-521: {active: {id: ff}}
    max_message_age: 1h
    certificate: {}
  c:
    purpose: enc
    keys: [rsa-2048, p-256]
    rotation: {period: 30d, retain: 30d}
    max_message_age: 8d
callers:
  svc: {uid: 1001, keysets: [a, c], operations: [jwt], algorithms: [RS256, ES256]}
`

var rsaOnce = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func rsaKey(t testing.TB) crypto.Signer {
	t.Helper()
	k, err := rsaOnce()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func ecKey(t testing.TB) crypto.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// issue returns DER certificates: key's own, and that of the CA that signed it.
func issue(t testing.TB, key crypto.Signer, from time.Time) [][]byte {
	t.Helper()
	_, ca, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: from, NotAfter: from.Add(time.Hour), BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign,
		SubjectKeyId: []byte{1},
	}
	root.Subject.CommonName = "hunter2 CA"
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: from, NotAfter: from.Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature}
	leaf.Subject.CommonName = "hunter2"
	var ders [][]byte
	for _, c := range []struct {
		cert *x509.Certificate
		pub  crypto.PublicKey
	}{{leaf, key.Public()}, {root, ca.Public()}} {
		der, err := x509.CreateCertificate(rand.Reader, c.cert, root, c.pub, ca)
		if err != nil {
			t.Fatal(err)
		}
		ders = append(ders, der)
	}
	return ders
}

func toPEM(typ string, blocks ...[]byte) []byte {
	var b bytes.Buffer
	for _, der := range blocks {
		pem.Encode(&b, &pem.Block{Type: typ, Bytes: der}) // a Buffer takes all
	}
	return b.Bytes()
}

// chainPEM is a chain that has ended, for dates are not the configuration's question.
func chainPEM(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	return toPEM("CERTIFICATE", issue(t, key, time.Now().Add(-24*time.Hour))...)
}

// oneFile is a system that has one file.
func oneFile(name string, data []byte) func(string) ([]byte, error) {
	return func(path string) ([]byte, error) {
		if filepath.Base(path) != name {
			return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		}
		return data, nil
	}
}

func parseStatic(t *testing.T, text string, file []byte) (*Config, error) {
	t.Helper()
	opts := testOptions
	opts.ReadFile = oneFile("c.pem", file)
	return Parse("/etc/keysetd/k.yaml", []byte(text), opts)
}

func TestStaticPolicy(t *testing.T) {
	text := strings.Replace(goodStatic, "    certificate: {}\n", "", 1)
	ders := issue(t, rsaKey(t), time.Now())
	cfg, err := parseStatic(t, text, slices.Concat([]byte("Subject: CN = x\n"), toPEM("CERTIFICATE", ders...)))
	if err != nil {
		t.Fatal(err)
	}
	want := rotation.Policy{
		Token: "default", Usage: hsm.Sign, Lead: 24 * time.Hour, RetainUntilRevoked: true, ClockSkew: time.Minute, VerifierCache: time.Minute,
		Algorithms: []jose.SignatureAlgorithm{jose.RS384},
		Static: []rotation.StaticKey{
			{Type: rotation.RSA, Active: &rotation.StaticRef{ID: []byte{0x0a, 0x1b}, Label: "my-rsa", KID: "main", Chain: ders}, Previous: &rotation.StaticRef{Label: "old-rsa", KID: "was"}},
			{Type: "p-256", Active: &rotation.StaticRef{Label: "my-ec"}},
			{Type: "ed25519", Previous: &rotation.StaticRef{ID: []byte{0xed}}},
		},
	}.WithDefaults()
	if got := cfg.Keysets["a"].Policy("a"); !reflect.DeepEqual(got, want) {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
	if got := cfg.Keysets["a"].Static[rotation.RSA].Active.ChainFile; got != "/etc/keysetd/c.pem" {
		t.Errorf("chain from %s", got)
	}
	want = rotation.Policy{
		Token: "default", Usage: hsm.Decrypt, MaxMessageAge: time.Hour,
		Static: []rotation.StaticKey{
			{Type: rotation.RSA, Active: &rotation.StaticRef{Label: "open", KID: "other"}},
			{Type: "p-521", Active: &rotation.StaticRef{ID: []byte{0xff}}},
		},
	}.WithDefaults()
	if got := cfg.Keysets["b"].Policy("b"); !reflect.DeepEqual(got, want) {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
	day := 24 * time.Hour
	want = rotation.Policy{
		Token: "default", Usage: hsm.Decrypt, Specs: []keyspec.Spec{keyspec.RSA2048, keyspec.P256}, Period: 30 * day, Retain: 30 * day, MaxMessageAge: 8 * day,
	}.WithDefaults().Spread("c")
	if got := cfg.Keysets["c"].Policy("c"); !reflect.DeepEqual(got, want) || got.Jitter == 0 {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
}

func TestOffered(t *testing.T) {
	rsaAlgs := []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512}
	key := func(types ...rotation.KeyType) map[rotation.KeyType]StaticKey {
		m := map[rotation.KeyType]StaticKey{"p-384": {Previous: &StaticRef{}}}
		for _, t := range types {
			m[t] = StaticKey{Active: &StaticRef{}}
		}
		return m
	}
	for _, tc := range []struct {
		k    Keyset
		want []jose.SignatureAlgorithm
	}{
		{Keyset{Mode: Static, Static: key("rsa")}, rsaAlgs},
		{Keyset{Mode: Static, Static: key("ed25519", "p-256")}, []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA}},
		{Keyset{Mode: Static, Static: key()}, nil},
		{Keyset{Mode: Static, Purpose: Enc, Static: key("rsa")}, nil},
		{Keyset{Mode: Dynamic, Purpose: Enc, Keys: keyspec.All()}, nil},
		{Keyset{Mode: Dynamic, Keys: []keyspec.Spec{keyspec.RSA4096}}, rsaAlgs},
	} {
		if got := tc.k.offered(); !slices.Equal(got, tc.want) {
			t.Errorf("%+v offers %v", tc.k, got)
		}
	}
}
