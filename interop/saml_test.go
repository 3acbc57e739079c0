package interop

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
)

// TestSAML signs an assertion as an identity provider does, and has two implementations of
// XML signatures verify it by the certificate that the JWKS shows for the key.
//
// They differ over ECDSA: XMLDSig wants r‖s (XML Signature 1.1 §6.4.3), as xmlsec does, while
// goxmldsig reads and writes what crypto.Signer gives, ASN.1. keysetd has both.
func TestSAML(t *testing.T) {
	t.Parallel()
	d := newSite(t).begin(`
  saml:
    purpose: raw
    keys: [rsa-2048, p-256]
    certificate: {issuer: self, subject: {organization: Example, country: CH}}
`)
	for _, tc := range []struct {
		name, alg, method, encoding string
		verifiers                   map[string]verifySAML
	}{
		{"RSA", "RS256", dsig.RSASHA256SignatureMethod, "", map[string]verifySAML{"goxmldsig": byGoxmldsig, "xmlsec1": byXmlsec}},
		{"P-256 in ASN.1", "ES256", dsig.ECDSASHA256SignatureMethod, "der", map[string]verifySAML{"goxmldsig": byGoxmldsig}},
		{"P-256 as XMLDSig says", "ES256", dsig.ECDSASHA256SignatureMethod, "jws", map[string]verifySAML{"xmlsec1": byXmlsec}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			active, other := d.key("saml", "active", tc.alg), d.key("saml", "pending", tc.alg)
			if len(active.Certificates) == 0 || len(other.Certificates) == 0 {
				t.Fatal("the JWKS has no x5c")
			}
			signed := signAssertion(t, &signer{
				ctx: t.Context(), client: d.client, keyset: "saml", alg: tc.alg, hash: crypto.SHA256, encoding: tc.encoding, key: active,
			}, tc.method)
			altered := strings.Replace(signed, "alice@example.com", "mallory@example.com", 1)
			if altered == signed {
				t.Fatalf("nothing was altered in\n%s", signed)
			}
			for name, verify := range tc.verifiers {
				if err := verify(t, signed, active.Certificates[0]); err != nil {
					t.Errorf("%s: %v\n%s", name, err, signed)
				}
				if err := verify(t, altered, active.Certificates[0]); err == nil {
					t.Errorf("%s takes an assertion that was altered", name)
				}
				if err := verify(t, signed, other.Certificates[0]); err == nil {
					t.Errorf("%s takes the assertion by another key's certificate", name)
				}
			}
		})
	}
}

// signAssertion signs the assertion within it: enveloped, exclusive canonicalization, SHA-256.
func signAssertion(t *testing.T, key *signer, method string) string {
	t.Helper()
	now := time.Now().UTC()
	doc := etree.NewDocument()
	if err := doc.ReadFromString(fmt.Sprintf(`<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_a75adf55" IssueInstant="%[1]s" Version="2.0">
  <saml:Issuer>https://idp.example</saml:Issuer>
  <saml:Subject><saml:NameID Format="urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress">alice@example.com</saml:NameID></saml:Subject>
  <saml:Conditions NotBefore="%[1]s" NotOnOrAfter="%[2]s"/>
  <saml:AuthnStatement AuthnInstant="%[1]s"><saml:AuthnContext><saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:X509</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement>
</saml:Assertion>`, now.Format(time.RFC3339), now.Add(5*time.Minute).Format(time.RFC3339))); err != nil {
		t.Fatal(err)
	}
	signing, err := dsig.NewSigningContext(key, [][]byte{key.key.Certificates[0].Raw})
	if err != nil {
		t.Fatal(err)
	}
	signing.Canonicalizer = dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("")
	if err := signing.SetSignatureMethod(method); err != nil {
		t.Fatal(err)
	}
	signature, err := signing.ConstructSignature(doc.Root(), true)
	if err != nil {
		t.Fatal(err)
	}
	doc.Root().InsertChildAt(doc.Root().SelectElement("Issuer").Index()+1, signature) // where SAML's schema has it
	signed, err := doc.WriteToString()
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

type verifySAML func(t *testing.T, assertion string, trusted *x509.Certificate) error

func byGoxmldsig(t *testing.T, assertion string, trusted *x509.Certificate) error {
	doc := etree.NewDocument()
	if err := doc.ReadFromString(assertion); err != nil {
		t.Fatal(err)
	}
	_, err := dsig.NewDefaultValidationContext(&dsig.MemoryX509CertificateStore{Roots: []*x509.Certificate{trusted}}).Validate(doc.Root())
	return err
}

func byXmlsec(t *testing.T, assertion string, trusted *x509.Certificate) error {
	dir := t.TempDir()
	cert, file := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "assertion.xml")
	for name, content := range map[string][]byte{
		cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: trusted.Raw}),
		file: []byte(assertion),
	} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command("xmlsec1", "--verify", "--id-attr:ID", "urn:oasis:names:tc:SAML:2.0:assertion:Assertion",
		"--enabled-reference-uris", "same-doc", "--trusted-pem", cert, file).CombinedOutput()
	if err != nil {
		return fmt.Errorf("xmlsec1: %w\n%s", err, out)
	}
	return nil
}
