package jwe

import (
	"bytes"
	"crypto"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// vector is one of testdata/vectors.json: RFC 7516 appendix A.1, and sections 5.2, 5.4 and 5.5 of
// RFC 7520, whose JSON form is at github.com/ietf-jose/cookbook (b4727d778a9cdcb6f8e099c8cc59b6824b62ac75).
type vector struct {
	From      string
	JWK       jose.JSONWebKey
	CEK       string
	Plaintext string
	Compact   string
}

func vectors(t testing.TB) (all []vector) {
	t.Helper()
	b, err := os.ReadFile("testdata/vectors.json")
	if err == nil {
		err = json.Unmarshal(b, &all)
	}
	if err != nil || len(all) != 4 {
		t.Fatal(len(all), err)
	}
	return all
}

func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		t.Run(v.From, func(t *testing.T) {
			token := &softToken{key: v.JWK.Key.(crypto.Signer)}
			m := parse(t, v.Compact)
			plaintext, err := m.Open(t.Context(), token)
			if err != nil || string(plaintext) != v.Plaintext {
				t.Errorf("%q, %v", plaintext, err)
			}
			if m.KID() != v.JWK.KeyID {
				t.Errorf("kid %q", m.KID())
			}
			parts := strings.Split(v.Compact, ".")
			header, _ := decode(parts[0])
			if !bytes.Equal(m.Header(), header) {
				t.Errorf("header %s", m.Header())
			}
			encryptedKey, _ := decode(parts[1])
			only, err := ParseHeader(header, encryptedKey)
			if err != nil {
				t.Fatal(err)
			}
			cek, err := only.Key(t.Context(), token)
			if err != nil || strict.EncodeToString(cek) != v.CEK {
				t.Errorf("key %s, %v", strict.EncodeToString(cek), err)
			}
		})
	}
}

// TestDerivation is RFC 7518 appendix C.
func TestDerivation(t *testing.T) {
	var bob jose.JSONWebKey
	if err := bob.UnmarshalJSON([]byte(`{"kty":"EC","crv":"P-256","x":"weNJy2HscCSM6AEDTDg04biOvhFhyyWvOHQfeF_PxMQ",
		"y":"e8lnCO-AlStT-NJVX-crhB7QRYhiix03illJOVAOyck","d":"VEmDZpDXXK8p8N0Cndsxs924q6nS1RXFASRl6BfUqdw"}`)); err != nil {
		t.Fatal(err)
	}
	m, err := ParseHeader([]byte(`{"alg":"ECDH-ES","enc":"A128GCM","apu":"QWxpY2U","apv":"Qm9i","epk":{"kty":"EC","crv":"P-256",
		"x":"gI0GAILBdu7T53akrFmMyGcsF3n5dO7MmwNBHKW5SV0","y":"SLW_xSffzlPWrHEVI30DHM_4egVwt3NQqeUD7nMFpps"}}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	cek, err := m.Key(t.Context(), &softToken{key: bob.Key.(crypto.Signer)})
	if got := strict.EncodeToString(cek); got != "VqqN6vgjbSBcIijNcacQGg" || err != nil {
		t.Errorf("%s, %v", got, err)
	}
}
