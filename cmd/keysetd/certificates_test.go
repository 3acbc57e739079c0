package main_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"keysetd.example/hsm/hsmtest"
)

const issuedSubject = "subject: {organization: Example, organizational_unit: Tokens, locality: Zurich, province: ZH, country: CH}"

// certify puts certificate authorities into the configuration: those that `keysetd ca` said to.
func (s *site) certify(said string, more ...string) {
	s.t.Helper()
	_, block, ok := strings.Cut(said, "\nIn the configuration:\n\n")
	if !ok {
		s.t.Fatalf("it does not say what the configuration needs:\n%s", said)
	}
	block = strings.TrimSuffix(strings.TrimSpace(block), "}") + strings.Join(append([]string{""}, more...), ", ") + "}\n"
	b, err := os.ReadFile(s.path("keysetd.yaml"))
	if err != nil {
		s.t.Fatal(err)
	}
	text := string(b)
	if strings.Contains(text, "\ncertificate_authorities:\n") { // one more of them
		s.edit("\ncertificate_authorities:\n", "\n"+block)
		return
	}
	s.edit("\nkeysets:\n", "\n"+block+"keysets:\n")
}

// certificatesIn reads a PEM file.
func certificatesIn(t *testing.T, file string) (list []*x509.Certificate) {
	t.Helper()
	rest, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for block, rest := pem.Decode(rest); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, c)
	}
	return list
}

// writePEM writes certificates to a file of the site and returns its path.
func (s *site) writePEM(name string, certificates ...*x509.Certificate) string {
	s.t.Helper()
	var b bytes.Buffer
	for _, c := range certificates {
		pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	}
	s.write(name, b.String())
	return s.path(name)
}

// leadsTo has crypto/x509 and OpenSSL verify a key's chain up to a root, and tells whether the
// certificate is for that key.
func (s *site) leadsTo(root *x509.Certificate, k jose.JSONWebKey) {
	s.t.Helper()
	if len(k.Certificates) == 0 {
		s.t.Errorf("%s has no x5c", k.KeyID)
		return
	}
	leaf, roots, between := k.Certificates[0], x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(root)
	for _, c := range k.Certificates[1:] {
		between.AddCert(c)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		s.t.Errorf("%s: crypto/x509: %v", k.KeyID, err)
	}
	if !equal(leaf.PublicKey, k.Key) {
		s.t.Errorf("%s: the certificate is for another key", k.KeyID)
	}
	// Without -untrusted where there is none between, for that wants a certificate.
	args := []string{"verify", "-x509_strict", "-check_ss_sig", "-CAfile", s.writePEM("root.pem", root)}
	if len(k.Certificates) > 1 {
		args = append(args, "-untrusted", s.writePEM("between.pem", k.Certificates[1:]...))
	}
	leafFile := s.writePEM("leaf.pem", leaf)
	if out := s.tool("openssl", append(args, leafFile)...); !strings.Contains(out, leafFile+": OK") {
		s.t.Errorf("%s: openssl verify: %s", k.KeyID, out)
	}
}

// TestIssuedByCA: a CA that `keysetd ca` made, a root of its own and one below a corporate root, issues what
// keysets publish.
func TestIssuedByCA(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.configure(rawKeyset)
	out := s.path("root-ca")
	said := s.mustCA("create", "tokens", "--label", "issuing", "--days", "400", "--subject", "CN=Example Tokens CA,O=Example,C=CH", "--out", out)
	sub := s.path("sub-ca")
	s.mustCA("create", "sub", "--label", "sub", "--key", "rsa-3072", "--csr", "--subject", "CN=Example Sub CA,O=Example,C=CH", "--out", sub)
	imported := s.mustCA("import", "--record", filepath.Join(sub, "record.json"), s.corporate(filepath.Join(sub, "request.pem"), "300"))

	// A certificate of a CA that was made just now is shown once all clocks have reached its beginning.
	s.configure(`
  default:
    purpose: jwt
    issuer: https://issuer.example
    keys: [rsa-2048, p-256, ed25519]
    rotation: {clock_skew: 100ms}
    certificate: {issuer: ca, ca: tokens, root: keep, usages: [contentCommitment], ` + issuedSubject + `}
  dropped: {purpose: raw, keys: [p-256], rotation: {clock_skew: 100ms}, certificate: {issuer: ca, ca: tokens, ` + issuedSubject + `}}
  # What this asks for ends after the CA does.
  long: {purpose: raw, keys: [p-256], rotation: {period: 200d, clock_skew: 100ms}, certificate: {issuer: ca, ca: tokens, ` + issuedSubject + `}}
  below: {purpose: raw, keys: [rsa-2048, p-384], rotation: {clock_skew: 100ms}, certificate: {issuer: ca, ca: sub, ` + issuedSubject + `}}
  whole: {purpose: raw, keys: [p-256], rotation: {clock_skew: 100ms}, certificate: {issuer: ca, ca: sub, root: keep, ` + issuedSubject + `}}
`)
	s.certify(said, `crl_urls: ["http://pki.example/tokens.crl"]`, `issuer_urls: ["http://pki.example/tokens.cer"]`)
	s.certify(imported)
	s.mustKeysetd("check", "-c", s.path("keysetd.yaml"))
	s.mustKeysetd("init", "-c", s.path("keysetd.yaml"))
	d := s.serve()
	root, corporate := certificatesIn(t, filepath.Join(out, "certificate.pem"))[0], certificatesIn(t, s.path("corporate.pem"))[0]
	ca := certificatesIn(t, filepath.Join(sub, "chain.pem"))[0]

	serials := map[string]bool{}
	for name, want := range map[string]struct {
		root, issuer *x509.Certificate
		chain, keys  int
	}{
		"default": {root, root, 2, 6}, "dropped": {root, root, 1, 2}, "long": {root, root, 1, 2},
		"below": {corporate, ca, 2, 4}, "whole": {corporate, ca, 3, 2},
	} {
		page := d.jwks(name)
		if len(page.Keys) != want.keys {
			t.Errorf("%s: %d keys, want %d", name, len(page.Keys), want.keys)
		}
		for _, k := range page.Keys {
			s.leadsTo(want.root, k)
			if len(k.Certificates) != want.chain {
				t.Fatalf("%s: %s: a chain of %d, want %d", name, k.KeyID, len(k.Certificates), want.chain)
			}
			leaf := k.Certificates[0]
			if got := leaf.Subject.String(); !strings.HasPrefix(got, "CN="+name) || !strings.HasSuffix(got, ",OU=Tokens,O=Example,L=Zurich,ST=ZH,C=CH") {
				t.Errorf("%s: the subject is %s", name, got)
			}
			if len(leaf.SubjectKeyId) != 20 || !bytes.Equal(leaf.AuthorityKeyId, want.issuer.SubjectKeyId) || leaf.Issuer.String() != want.issuer.Subject.String() {
				t.Errorf("%s: SKI %x, AKI %x, issuer %s; the CA's SKI is %x", name, leaf.SubjectKeyId, leaf.AuthorityKeyId, leaf.Issuer, want.issuer.SubjectKeyId)
			}
			if bits := leaf.SerialNumber.BitLen(); leaf.SerialNumber.Sign() <= 0 || bits > 159 || bits < 100 || serials[leaf.SerialNumber.String()] {
				t.Errorf("%s: the serial number %x has %d bits, or is not new", name, leaf.SerialNumber, bits)
			}
			serials[leaf.SerialNumber.String()] = true
			if leaf.NotAfter.After(want.issuer.NotAfter) || leaf.NotBefore.Before(want.issuer.NotBefore) || !leaf.NotAfter.After(time.Now()) {
				t.Errorf("%s: from %v until %v; the CA's from %v until %v", name, leaf.NotBefore, leaf.NotAfter, want.issuer.NotBefore, want.issuer.NotAfter)
			}
			if clipped := leaf.NotAfter.Equal(want.issuer.NotAfter); clipped != (name == "long") {
				t.Errorf("%s: until %v, and the CA until %v", name, leaf.NotAfter, want.issuer.NotAfter)
			}
			usage := x509.KeyUsageDigitalSignature
			if name == "default" {
				usage |= x509.KeyUsageContentCommitment
			}
			if leaf.KeyUsage != usage || leaf.IsCA || !leaf.BasicConstraintsValid {
				t.Errorf("%s: usages %b, CA %v", name, leaf.KeyUsage, leaf.IsCA)
			}
			crl, aia := []string{"http://pki.example/tokens.crl"}, []string{"http://pki.example/tokens.cer"}
			if want.issuer == ca {
				crl, aia = nil, nil
			}
			if !slices.Equal(leaf.CRLDistributionPoints, crl) || !slices.Equal(leaf.IssuingCertificateURL, aia) {
				t.Errorf("%s: CRL %q, AIA %q", name, leaf.CRLDistributionPoints, leaf.IssuingCertificateURL)
			}
		}
	}
	if status, reply := d.call("POST", "/v1/keysets/below/sign", `{"alg":"ES384","payload":"eA"}`); status != 200 {
		t.Errorf("keyset below: %d %v", status, reply)
	}
	noKeyOfTheCA(t, s, said)
}

// corporate plays the corporate root with OpenSSL: it issues for a request, and returns the file with the chain.
func (s *site) corporate(request, days string) string {
	s.t.Helper()
	s.tool("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-nodes", "-subj", "/C=CH/O=Example/CN=Corporate Root", "-days", "500",
		"-addext", "keyUsage=critical,keyCertSign,cRLSign", "-keyout", s.path("corporate.key"), "-out", s.path("corporate.pem"))
	s.write("sub.ext", "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n")
	s.tool("openssl", "x509", "-req", "-in", request, "-CA", s.path("corporate.pem"), "-CAkey", s.path("corporate.key"), "-CAcreateserial", "-sha384",
		"-days", days, "-extfile", s.path("sub.ext"), "-out", s.path("issued.pem"))
	return s.writePEM("chain.pem", append(certificatesIn(s.t, s.path("issued.pem")), certificatesIn(s.t, s.path("corporate.pem"))...)...)
}

// noKeyOfTheCA: the label of a key that is for something else is no authority's, to any command.
func noKeyOfTheCA(t *testing.T, s *site, said string) {
	t.Helper()
	label := ""
	for _, line := range strings.Split(s.tool("pkcs11-tool", "--module", softhsm, "--token-label", "e2e", "--login", "--pin", pin, "--list-objects", "--type", "privkey"), "\n") {
		if _, l, ok := strings.Cut(line, "label:"); ok && strings.Contains(l, "/default/") {
			label = strings.TrimSpace(l)
		}
	}
	b, err := os.ReadFile(s.path("keysetd.yaml"))
	if err != nil || label == "" {
		t.Fatalf("no key of keyset default is on the token: %v", err)
	}
	defer s.write("keysetd.yaml", string(b))
	for name, c := range map[string]struct{ old, new, says string }{
		"a keyset's key": {`label: "issuing"`, fmt.Sprintf("label: %q", label), "is that of a keyset's key; an authority has a key of its own"},
		"a static key": {"\nkeysets:\n", "\nkeysets:\n  fixed: {purpose: raw, mode: static, static: {p-384: {active: {label: issuing}}}}\n",
			"names the same key as certificate_authorities.tokens"},
	} {
		s.write("keysetd.yaml", strings.Replace(string(b), c.old, c.new, 1))
		for _, command := range []string{"check", "serve"} {
			if _, stderr, err := s.keysetd(command, "-c", s.path("keysetd.yaml")); err == nil || !strings.Contains(stderr, c.says) {
				t.Errorf("%s as the CA's: %s: %v\n%s", name, command, err, stderr)
			}
		}
	}
	// Nor does the ceremony make a CA under a label that is a static key's, or another CA's.
	s.write("keysetd.yaml", strings.Replace(string(b), "\nkeysets:\n", "\nkeysets:\n  fixed: {purpose: raw, mode: static, static: {p-384: {active: {label: fixed}}}}\n", 1))
	for label, says := range map[string]string{"fixed": "keyset fixed has a key with the label fixed", "issuing": "certificate authority tokens has a key with the label issuing"} {
		if _, stderr, err := s.ca("create", "again", "--label", label, "--days", "30", "--subject", "CN=CA", "--out", s.path("again")); err == nil || !strings.Contains(stderr, says) {
			t.Errorf("a CA with the label %s: %v\n%s", label, err, stderr)
		}
	}
}

// TestCAAway: while the token of the CA is away no generation is made, which is said, and what signs goes
// on; when it is back the next generation comes, with certificates.
func TestCAAway(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.initToken("issuing")
	const keysets = `
  default:
    purpose: jwt
    any_issuer: true
    token: main
    keys: [p-256]
    rotation: {period: 6s, lead: 2s, clock_skew: 200ms}
    publish: {max_age: 1s}
    max_token_lifetime: 4s
`
	token := func(label, module, more string) string {
		return fmt.Sprintf("{module: %s, label: %s, pin: {file: pin}, environment: {SOFTHSM2_CONF: %q, GORACE: %q%s}}", module, label, s.path("softhsm2.conf"), gorace, more)
	}
	s.configure(keysets)
	b, err := os.ReadFile(s.path("keysetd.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	one, _, _ := strings.Cut(string(b), "store:")
	s.edit(one, "\ntokens:\n  main: "+token("e2e", softhsm, "")+"\n  ca: "+token("issuing", softhsm, "")+"\n", "audit: {", "audit: {token: main, ")
	out := s.path("ca")
	said := s.mustCA("create", "tokens", "--token", "ca", "--label", "ca-key", "--days", "30", "--subject", "CN=CA,O=Example,C=CH", "--out", out)
	s.certify(said)
	s.edit("    keys: [p-256]\n", "    keys: [p-256]\n    certificate: {issuer: ca, ca: tokens, "+issuedSubject+"}\n")
	s.mustKeysetd("init", "-c", s.path("keysetd.yaml"))
	p := hsmtest.NewP11Kit(t, &hsmtest.Soft{Module: softhsm, Conf: s.path("softhsm2.conf"), Label: "issuing", PINFile: s.path("pin"), Marker: s.path("pin-ca.marker")})
	remote := p.Config()
	s.edit("ca: "+token("issuing", softhsm, ""), "ca: "+token("issuing", remote.Open.Module, fmt.Sprintf(", P11_KIT_SERVER_ADDRESS: %q", remote.Environment["P11_KIT_SERVER_ADDRESS"])))
	d := s.serve()
	root := certificatesIn(t, filepath.Join(out, "certificate.pem"))[0]
	for _, k := range d.jwks("default").Keys {
		s.leadsTo(root, k)
	}
	signs := func() {
		t.Helper()
		token, _ := d.mustToken("default", "ES256", 3*time.Second)
		verifies(t, token, d.jwks("default"))
	}

	p.Kill()
	eventually(t, 40*time.Second, "it says that a generation cannot be made", func() bool {
		signs()
		return strings.Contains(d.state("default").Problem, "certificate authority tokens")
	})
	state, keys := d.state("default"), s.privateKeys()
	active := in(state, "active").Number
	for begun := time.Now(); time.Since(begun) < 7*time.Second; time.Sleep(100 * time.Millisecond) { // longer than the period
		signs()
		now := d.state("default")
		if last := now.Generations[len(now.Generations)-1].Number; in(now, "active").Number != active || last > active || in(now, "pending").Number > active {
			t.Fatalf("a generation was made without the CA: %+v", now.Generations)
		}
	}
	if now := s.privateKeys(); len(now) > len(keys)+1 { // one is made and taken back in every attempt
		t.Errorf("keys heap up on the token: %d, were %d", len(now), len(keys))
	}
	page := string(get(t, "http://"+d.Metrics+"/"))
	for _, want := range []string{`token <a href="?#token-ca">ca</a> is down`, "certificate authority tokens"} {
		if !strings.Contains(page, want) {
			t.Errorf("the status page does not say %q", want)
		}
	}
	p.Restart(t)
	eventually(t, 40*time.Second, "the next generation signs", func() bool {
		signs()
		now := d.state("default")
		return in(now, "active").Number > active && now.Problem == ""
	})
	for _, k := range d.jwks("default").Keys {
		s.leadsTo(root, k)
	}
}
