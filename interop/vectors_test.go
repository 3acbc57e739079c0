package interop

import (
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	v1 "keysetd.example/api/v1"
)

// vector is a signed example of an RFC, with the private key that signed it.
type vector struct {
	From         string          `json:"from"`
	Spec         string          `json:"spec"`
	Key          jose.JSONWebKey `json:"jwk"`
	SigningInput string          `json:"signing_input"`
	Signature    string          `json:"signature"`

	alg, kid string // in its header
}

// vectors are those that package signing is tested with.
func vectors(t *testing.T) (all []*vector) {
	t.Helper()
	raw, err := os.ReadFile("../signing/testdata/vectors.json")
	if err == nil {
		err = json.Unmarshal(raw, &all)
	}
	if err != nil || len(all) == 0 {
		t.Fatalf("%d vectors: %v", len(all), err)
	}
	for _, v := range all {
		jws, err := v.parse(v.Signature)
		if err != nil {
			t.Fatalf("%s: %v", v.From, err)
		}
		v.alg, v.kid = jws.Signatures[0].Header.Algorithm, jws.Signatures[0].Header.KeyID
	}
	return all
}

func (v *vector) parse(signature string) (*jose.JSONWebSignature, error) {
	return jose.ParseSignedCompact(v.SigningInput+"."+signature, []jose.SignatureAlgorithm{jose.RS256, jose.PS384, jose.ES256, jose.ES512, jose.EdDSA})
}

// verify checks a signature of the example with key.
func (v *vector) verify(t *testing.T, signature string, key jose.JSONWebKey) {
	t.Helper()
	jws, err := v.parse(signature)
	if err == nil {
		_, err = jws.Verify(key)
	}
	if err != nil {
		t.Errorf("%s: %v", signature, err)
	}
}

// TestVectors puts the private keys of the RFCs' examples on a token, which is where software
// no longer makes the signatures: to the letter the RFC's, or, where they are random, ones that the
// RFC's own key verifies. The examples verify by the JWKS that keysetd publishes.
func TestVectors(t *testing.T) {
	t.Parallel()
	all := vectors(t)
	s := newSite(t)
	keysets, of := s.importKeys(all)
	d := s.begin(keysets)
	for _, v := range all {
		t.Run(v.From, func(t *testing.T) {
			in := of[v.From]
			published := d.published(in.keyset, in.kid)
			if got, want := thumbprint(t, published), thumbprint(t, v.Key); got != want {
				t.Errorf("key %q is published with the thumbprint %s, want %s", in.kid, got, want)
			}
			v.verify(t, v.Signature, published)

			payload := base64.RawURLEncoding.EncodeToString([]byte(v.SigningInput))
			reply, err := d.client.Sign(t.Context(), in.keyset, &v1.SignRequest{Alg: v.alg, Payload: &payload})
			if err != nil {
				t.Fatal(err)
			}
			v.verify(t, reply.Signature, v.Key.Public())
			if deterministic := v.alg == "RS256" || v.alg == "EdDSA"; deterministic && reply.Signature != v.Signature {
				t.Errorf("got\n%s\nwant\n%s", reply.Signature, v.Signature)
			}
			if reply.KID != in.kid {
				t.Errorf("signed by %q, want %q", reply.KID, in.kid)
			}
		})
	}
}

func thumbprint(t *testing.T, key jose.JSONWebKey) string {
	t.Helper()
	sum, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(sum)
}

// imported is where an example's key went.
type imported struct{ keyset, kid string }

// importKeys puts the examples' keys on the token and returns a static keyset for each key, and
// which one it is by example.
func (s *site) importKeys(all []*vector) (keysets string, of map[string]imported) {
	s.t.Helper()
	of = map[string]imported{}
	var (
		done   = map[string]imported{} // by thumbprint
		kids   = map[string]bool{}
		labels []string
	)
	for _, v := range all {
		id := thumbprint(s.t, v.Key)
		if in, ok := done[id]; ok {
			of[v.From] = in
			continue
		}
		in := imported{fmt.Sprintf("k%d", len(done)), id}
		ref := "label: " + in.keyset
		if v.kid != "" && !kids[v.kid] { // RFC 7520 calls two keys the same, keysetd does not
			in.kid, kids[v.kid] = v.kid, true
			ref += ", kid: " + v.kid
		}
		done[id], of[v.From] = in, in
		labels = append(labels, in.keyset)
		der, err := x509.MarshalPKCS8PrivateKey(v.Key.Key)
		if err != nil {
			s.t.Fatalf("%s: %v", v.From, err)
		}
		s.write("key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
		s.tool("softhsm2-util", "--import", s.path("key.pem"), "--token", label, "--pin", pin, "--label", in.keyset, "--id", fmt.Sprintf("%02x", len(done)))
		kind, _, _ := strings.Cut(v.Spec, "-2048") // a static key's type is rsa, whatever its size
		keysets += fmt.Sprintf(`
  %s:
    purpose: raw
    mode: static
    static: {%s: {active: {%s}}}
`, in.keyset, kind, ref)
	}
	// A key that was outside of the token breaks keysetd's rules.
	s.token = "  accept_keys: [" + strings.Join(labels, ", ") + "]\n"
	return keysets, of
}
