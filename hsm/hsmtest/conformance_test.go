package hsmtest_test

import (
	"crypto"
	"testing"

	"keysetd.example/hsm"
	"keysetd.example/hsm/hsmtest"
	"keysetd.example/hsm/hsmtest/memory"
	"keysetd.example/internal/keyspec"
)

// sha256Only is what SoftHSM 2.6.1 cannot do by RSAES-OAEP.
var sha256Only = []crypto.Hash{crypto.SHA256}

func TestConformance(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		token := memory.New("keysetd-test", "1234")
		hsmtest.Conformance(t, func(testing.TB) hsm.Config { return token.Config() }, hsmtest.Traits{Drop: token.Drop})
	})
	t.Run("SoftHSM", func(t *testing.T) {
		hsmtest.Conformance(t, func(t testing.TB) hsm.Config { return hsmtest.SoftHSM(t).Config() },
			hsmtest.Traits{CannotOAEP: sha256Only})
	})
	t.Run("fault module", func(t *testing.T) {
		hsmtest.Conformance(t, func(t testing.TB) hsm.Config {
			return hsmtest.NewFaulty(t, hsmtest.SoftHSM(t)).Config()
		}, hsmtest.Traits{CannotOAEP: sha256Only, Slow: []keyspec.Spec{keyspec.RSA4096}})
	})
	t.Run("p11-kit", func(t *testing.T) {
		hsmtest.Conformance(t, func(t testing.TB) hsm.Config {
			return hsmtest.NewP11Kit(t, hsmtest.SoftHSM(t)).Config()
		}, hsmtest.Traits{
			Cannot: []keyspec.Spec{keyspec.Ed25519}, CannotOAEP: sha256Only, CannotECDH: true,
			Slow: []keyspec.Spec{keyspec.RSA4096},
		})
	})
	t.Run("NSS", func(t *testing.T) {
		hsmtest.Conformance(t, hsmtest.NSS, hsmtest.Traits{Cannot: []keyspec.Spec{keyspec.Ed25519}, Slow: []keyspec.Spec{keyspec.RSA4096}})
	})
	t.Run("openCryptoki", func(t *testing.T) {
		hsmtest.Conformance(t, hsmtest.OpenCryptoki, hsmtest.Traits{
			Cannot: []keyspec.Spec{keyspec.P256, keyspec.P384, keyspec.P521, keyspec.Ed25519},
			Slow:   []keyspec.Spec{keyspec.RSA4096},
		})
	})
}
