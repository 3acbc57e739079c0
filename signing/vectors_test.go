package signing_test

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	v1 "keysetd.example/api/v1"
	"keysetd.example/internal/keyspec"
	"keysetd.example/signing"
	"keysetd.example/signing/signingtest"
)

// vector is an example of an RFC: testdata/vectors.json has those of RFC 7515 appendix A, RFC 7520
// §4 and RFC 8037 appendix A.4 that are signed with keys that keysetd has.
type vector struct {
	From         string          `json:"from"`
	Spec         keyspec.Spec    `json:"spec"`
	JWK          json.RawMessage `json:"jwk"`
	SigningInput string          `json:"signing_input"`
	Signature    string          `json:"signature"`
}

// keyset is one of the vector's key, with the kid that its header has.
func (v vector) keyset(t *testing.T, purpose signing.Purpose) (signing.Keyset, jose.SignatureAlgorithm, crypto.PublicKey) {
	t.Helper()
	var key jose.JSONWebKey
	if err := key.UnmarshalJSON(v.JWK); err != nil {
		t.Fatal(err)
	}
	var header struct{ Alg, KID string }
	raw, err := base64.RawURLEncoding.DecodeString(v.SigningInput[:strings.Index(v.SigningInput, ".")])
	if err == nil {
		err = json.Unmarshal(raw, &header)
	}
	if err != nil {
		t.Fatal(err)
	}
	ks := signing.Keyset{
		Name: "vector", Purpose: purpose, Issuer: "joe", Header: signing.HeaderSettings{NoKID: header.KID == ""},
		Active: []signing.ActiveKey{{KID: "vector", Spec: v.Spec, Key: signingtest.KeyOf(key.Key.(crypto.Signer)), Public: key.Public().Key}},
	}
	if header.KID != "" {
		ks.Active[0].KID = header.KID
	}
	return ks, jose.SignatureAlgorithm(header.Alg), key.Public().Key
}

func vectors(t *testing.T) (all []vector) {
	raw, err := os.ReadFile("testdata/vectors.json")
	if err == nil {
		err = json.Unmarshal(raw, &all)
	}
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Where the algorithm gives one signature only, it is the example's; every one verifies with the
// example's key, as the example's does.
func checkVector(t *testing.T, v vector, alg jose.SignatureAlgorithm, pub crypto.PublicKey, signature string) {
	t.Helper()
	for _, sig := range []string{signature, v.Signature} {
		jws, err := jose.ParseSignedCompact(v.SigningInput+"."+sig, []jose.SignatureAlgorithm{alg})
		if err != nil {
			t.Fatalf("%s: %v", v.From, err)
		}
		if _, err := jws.Verify(pub); err != nil {
			t.Errorf("%s: %s: %v", v.From, sig, err)
		}
	}
	if (alg == jose.RS256 || alg == jose.EdDSA) && signature != v.Signature {
		t.Errorf("%s: signed %s, not %s", v.From, signature, v.Signature)
	}
}

// The examples whose payload is a claims set, as signing inputs.
func TestVectorsAsSigningInputs(t *testing.T) {
	w := signingtest.New(t)
	w.Service.Now = func() time.Time { return time.Unix(1300819380-60, 0) }
	tried := 0
	for _, v := range vectors(t) {
		ks, alg, pub := v.keyset(t, signing.PurposeJWT)
		ks.MaxTokenLifetime = time.Hour
		w.Service.Swap(w.StateOf(t, []signing.Keyset{ks}, signingtest.All(uid)))
		reply, err := w.Service.SignJWT(t.Context(), caller, "vector", &v1.JWTRequest{SigningInput: v.SigningInput})
		if !strings.Contains(v.SigningInput, ".eyJ") { // a text: no claims, so no token
			expect(t, v.From, err, v1.BadClaims, "/signing_input")
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", v.From, err)
		}
		checkVector(t, v, alg, pub, reply.Signature)
		tried++
	}
	if tried != 2 {
		t.Errorf("%d examples were signed", tried)
	}
}

// All examples, as payloads of a raw keyset.
func TestVectorsAsPayloads(t *testing.T) {
	w := signingtest.New(t)
	for _, v := range vectors(t) {
		ks, alg, pub := v.keyset(t, signing.PurposeRaw)
		w.Service.Swap(w.StateOf(t, []signing.Keyset{ks}, signingtest.All(uid)))
		reply, err := w.Service.Sign(t.Context(), caller, "vector", &v1.SignRequest{
			Alg: string(alg), Payload: new(base64.RawURLEncoding.EncodeToString([]byte(v.SigningInput))),
		})
		if err != nil {
			t.Fatalf("%s: %v", v.From, err)
		}
		checkVector(t, v, alg, pub, reply.Signature)
	}
}
