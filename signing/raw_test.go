package signing_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	v1 "keysetd.example/api/v1"
	"keysetd.example/internal/jwa"
	"keysetd.example/internal/keyspec"
	"keysetd.example/signing/signingtest"
)

func TestRawWithEveryAlgorithm(t *testing.T) {
	w := signingtest.New(t, signingtest.All(uid))
	message := []byte("<Assertion/>")
	for _, alg := range jwa.All() {
		opts, _ := jwa.Options(alg)
		digest := message
		if h := opts.HashFunc(); h != 0 {
			w := h.New()
			w.Write(message)
			digest = w.Sum(nil)
		}
		requests := map[string]*v1.SignRequest{"payload": {Alg: string(alg), Payload: new(base64.StdEncoding.EncodeToString(message))}}
		if opts.HashFunc() != 0 {
			requests["digest"] = &v1.SignRequest{Alg: string(alg), Digest: new(base64.URLEncoding.EncodeToString(digest))}
		}
		for name, req := range requests {
			reply, err := w.Service.Sign(t.Context(), caller, "raw", req)
			if err != nil {
				t.Errorf("%s, %s: %v", alg, name, err)
				continue
			}
			sig, err := base64.RawURLEncoding.DecodeString(reply.Signature)
			if err != nil {
				t.Fatal(err)
			}
			good := false
			switch pub := w.Keys[specFor(t, alg)].Public.(type) {
			case *rsa.PublicKey:
				if strings.HasPrefix(string(alg), "PS") {
					good = rsa.VerifyPSS(pub, opts.HashFunc(), digest, sig, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
				} else {
					good = rsa.VerifyPKCS1v15(pub, opts.HashFunc(), digest, sig) == nil
				}
			case *ecdsa.PublicKey:
				n := len(sig) / 2
				good = ecdsa.Verify(pub, digest, new(big.Int).SetBytes(sig[:n]), new(big.Int).SetBytes(sig[n:]))
			case ed25519.PublicKey:
				good = ed25519.Verify(pub, message, sig)
			}
			if !good || reply.Alg != string(alg) || reply.KID != w.KIDs[specFor(t, alg)] {
				t.Errorf("%s, %s: %+v verifies: %v", alg, name, reply, good)
			}
		}
	}
}

func TestRawDER(t *testing.T) {
	w := signingtest.New(t, signingtest.All(uid))
	rapid.Check(t, func(rt *rapid.T) {
		payload := rapid.SliceOf(rapid.Byte()).Draw(rt, "payload")
		alg := rapid.SampledFrom([]string{"ES256", "ES384", "ES512"}).Draw(rt, "alg")
		spec := map[string]keyspec.Spec{"ES256": keyspec.P256, "ES384": keyspec.P384, "ES512": keyspec.P521}[alg]
		reply, err := w.Service.Sign(t.Context(), caller, "any", &v1.SignRequest{Alg: alg, Payload: new(base64.RawURLEncoding.EncodeToString(payload)), Encoding: "der"})
		if err != nil {
			rt.Fatal(err)
		}
		sig, _ := base64.RawURLEncoding.DecodeString(reply.Signature)
		opts, _ := jwa.Options(jwa.ForSpec(spec)[0])
		h := opts.HashFunc().New()
		h.Write(payload)
		if !ecdsa.VerifyASN1(w.Keys[spec].Public.(*ecdsa.PublicKey), h.Sum(nil), sig) {
			rt.Fatalf("%s: %x does not verify", alg, sig)
		}
	})
}

func TestRawRefused(t *testing.T) {
	w := signingtest.New(t, signingtest.All(uid))
	sum := sha256.Sum256(nil)
	digest := base64.RawURLEncoding.EncodeToString(sum[:])
	for name, test := range map[string]struct {
		keyset string
		req    v1.SignRequest
		reason v1.Reason
		field  string
	}{
		"jwt keyset":      {"default", v1.SignRequest{Payload: new("")}, v1.PurposeMismatch, ""},
		"unknown keyset":  {"nope", v1.SignRequest{Payload: new("")}, v1.KeysetUnknown, ""},
		"nothing":         {"raw", v1.SignRequest{Alg: "ES256"}, v1.BadRequest, "/payload"},
		"both":            {"raw", v1.SignRequest{Alg: "ES256", Payload: new(""), Digest: new(digest)}, v1.BadRequest, "/payload"},
		"no alg":          {"raw", v1.SignRequest{Payload: new("")}, v1.BadRequest, "/alg"},
		"unknown alg":     {"raw", v1.SignRequest{Payload: new(""), Alg: "ES256K"}, v1.AlgorithmUnavailable, "/alg"},
		"kid gone":        {"raw", v1.SignRequest{Payload: new(""), KID: "gone"}, v1.KidNotActive, "/kid"},
		"payload garbled": {"raw", v1.SignRequest{Payload: new("a b"), Alg: "ES256"}, v1.BadRequest, "/payload"},
		"payload endless": {"raw", v1.SignRequest{Payload: new(strings.Repeat("AAAA", 400_000)), Alg: "ES256"}, v1.TooLarge, "/payload"},
		"digest garbled":  {"raw", v1.SignRequest{Digest: new("*"), Alg: "ES256"}, v1.BadRequest, "/digest"},
		"digest short":    {"raw", v1.SignRequest{Digest: new(digest[:4]), Alg: "ES256"}, v1.BadDigest, "/digest"},
		"digest empty":    {"raw", v1.SignRequest{Digest: new(""), Alg: "RS256"}, v1.BadDigest, "/digest"},
		"digest of other": {"raw", v1.SignRequest{Digest: new(digest), Alg: "PS384"}, v1.BadDigest, "/digest"},
		"digest, EdDSA":   {"raw", v1.SignRequest{Digest: new(digest), Alg: "EdDSA"}, v1.BadDigest, "/digest"},
		"encoding":        {"raw", v1.SignRequest{Payload: new(""), Alg: "ES256", Encoding: "asn1"}, v1.BadRequest, "/encoding"},
		"der of RSA":      {"raw", v1.SignRequest{Payload: new(""), Alg: "RS256", Encoding: "der"}, v1.BadRequest, "/encoding"},
		"der of EdDSA":    {"raw", v1.SignRequest{Payload: new(""), Alg: "EdDSA", Encoding: "der"}, v1.BadRequest, "/encoding"},
	} {
		_, err := w.Service.Sign(t.Context(), caller, test.keyset, &test.req)
		expect(t, name, err, test.reason, test.field)
	}
	_, err := w.Service.Sign(t.Context(), caller, "raw", &v1.SignRequest{Digest: new(digest), Alg: "ES512"})
	if err == nil || !strings.Contains(err.Error(), "32 bytes") || !strings.Contains(err.Error(), "takes 64") {
		t.Errorf("a digest's error must give both lengths: %v", err)
	}
	for spec, key := range w.Keys {
		if n := key.Calls.Load(); n != 0 {
			t.Errorf("%s was asked to sign %d times", spec, n)
		}
	}
}
