package x5c_test

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"keysetd.example/internal/keyspec"
	"keysetd.example/jwks/x5c"
)

var (
	noon     = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	midnight = noon.Add(12 * time.Hour)
	subject  = x5c.Subject{Organization: "Example", OrganizationalUnit: "Tokens", Locality: "Zürich", Province: "ZH", Country: "CH"}
)

func request() x5c.Request {
	return x5c.Request{Subject: subject, CommonName: x5c.CommonName("default", "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"), NotBefore: noon, NotAfter: midnight}
}

func selfSigned(t *testing.T, req x5c.Request, signer crypto.Signer) [][]byte {
	t.Helper()
	chain, err := x5c.SelfSigned(req, signer)
	if err != nil {
		t.Fatal(err)
	}
	return chain
}

func TestSelfSignedEverySpec(t *testing.T) {
	algorithm := map[keyspec.Spec]x509.SignatureAlgorithm{
		keyspec.RSA2048: x509.SHA256WithRSA, keyspec.RSA3072: x509.SHA256WithRSA, keyspec.RSA4096: x509.SHA256WithRSA,
		keyspec.P256: x509.ECDSAWithSHA256, keyspec.P384: x509.ECDSAWithSHA384, keyspec.P521: x509.ECDSAWithSHA512,
		keyspec.Ed25519: x509.PureEd25519,
	}
	for _, spec := range keyspec.All() {
		t.Run(string(spec), func(t *testing.T) {
			signer := key(t, spec)
			chain := selfSigned(t, request(), signer)
			if len(chain) != 1 {
				t.Fatalf("a chain of %d", len(chain))
			}
			cert, err := x509.ParseCertificate(chain[0])
			if err != nil {
				t.Fatal(err)
			}
			if cert.Version != 3 || cert.SignatureAlgorithm != algorithm[spec] {
				t.Errorf("version %d, signed with %v; want 3, %v", cert.Version, cert.SignatureAlgorithm, algorithm[spec])
			}
			if got, want := cert.Subject.String(), "CN=default-NzbLsXh8uDCcd-6M,OU=Tokens,O=Example,L=Zürich,ST=ZH,C=CH"; got != want {
				t.Errorf("subject %s, want %s", got, want)
			}
			if cert.Issuer.String() != cert.Subject.String() {
				t.Errorf("issuer %s is not the subject", cert.Issuer)
			}
			if !cert.NotBefore.Equal(noon) || !cert.NotAfter.Equal(midnight) {
				t.Errorf("valid from %v until %v", cert.NotBefore, cert.NotAfter)
			}
			if cert.KeyUsage != x509.KeyUsageDigitalSignature || !cert.BasicConstraintsValid || cert.IsCA {
				t.Errorf("key usage %b, basic constraints %v, CA %v", cert.KeyUsage, cert.BasicConstraintsValid, cert.IsCA)
			}
			if len(cert.SubjectKeyId) != 20 {
				t.Errorf("subject key identifier of %d bytes", len(cert.SubjectKeyId))
			}
			if err := x5c.Check(chain, signer.Public(), noon); err != nil {
				t.Error(err)
			}
			roots := x509.NewCertPool()
			roots.AddCert(cert)
			if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: noon}); err != nil {
				t.Errorf("as its own root: %v", err)
			}
			opensslAgrees(t, chain[0])
		})
	}
}

// opensslAgrees has the openssl command verify the certificate as its own root and read it.
func opensslAgrees(t *testing.T, der []byte) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "cert.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	at := big.NewInt(noon.Add(time.Hour).Unix()).String()
	if out, err := exec.Command("openssl", "verify", "-x509_strict", "-check_ss_sig", "-attime", at, "-CAfile", file, file).CombinedOutput(); err != nil {
		t.Errorf("openssl verify: %v\n%s", err, out)
	}
	out, err := exec.Command("openssl", "x509", "-in", file, "-noout", "-text").CombinedOutput()
	if err != nil {
		t.Fatalf("openssl x509: %v\n%s", err, out)
	}
	for _, want := range []string{"Version: 3 (0x2)", "CA:FALSE", "Digital Signature\n", "X509v3 Subject Key Identifier", "Not After : Mar  2 00:00:00 2026 GMT", "O = Example"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("openssl does not show %q:\n%s", want, out)
		}
	}
}

func TestSelfSignedSerials(t *testing.T) {
	signer := key(t, keyspec.P256)
	seen := map[string]bool{}
	longest := 0
	for range 64 {
		cert, err := x509.ParseCertificate(selfSigned(t, request(), signer)[0])
		if err != nil {
			t.Fatal(err)
		}
		serial := cert.SerialNumber
		if serial.Sign() <= 0 || serial.BitLen() > 159 || seen[serial.String()] {
			t.Fatalf("serial %v: %d bits, seen before %v", serial, serial.BitLen(), seen[serial.String()])
		}
		seen[serial.String()] = true
		longest = max(longest, serial.BitLen())
	}
	if longest < 150 { // not one of 64 reached 150 bits: one in 2^576
		t.Errorf("the longest of 64 serials has %d bits", longest)
	}
}

func TestSelfSignedRoundsOutwards(t *testing.T) {
	req := request()
	zone := time.FixedZone("", 3600)
	req.NotBefore, req.NotAfter = noon.Add(900*time.Millisecond).In(zone), midnight.Add(time.Nanosecond)
	cert, err := x509.ParseCertificate(selfSigned(t, req, key(t, keyspec.P256))[0])
	if err != nil {
		t.Fatal(err)
	}
	if !cert.NotBefore.Equal(noon) || !cert.NotAfter.Equal(midnight.Add(time.Second)) {
		t.Errorf("valid from %v until %v", cert.NotBefore, cert.NotAfter)
	}
}

func TestSelfSignedMinimalSubject(t *testing.T) {
	req := request()
	req.Subject = x5c.Subject{Organization: "Example", Country: "CH"}
	cert, err := x509.ParseCertificate(selfSigned(t, req, key(t, keyspec.P256))[0])
	if err != nil {
		t.Fatal(err)
	}
	if got, want := cert.Subject.String(), "CN=default-NzbLsXh8uDCcd-6M,O=Example,C=CH"; got != want {
		t.Errorf("subject %s, want %s", got, want)
	}
}

func TestSelfSignedRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*x5c.Request)
		want   string
	}{
		"no organization":         {func(r *x5c.Request) { r.Subject.Organization = "" }, "organization is required"},
		"no country":              {func(r *x5c.Request) { r.Subject.Country = "" }, "country is required"},
		"country in full":         {func(r *x5c.Request) { r.Subject.Country = "Switzerland" }, "two capital letters"},
		"country in small":        {func(r *x5c.Request) { r.Subject.Country = "ch" }, "two capital letters"},
		"long organization":       {func(r *x5c.Request) { r.Subject.Organization = strings.Repeat("ü", 65) }, "organization has 65 characters; a certificate holds 64"},
		"long unit":               {func(r *x5c.Request) { r.Subject.OrganizationalUnit = strings.Repeat("u", 65) }, "organizational_unit has 65"},
		"long locality":           {func(r *x5c.Request) { r.Subject.Locality = strings.Repeat("l", 129) }, "locality has 129"},
		"long province":           {func(r *x5c.Request) { r.Subject.Province = strings.Repeat("p", 129) }, "province has 129"},
		"NUL in the organization": {func(r *x5c.Request) { r.Subject.Organization = "Example\x00" }, "control character"},
		"not UTF-8":               {func(r *x5c.Request) { r.Subject.Locality = "Z\xfcrich" }, "not UTF-8"},
		"no common name":          {func(r *x5c.Request) { r.CommonName = "" }, "common name is required"},
		"long common name":        {func(r *x5c.Request) { r.CommonName = strings.Repeat("c", 65) }, "common name has 65"},
		"dates turned round":      {func(r *x5c.Request) { r.NotBefore, r.NotAfter = r.NotAfter, r.NotBefore }, "not after 2026-03-01T12:00:00Z is not later than not before 2026-03-02T00:00:00Z"},
		"an empty validity":       {func(r *x5c.Request) { r.NotAfter = r.NotBefore }, "is not later than"},
	} {
		t.Run(name, func(t *testing.T) {
			req := request()
			tc.change(&req)
			chain, err := x5c.SelfSigned(req, key(t, keyspec.P256))
			if chain != nil || err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

// badSigner is a token that fails: with an error, or with a signature that is not one.
type badSigner struct {
	crypto.Signer
	err error
}

func (b badSigner) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if b.err != nil {
		return nil, b.err
	}
	other := slices.Clone(digest)
	other[0] ^= 1
	return b.Signer.Sign(rand, other, opts)
}

func TestSelfSignedBadToken(t *testing.T) {
	for _, spec := range []keyspec.Spec{keyspec.RSA2048, keyspec.P256, keyspec.Ed25519} {
		if chain, err := x5c.SelfSigned(request(), badSigner{Signer: key(t, spec)}); err == nil || chain != nil {
			t.Errorf("%s: a certificate with a wrong signature was released", spec)
		}
	}
	down := errors.New("CKR_DEVICE_ERROR")
	if _, err := x5c.SelfSigned(request(), badSigner{key(t, keyspec.P256), down}); !errors.Is(err, down) {
		t.Errorf("got %v, want the token's own error", err)
	}
}

func TestCommonName(t *testing.T) {
	const kid = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
	for keyset, want := range map[string]string{
		"default":               "default-NzbLsXh8uDCcd-6M",
		strings.Repeat("k", 47): strings.Repeat("k", 47) + "-NzbLsXh8uDCcd-6M",
		strings.Repeat("k", 48): strings.Repeat("k", 47) + "-NzbLsXh8uDCcd-6M",
		strings.Repeat("ü", 90): strings.Repeat("ü", 47) + "-NzbLsXh8uDCcd-6M",
	} {
		if got := x5c.CommonName(keyset, kid); got != want {
			t.Errorf("CommonName(%q) = %q, want %q", keyset, got, want)
		}
	}
	if got := x5c.CommonName("default", "k1"); got != "default-k1" {
		t.Errorf("a short kid gives %q", got)
	}
}
