package x5c_test

import (
	"crypto"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"keysetd.example/internal/keyspec"
	"keysetd.example/jwks/x5c"
)

func TestCSR(t *testing.T) {
	for _, spec := range keyspec.All() {
		t.Run(string(spec), func(t *testing.T) {
			signer := key(t, spec)
			req := x5c.Request{Subject: subject, CommonName: "default-k1", Usages: []x5c.Usage{x5c.ContentCommitment, x5c.ClientAuth}}
			der, err := x5c.CSR(req, signer)
			if err != nil {
				t.Fatal(err)
			}
			made, err := x509.ParseCertificateRequest(der)
			if err != nil {
				t.Fatal(err)
			}
			if pub, ok := made.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(signer.Public()) {
				t.Error("for another key")
			}
			text := openssl(t, "req", "-verify", "-noout", "-text", "-nameopt", "utf8,sep_comma_plus_space", "-in", write(t, x5c.EncodeCSR(der)))
			for _, want := range []string{"verify OK", "C=CH, ST=ZH, L=Zürich, O=Example, OU=Tokens, CN=default-k1", "X509v3 Key Usage: critical", "Digital Signature, Non Repudiation\n", "TLS Web Client Authentication\n"} {
				if !strings.Contains(text, want) {
					t.Errorf("openssl does not show %q:\n%s", want, text)
				}
			}
		})
	}
	plain, err := x5c.CSR(request(), key(t, keyspec.P256))
	if err != nil {
		t.Fatal(err)
	}
	text := openssl(t, "req", "-verify", "-noout", "-text", "-in", write(t, x5c.EncodeCSR(plain)))
	if !strings.Contains(text, "Digital Signature\n") || strings.Contains(text, "Extended") {
		t.Errorf("without further usages:\n%s", text)
	}
}

func TestCSRRefuses(t *testing.T) {
	down := errors.New("CKR_DEVICE_ERROR")
	signer := key(t, keyspec.P256)
	encrypts, odd, nameless, stateless := request(), request(), request(), request()
	encrypts.Encrypts, odd.Usages, nameless.CommonName, stateless.Subject.Country = true, []x5c.Usage{"any"}, "", ""
	for name, tc := range map[string]struct {
		req    x5c.Request
		signer badSigner
		want   string
	}{
		"decrypts":   {encrypts, badSigner{signer, down}, "cannot sign for itself"},
		"usage":      {odd, badSigner{signer, down}, "unknown usage"},
		"no name":    {nameless, badSigner{signer, down}, "common name is required"},
		"no country": {stateless, badSigner{signer, down}, "country is required"},
		"token down": {request(), badSigner{signer, down}, "CKR_DEVICE_ERROR"},
		"signs ill":  {request(), badSigner{Signer: signer}, "signature returned by signer is invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			if der, err := x5c.CSR(tc.req, tc.signer); der != nil || err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

// TestExternalByOpenSSL has the openssl command play the company's CA, from CSR to chain.
func TestExternalByOpenSSL(t *testing.T) {
	for _, alg := range [][]string{{"rsa:2048"}, {"ec", "-pkeyopt", "ec_paramgen_curve:P-256"}, {"ed25519"}} {
		t.Run(alg[0], func(t *testing.T) {
			signer := key(t, keyspec.P256)
			der, err := x5c.CSR(request(), signer)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			rootKey, root, leaf := filepath.Join(dir, "root.key"), filepath.Join(dir, "root.pem"), filepath.Join(dir, "leaf.pem")
			openssl(t, append([]string{"req", "-x509", "-nodes", "-days", "90", "-addext", "keyUsage=critical,keyCertSign", "-subj", "/O=Corp/CN=root", "-keyout", rootKey, "-out", root, "-newkey"}, alg...)...)
			openssl(t, "x509", "-req", "-days", "60", "-copy_extensions", "copy", "-CAcreateserial", "-CA", root, "-CAkey", rootKey, "-in", write(t, x5c.EncodeCSR(der)), "-out", leaf)
			var certs [2][][]byte
			for i, file := range []string{root, leaf} {
				data, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if certs[i], err = x5c.ParsePEM(data); err != nil {
					t.Fatal(err)
				}
			}
			rootCert, err := x509.ParseCertificate(certs[0][0])
			if err != nil {
				t.Fatal(err)
			}
			// openssl knows one clock only, and writes the whole second that it is.
			now := time.Now()
			w := x5c.Want{Public: signer.Public(), Subject: subject, CommonName: request().CommonName, Roots: pool(rootCert), Now: now, Until: now.AddDate(0, 0, 50)}
			chain, err := x5c.Complete([][]byte{certs[0][0], certs[1][0]}, w)
			if err != nil {
				t.Fatal(err)
			}
			if len(chain) != 1 {
				t.Errorf("a chain of %d", len(chain))
			}
			openssl(t, "verify", "-x509_strict", "-CAfile", root, write(t, x5c.EncodePEM(chain)))
		})
	}
}
