package interop

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"keysetd.example/client"
)

// jweVector is an encrypted example of an RFC, with the private key of its recipient.
type jweVector struct {
	From      string          `json:"from"`
	Key       jose.JSONWebKey `json:"jwk"`
	Plaintext string          `json:"plaintext"`
	Compact   string          `json:"compact"`

	label, id string // on the token
	kid       string // in its header, or else the key's thumbprint
}

// jweVectors are those that package jwe is tested with, by where they are from.
func jweVectors(t *testing.T) map[string]*jweVector {
	t.Helper()
	var all []*jweVector
	raw, err := os.ReadFile("../signing/jwe/testdata/vectors.json")
	if err == nil {
		err = json.Unmarshal(raw, &all)
	}
	if err != nil || len(all) != 4 {
		t.Fatalf("%d examples: %v", len(all), err)
	}
	by := map[string]*jweVector{}
	for i, v := range all {
		jwe, err := jose.ParseEncryptedCompact(v.Compact, []jose.KeyAlgorithm{jose.RSA_OAEP, jose.ECDH_ES, jose.ECDH_ES_A128KW}, []jose.ContentEncryption{jose.A256GCM, jose.A128GCM, jose.A128CBC_HS256})
		if err != nil {
			t.Fatalf("%s: %v", v.From, err)
		}
		v.label, v.id, v.kid = fmt.Sprintf("recipient-%d", i), fmt.Sprintf("%02x", i+1), jwe.Header.KeyID
		if v.kid == "" {
			v.kid = thumbprint(t, v.Key)
		}
		by[v.From] = v
	}
	return by
}

// importRecipient puts the example's key pair on the token, as one that decrypts or agrees on keys.
// softhsm2-util would not say so of an EC key.
func (s *site) importRecipient(v *jweVector) {
	s.t.Helper()
	private, err := x509.MarshalPKCS8PrivateKey(v.Key.Key)
	if err != nil {
		s.t.Fatalf("%s: %v", v.From, err)
	}
	public, err := x509.MarshalPKIXPublicKey(v.Key.Public().Key)
	if err != nil {
		s.t.Fatalf("%s: %v", v.From, err)
	}
	usage := "--usage-derive"
	if _, is := v.Key.Key.(*rsa.PrivateKey); is {
		usage = "--usage-decrypt"
	}
	for kind, der := range map[string][]byte{"privkey": private, "pubkey": public} {
		s.write(kind+".der", string(der))
		s.tool("pkcs11-tool", "--module", softhsm, "--token-label", label, "--login", "--pin", pin, "--write-object", s.path(kind+".der"),
			"--type", kind, "--label", v.label, "--id", v.id, usage)
	}
}

// TestEncryptedVectors puts the recipients of the RFCs' examples on a token, as an administrator does
// who comes with keys: what was encrypted to them is decrypted there, to the letter the RFC's plaintext.
// Their JWKs are what the page shows.
func TestEncryptedVectors(t *testing.T) {
	t.Parallel()
	by := jweVectors(t)
	s := newSite(t)
	var labels []string
	for _, v := range by {
		s.importRecipient(v)
		labels = append(labels, v.label)
	}
	a1, samwise, peregrin, meriadoc := by["RFC 7516 A.1"], by["RFC 7520 5.2"], by["RFC 7520 5.4"], by["RFC 7520 5.5"]
	s.token = "  accept_keys: [" + strings.Join(labels, ", ") + "]\n"
	d := s.begin(fmt.Sprintf(`
  rfc7516:
    purpose: enc
    mode: static
    max_message_age: 1h
    static:
      rsa: {active: {label: %s}}
  rfc7520:
    purpose: enc
    mode: static
    max_message_age: 1h
    static:
      rsa: {active: {label: %s, kid: %s}}
      p-384: {active: {label: %s, kid: %s}}
      p-256: {active: {label: %s, kid: %s}}
`, a1.label, samwise.label, samwise.kid, peregrin.label, peregrin.kid, meriadoc.label, meriadoc.kid))
	for from, v := range by {
		t.Run(from, func(t *testing.T) {
			keyset := "rfc7520"
			if v == a1 {
				keyset = "rfc7516"
			}
			plaintext, reply, err := d.opened(keyset, v.Compact)
			if err != nil {
				t.Fatal(err)
			}
			if plaintext != v.Plaintext || reply.KID != v.kid {
				t.Errorf("decrypted by %q, want %q, to\n%s\nwant\n%s", reply.KID, v.kid, plaintext, v.Plaintext)
			}
			if got, _, err := d.opened(keyset, altered(v.Compact)); !errors.Is(err, client.ErrDecryptionFailed) {
				t.Errorf("altered: %q, %v", got, err)
			}
			if got, want := thumbprint(t, d.published(keyset, v.kid)), thumbprint(t, v.Key); got != want {
				t.Errorf("key %q is published with the thumbprint %s, want %s", v.kid, got, want)
			}
		})
	}
}

// TestImportedKeyIsNotTaken: a key that was outside of the token breaks keysetd's rules, and is used
// only where the administrator accepts it by name.
func TestImportedKeyIsNotTaken(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	v := jweVectors(t)["RFC 7520 5.5"]
	s.importRecipient(v)
	s.configure(fmt.Sprintf(`
  hobbiton: {purpose: enc, mode: static, max_message_age: 1h, static: {p-256: {active: {label: %s}}}}
`, v.label))
	out, err := s.run(keysetd, "init", "-c", s.path("keysetd.yaml"))
	if err == nil || !strings.Contains(out, "CKA_LOCAL is false") || !strings.Contains(out, "accept_keys") {
		t.Errorf("it is taken without a word: %v\n%s", err, out)
	}
}
