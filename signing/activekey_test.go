package signing_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	v1 "keysetd.example/api/v1"
	"keysetd.example/internal/audit"
	"keysetd.example/internal/keyspec"
	"keysetd.example/jwks/x5c"
	"keysetd.example/signing"
	"keysetd.example/signing/policy"
	"keysetd.example/signing/signingtest"
)

// The key that is told is the one that signs, or that others encrypt to, as the JWKS has it.
func TestActiveKey(t *testing.T) {
	w := signingtest.New(t, signingtest.All(uid))
	retired := signingtest.NewEncKey(t, keyspec.P384)
	keysets := w.Keysets()
	keysets[3].Decrypters = slices.Insert(keysets[3].Decrypters, 0, signing.DecryptKey{KID: "retired", Spec: keyspec.P384, Key: retired})
	chain := selfSigned(t, w.Keys[keyspec.P256])
	keysets[2].Active[1].Chain = chain
	w.Service.Swap(w.StateOf(t, keysets, signingtest.All(uid)))
	kids := w.KIDs
	for _, c := range []struct {
		keyset, alg  string
		kid, by, use string
		reason       v1.Reason
		field        string
		hasChain     bool
	}{
		{keyset: "default", kid: kids[keyspec.P256], by: "ES256", use: "sig"},
		{keyset: "default", alg: "ES384", kid: kids[keyspec.P384], by: "ES384", use: "sig"},
		{keyset: "any", alg: "ES256", kid: kids[keyspec.P256], by: "ES256", use: "sig", hasChain: true},
		{keyset: "any", alg: "RS384", kid: kids[keyspec.RSA2048] + "-RS384", by: "RS384", use: "sig"},
		{keyset: "raw", alg: "PS256", kid: kids[keyspec.RSA2048], by: "PS256", use: "sig"},
		{keyset: "raw", reason: v1.BadRequest, field: "/alg"},
		{keyset: "raw", alg: "none", reason: v1.AlgorithmUnavailable, field: "/alg"},
		{keyset: "enc", kid: "enc-rsa-2048", by: "RSA-OAEP", use: "enc"},
		{keyset: "enc", alg: "RSA-OAEP-256", kid: "enc-rsa-2048", by: "RSA-OAEP-256", use: "enc"},
		{keyset: "enc", alg: "ECDH-ES+A256KW", kid: "enc-p-256", by: "ECDH-ES+A256KW", use: "enc"},
		{keyset: "enc", alg: "RS256", reason: v1.AlgorithmUnavailable, field: "/alg"},
		{keyset: "empty", reason: v1.NotReady},
		{keyset: "nope", reason: v1.KeysetUnknown},
	} {
		name := c.keyset + " " + c.alg
		reply, err := w.Service.ActiveKey(t.Context(), caller, c.keyset, c.alg)
		if c.reason != "" {
			expect(t, name, err, c.reason, c.field)
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var jwk jose.JSONWebKey
		if err := json.Unmarshal(reply.JWK, &jwk); err != nil {
			t.Fatal(err)
		}
		if reply.KID != c.kid || reply.Alg != c.by || jwk.KeyID != c.kid || jwk.Algorithm != c.by || jwk.Use != c.use || !jwk.IsPublic() || (len(jwk.Certificates) == 1) != c.hasChain {
			t.Errorf("%s: %+v", name, reply)
		}
		if r := w.Audit.Last(); r.Operation != "read" || r.Outcome != audit.Granted || r.KID != c.kid || r.Keyset != c.keyset {
			t.Errorf("%s: audited as %+v", name, r)
		}
	}
	enc, err := w.Service.ActiveKey(t.Context(), caller, "enc", "RSA-OAEP")
	if err != nil {
		t.Fatal(err)
	}
	var jwk jose.JSONWebKey
	if err := json.Unmarshal(enc.JWK, &jwk); err != nil {
		t.Fatal(err)
	}
	reply, err := w.Service.Decrypt(t.Context(), caller, "enc", &v1.DecryptRequest{JWE: sealed(t, jwk.Key, jwk.KeyID, jose.RSA_OAEP, jose.A256GCM)})
	if err != nil || reply.KID != "enc-rsa-2048" {
		t.Errorf("what is encrypted to the key that is told: %+v, %v", reply, err)
	}
}

// Whoever may use a keyset, or read it, may know its key; nobody else learns whether there is one.
func TestActiveKeyGrants(t *testing.T) {
	for _, op := range policy.Operations() {
		want := slices.Contains([]policy.Operation{policy.JWT, policy.Sign, policy.ClientAssertion, policy.Decrypt, policy.Read}, op)
		rule := policy.Rule{Name: "svc", UID: new(uint32(uid)), Keysets: []string{"default", "enc", "nope"}, Operations: []policy.Operation{op}}
		if op.Signs() {
			rule.Algorithms = []jose.SignatureAlgorithm{jose.EdDSA}
		}
		if op == policy.ClientAssertion {
			rule.ClientIDs = []string{"a"}
		}
		w := signingtest.New(t, rule)
		for keyset, granted := range map[string]bool{"default": want, "enc": want, "any": false} {
			reply, err := w.Service.ActiveKey(t.Context(), caller, keyset, "")
			if granted != (err == nil) || granted != (reply != nil) {
				t.Errorf("%s on %s: %+v, %v", op, keyset, reply, err)
			}
			if !granted {
				expect(t, string(op), err, v1.NotGranted, "")
			}
		}
		reason := v1.KeysetUnknown
		if !want {
			reason = v1.NotGranted
		}
		_, err := w.Service.ActiveKey(t.Context(), caller, "nope", "")
		expect(t, string(op), err, reason, "")
	}
}

func selfSigned(t *testing.T, key *signingtest.Key) [][]byte {
	t.Helper()
	chain, err := x5c.SelfSigned(x5c.Request{
		Subject: x5c.Subject{Organization: "Example", Country: "CH"}, CommonName: "test",
		NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour),
	}, key.Private())
	if err != nil {
		t.Fatal(err)
	}
	return chain
}
