package daemon

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/hsm/hsmtest/memory"
	"keysetd.example/hsm/wire"
	"keysetd.example/internal/config"
	"keysetd.example/internal/keyspec"
	"keysetd.example/jwks/x5c"
	"keysetd.example/rotation"
)

// authority is a CA whose key is on a token in memory, and what is to be certified.
type authority struct {
	memory *memory.Token
	cfg    *config.Config
	key    crypto.Signer // of keyset "ks"
	made   func(context.Context, rotation.CertRequest) ([][]byte, error)
}

// request is for the key of keyset "ks", until then.
func (a *authority) request(until time.Duration) rotation.CertRequest {
	return rotation.CertRequest{
		Keyset: "ks", Generation: 1, Spec: keyspec.P256, KID: "kid", Public: a.key.Public(), Signer: a.key,
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(until),
	}
}

// withAuthority runs f in a bubble. The CA's certificate is valid for so long.
func withAuthority(t *testing.T, valid time.Duration, f func(t *testing.T, a *authority)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := memory.New("t", "1234")
		token, err := hsm.Start(m.Config())
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
			defer cancel()
			token.Close(ctx)
		}()
		object, err := token.Generate(t.Context(), hsm.GenerateRequest{ID: []byte{1}, Label: "issuing", Spec: keyspec.P256, Usage: hsm.Sign})
		if err != nil {
			t.Fatal(err)
		}
		pub, err := x509.ParsePKIXPublicKey(object.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		key, err := token.Key(hsm.Ref{ID: []byte{1}, Label: "issuing"}, pub)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(valid),
			BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign, SubjectKeyId: []byte{1},
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, pub, key.Signer(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		subject := config.Subject{Organization: "Example", Country: "CH"}
		a := &authority{memory: m, key: own, cfg: &config.Config{
			CertificateAuthorities: map[string]config.CertificateAuthority{"tokens": {
				Token: "t", Label: "issuing", Chain: [][]byte{der}, CRLURLs: []string{"http://pki.example/a.crl"}, IssuerURLs: []string{"http://pki.example/a.cer"},
			}},
			Keysets: map[string]config.Keyset{"ks": {
				Purpose:     config.JWT,
				Certificate: config.Certificate{Issuer: config.IssuedByCA, CA: "tokens", Subject: subject, Usages: []x5c.Usage{"contentCommitment"}, Root: config.KeepRoot},
			}},
		}}
		a.made = tokens{"t": token}.certify(func() *config.Config { return a.cfg })
		f(t, a)
	})
}

// change replaces what the configuration says of the keyset's certificates, as a reload does.
func (a *authority) change(edit func(*config.Keyset, *config.CertificateAuthority)) {
	k, ca := a.cfg.Keysets["ks"], a.cfg.CertificateAuthorities["tokens"]
	edit(&k, &ca)
	a.cfg = &config.Config{Keysets: map[string]config.Keyset{"ks": k}, CertificateAuthorities: map[string]config.CertificateAuthority{"tokens": ca}}
}

func TestCertify(t *testing.T) {
	withAuthority(t, time.Hour, func(t *testing.T, a *authority) {
		leafOf := func(until time.Duration, length int) *x509.Certificate {
			t.Helper()
			chain, err := a.made(t.Context(), a.request(until))
			if err != nil || len(chain) != length {
				t.Fatalf("a chain of %d, want %d: %v", len(chain), length, err)
			}
			leaf, err := x509.ParseCertificate(chain[0])
			if err != nil {
				t.Fatal(err)
			}
			return leaf
		}
		leaf := leafOf(time.Minute, 2)
		if leaf.Issuer.CommonName != "CA" || leaf.KeyUsage != x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment || leaf.Subject.Organization[0] != "Example" ||
			leaf.CRLDistributionPoints[0] != "http://pki.example/a.crl" || leaf.IssuingCertificateURL[0] != "http://pki.example/a.cer" || time.Until(leaf.NotAfter) > 2*time.Minute {
			t.Errorf("the certificate is %+v", leaf)
		}
		if leaf := leafOf(24*time.Hour, 2); time.Until(leaf.NotAfter) > time.Hour {
			t.Errorf("it is valid until %v, and the CA for an hour", leaf.NotAfter)
		}

		// The configuration in force is the one that counts.
		a.change(func(k *config.Keyset, _ *config.CertificateAuthority) { k.Certificate.Root = config.DropRoot })
		leafOf(time.Minute, 1)
		a.change(func(k *config.Keyset, _ *config.CertificateAuthority) {
			k.Purpose, k.Certificate.Usages = config.Enc, nil
		})
		if leaf := leafOf(time.Minute, 1); leaf.KeyUsage&x509.KeyUsageDigitalSignature != 0 {
			t.Errorf("the usages of a key that decrypts are %b", leaf.KeyUsage)
		}
		a.change(func(k *config.Keyset, _ *config.CertificateAuthority) {
			k.Purpose, k.Certificate.Issuer = config.JWT, config.SelfSigned
		})
		if leaf := leafOf(24*time.Hour, 1); leaf.Issuer.String() != leaf.Subject.String() {
			t.Errorf("its own issuer is %s, of %s", leaf.Issuer, leaf.Subject)
		}
		a.change(func(k *config.Keyset, _ *config.CertificateAuthority) { k.Certificate.Issuer = config.NoCertificate })
		if chain, err := a.made(t.Context(), a.request(time.Minute)); chain != nil || err != nil {
			t.Errorf("with none: %d certificates, %v", len(chain), err)
		}
	})
}

func TestCertifyFails(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*authority)
		says string
	}{
		"a token that is gone": {func(a *authority) {
			a.change(func(_ *config.Keyset, ca *config.CertificateAuthority) { ca.Token = "other" })
		}, `other`},
		"a key that is not there": {func(a *authority) {
			a.change(func(_ *config.Keyset, ca *config.CertificateAuthority) { ca.Label = "other" })
		}, "other"},
		"the CA's own key": {func(a *authority) {
			ca, err := a.cfg.CertificateAuthorities["tokens"].CA(config.DropRoot)
			if err != nil {
				panic(err)
			}
			a.key = public{a.key, ca.Certificate.PublicKey}
		}, "is the CA's own"},
		"the token does not answer": {func(a *authority) {
			a.memory.Inject(memory.Fault{Op: wire.OpOpen, Times: 1000, Code: 0x30})
			a.memory.Drop()
		}, "it did not sign within 10 s"},
		"the CA has ended": {func(*authority) { time.Sleep(2 * time.Hour) }, "renew the CA's certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			withAuthority(t, time.Hour, func(t *testing.T, a *authority) {
				c.edit(a)
				begun := time.Now()
				chain, err := a.made(t.Context(), a.request(time.Minute))
				if err == nil || chain != nil || !strings.Contains(err.Error(), "certificate authority tokens: ") || !strings.Contains(err.Error(), c.says) {
					t.Errorf("%d certificates, %v", len(chain), err)
				}
				if took := time.Since(begun); took > 11*time.Second {
					t.Errorf("it took %v to say so", took)
				}
			})
		})
	}
}

// public is a key that says it is another.
type public struct {
	crypto.Signer
	pub crypto.PublicKey
}

func (p public) Public() crypto.PublicKey { return p.pub }
