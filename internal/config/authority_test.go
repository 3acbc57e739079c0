package config

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"
)

// A configuration with an authority that issues for one keyset, one field on a line. Its file is c.pem.
const goodAuthority = `tokens:
  main: {module: /m.so, label: l, pin: {file: pin}}
  spare: {module: /m.so, label: s, pin: {file: pin}}
certificate_authorities:
  corporate:
    token: spare
    label: issuing
    id: "0a1b"
    certificate: c.pem
    crl_urls: ["http://pki.example/a.crl"]
    issuer_urls: ["http://pki.example/a.cer"]
keysets:
  own:
    purpose: jwt
    any_issuer: true
    token: main
    keys: [p-256]
    certificate:
      issuer: ca
      ca: corporate
      subject: {organization: Example, country: CH}
  fixed:
    purpose: raw
    mode: static
    token: spare
    static:
      rsa: {active: {label: a}}
callers:
  svc: {uid: 1001, keysets: [own], operations: [jwt], algorithms: [ES256]}
`

// parseAuthority parses text where c.pem is the only file.
func parseAuthority(text string, file []byte) (*Config, error) {
	opts := testOptions
	opts.ReadFile = oneFile("c.pem", file)
	return Parse("/etc/keysetd/k.yaml", []byte(text), opts)
}

// caChain is an issuing CA's certificate and that of its root, made unusual by change.
func caChain(t *testing.T, change func(root, ca *x509.Certificate)) [][]byte {
	t.Helper()
	newKey := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	rootKey, caKey := newKey(), newKey()
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign, SubjectKeyId: []byte{1}, MaxPathLen: -1,
	}
	root.Subject.CommonName = "Root"
	ca := *root
	ca.SerialNumber, ca.SubjectKeyId, ca.Subject.CommonName = big.NewInt(2), []byte{2}, "hunter2"
	change(root, &ca)
	var ders [][]byte
	for _, c := range []struct {
		template *x509.Certificate
		pub      crypto.PublicKey
	}{{&ca, caKey.Public()}, {root, rootKey.Public()}} {
		der, err := x509.CreateCertificate(rand.Reader, c.template, root, c.pub, rootKey)
		if err != nil {
			t.Fatal(err)
		}
		ders = append(ders, der)
	}
	return ders
}

func asIs(_, _ *x509.Certificate) {}

func TestAuthority(t *testing.T) {
	ders := caChain(t, asIs)
	cfg, err := parseAuthority(goodAuthority, toPEM("CERTIFICATE", ders...))
	if err != nil {
		t.Fatal(err)
	}
	a := cfg.CertificateAuthorities["corporate"]
	if a.Token != "spare" || a.Label != "issuing" || string(a.ID) != "\x0a\x1b" || a.CertificateFile != "/etc/keysetd/c.pem" || !slices.EqualFunc(a.Chain, ders, slices.Equal) {
		t.Errorf("the authority is %+v", a)
	}
	for _, root := range []RootPolicy{KeepRoot, DropRoot} {
		ca, err := a.CA(root)
		if err != nil || !slices.Equal(ca.Certificate.Raw, ders[0]) || len(ca.Above) != 1 || ca.KeepRoot != (root == KeepRoot) ||
			!slices.Equal(ca.CRLURLs, []string{"http://pki.example/a.crl"}) || !slices.Equal(ca.IssuerURLs, []string{"http://pki.example/a.cer"}) {
			t.Errorf("root: %s: it issues as %+v, %v", root, ca, err)
		}
	}
	if k := cfg.Keysets["own"].Certificate; k.Issuer != IssuedByCA || k.CA != "corporate" || k.Root != DropRoot {
		t.Errorf("the keyset's certificates: %+v", k)
	}
	for name, edit := range map[string][2]string{
		"by label":                    {"    id: \"0a1b\"\n", ""},
		"by id":                       {"    label: issuing\n", ""},
		"without URLs":                {"    crl_urls: [\"http://pki.example/a.crl\"]\n    issuer_urls: [\"http://pki.example/a.cer\"]\n", ""},
		"the root kept":               {"      ca: corporate\n", "      ca: corporate\n      root: keep\n"},
		"that nobody uses":            {"      issuer: ca\n      ca: corporate\n", "      issuer: self\n"},
		"a static key on another":     {"    token: spare\n    static:\n      rsa: {active: {label: a}}", "    token: main\n    static:\n      rsa: {active: {label: issuing, id: \"0a1b\"}}"},
		"a static key of another id":  {"{label: a}", `{label: issuing, id: "0a1c"}`},
		"a label that is only nearly": {"label: issuing", "label: keysetd-issuing"},
	} {
		if text := strings.Replace(goodAuthority, edit[0], edit[1], 1); text == goodAuthority {
			t.Errorf("%s: the edit changes nothing", name)
		} else if _, err := parseAuthority(text, toPEM("CERTIFICATE", ders...)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if cfg, err := parseAuthority(strings.Replace(goodAuthority, "root: drop", "root: keep", 1), toPEM("CERTIFICATE", ders[0])); err != nil || len(cfg.CertificateAuthorities["corporate"].Chain) != 1 {
		t.Errorf("without its root: %v", err)
	}
}

func TestBadAuthority(t *testing.T) {
	file := toPEM("CERTIFICATE", caChain(t, asIs)...)
	for _, tc := range []struct{ old, new, want string }{
		// Which key.
		{"    token: spare\n    label: issuing\n", "    label: issuing\n", "5:3: certificate_authorities.corporate: token is missing, and no token is named default; the tokens are main, spare"},
		{"token: spare\n    label: issuing", "token: other\n    label: issuing", "6:5: certificate_authorities.corporate.token: is not the name of a token; the tokens are main, spare"},
		{"    label: issuing\n    id: \"0a1b\"\n", "", "5:3: certificate_authorities.corporate: does not say which key; give its label (CKA_LABEL), its id (CKA_ID) or both"},
		{"label: issuing", "label: " + strings.Repeat("l", 65536), "7:5: certificate_authorities.corporate.label: is longer than the 65535 bytes that a key's label may have"},
		{`"0a1b"`, `"` + strings.Repeat("0a", 65536) + `"`, "8:5: certificate_authorities.corporate.id: is longer than the 65535 bytes that a key's CKA_ID may have"},
		{`"0a1b"`, "0a1", `8:9: certificate_authorities.corporate.id: must be an even number of hex digits, in quotes, as in "0a1b"`},
		{"label: issuing", "label: keysetd/0123456789abcdef/default/1/p-256", "7:5: certificate_authorities.corporate.label: is that of a keyset's key; an authority has a key of its own, as `keysetd ca create` makes it"},
		{"{label: a}", `{label: issuing}`, "27:13: keysets.fixed.static.rsa.active: names the same key as certificate_authorities.corporate; a key stands in one place only, and a label that several keys have goes with their ids"},
		{"{label: a}", `{id: "0A1B"}`, "27:13: keysets.fixed.static.rsa.active: names the same key as certificate_authorities.corporate; a key stands in one place only, and a label that several keys have goes with their ids"},
		{"keysets:\n", "  sub: {token: spare, label: issuing, certificate: c.pem}\nkeysets:\n", "12:3: certificate_authorities.sub: names the same key as certificate_authorities.corporate; a key stands in one place only, and a label that several keys have goes with their ids"},

		// Its certificate.
		{"    certificate: c.pem\n", "", "5:3: certificate_authorities.corporate: certificate is missing; name the PEM file with the authority's certificate and those above it"},
		{"c.pem", "hunter2.pem", "9:5: certificate_authorities.corporate.certificate: the file that it names: file does not exist"},
		{`"http://pki.example/a.crl"`, `"pki.example/hunter2"`, "10:5: certificate_authorities.corporate.crl_urls: CRL URL 1 is not one of the form http://host/path (or https, ldap) in ASCII, without a user"},
		{`["http://pki.example/a.cer"]`, `["http://a/b", "http://hunter2@pki.example/"]`, "11:5: certificate_authorities.corporate.issuer_urls: issuer URL 2 is not one of the form http://host/path (or https, ldap) in ASCII, without a user"},
		{"    label: issuing\n", "    label: issuing\n    lable: x\n", "8:5: certificate_authorities.corporate.lable: is not a field; the fields here are token, label, id, certificate, crl_urls, issuer_urls"},

		// The keysets that it issues for.
		{"      ca: corporate\n", "", "18:5: keysets.own.certificate: ca is missing; name one of certificate_authorities"},
		{"ca: corporate", "ca: other", "20:7: keysets.own.certificate.ca: is not the name of a certificate authority; they are corporate"},
		{"issuer: ca\n", "issuer: self\n", "20:7: keysets.own.certificate.ca: does not apply to issuer self; leave it out"},
		{"issuer: ca\n      ca: corporate\n      subject", "issuer: none\n      ca: corporate\n      subjects", "21:7: keysets.own.certificate.subjects: is not a field; the fields here are issuer, subject, ca, usages, root, roots, require_x5c"},
		{"issuer: ca\n      ca: corporate\n", "issuer: self\n      root: keep\n", "20:7: keysets.own.certificate.root: does not apply to issuer self; leave it out"},
		{"ca: corporate\n", "ca: corporate\n      root: no\n", "21:13: keysets.own.certificate.root: must be drop or keep"},
		{"issuer: ca\n", "issuer: corporate\n", "19:15: keysets.own.certificate.issuer: must be one of self, ca, external, none"},
		{"      subject: {organization: Example, country: CH}\n", "", "18:5: keysets.own.certificate.subject: organization is missing; certificates with issuer ca need it"},
		{"    purpose: raw\n    mode: static\n", "    purpose: raw\n    mode: static\n    certificate: {issuer: ca, ca: corporate}\n", "25:5: keysets.fixed.certificate: does not apply to mode static, whose certificates stand under static, each as the chain of its key; leave it out"},
	} {
		text := strings.Replace(goodAuthority, tc.old, tc.new, 1)
		if text == goodAuthority {
			t.Fatalf("%q does not change anything", tc.old)
		}
		_, err := parseAuthority(text, file)
		if want := "/etc/keysetd/k.yaml:" + tc.want; err == nil || err.Error() != want {
			t.Errorf("\n got %.300v\nwant %s", err, want)
		}
	}
}

func TestBadAuthorityCertificate(t *testing.T) {
	good, other := caChain(t, asIs), caChain(t, asIs)
	for name, tc := range map[string]struct {
		file []byte
		want string // none: it is accepted
	}{
		"good":           {toPEM("CERTIFICATE", good...), ""},
		"empty":          {nil, "the file that it names: "},
		"DER":            {good[0], "the file that it names: "},
		"a leaf":         {toPEM("CERTIFICATE", caChain(t, func(_, ca *x509.Certificate) { ca.IsCA = false })...), "is not a CA's"},
		"may not sign":   {toPEM("CERTIFICATE", caChain(t, func(_, ca *x509.Certificate) { ca.KeyUsage = x509.KeyUsageCRLSign })...), "may not sign certificates"},
		"no CA allowed":  {toPEM("CERTIFICATE", caChain(t, func(root, _ *x509.Certificate) { root.MaxPathLen, root.MaxPathLenZero = 0, true })...), "pathLenConstraint"},
		"another's root": {toPEM("CERTIFICATE", good[0], other[1]), "no chain"},
		"the wrong way":  {toPEM("CERTIFICATE", good[1], good[0]), "no chain"},
		"never at a time": {toPEM("CERTIFICATE", caChain(t, func(root, ca *x509.Certificate) {
			ca.NotBefore, ca.NotAfter = root.NotAfter.Add(time.Hour), root.NotAfter.Add(2*time.Hour)
		})...), "no chain"},
		"that has ended": {toPEM("CERTIFICATE", caChain(t, func(root, ca *x509.Certificate) {
			root.NotBefore, ca.NotBefore = root.NotBefore.Add(-time.Hour), ca.NotBefore.Add(-time.Hour)
			root.NotAfter, ca.NotAfter = root.NotBefore.Add(time.Minute), ca.NotBefore.Add(time.Minute)
		})...), ""}, // dates are the daemon's question
	} {
		_, err := parseAuthority(goodAuthority, tc.file)
		const place = "/etc/keysetd/k.yaml:9:5: certificate_authorities.corporate.certificate: "
		if tc.want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		} else if err == nil || !strings.HasPrefix(err.Error(), place) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %s… %s", name, err, place, tc.want)
		}
	}
	key, err := x509.MarshalPKCS8PrivateKey(ecKey(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parseAuthority(goodAuthority, slices.Concat(toPEM("CERTIFICATE", good...), toPEM("PRIVATE KEY", key))); err == nil || !strings.Contains(err.Error(), "private key") {
		t.Errorf("a private key beside it: %v", err)
	}
}

// TestNoAuthorities: a keyset cannot name an authority where there is none.
func TestNoAuthorities(t *testing.T) {
	from, to := strings.Index(goodAuthority, "certificate_authorities"), strings.Index(goodAuthority, "keysets:")
	_, err := parseAuthority(goodAuthority[:from]+goodAuthority[to:], nil)
	if err == nil || !strings.HasSuffix(err.Error(), "12:7: keysets.own.certificate.ca: names a certificate authority, and there is none; describe it under certificate_authorities") {
		t.Error(err)
	}
}

// TestAuthorityIsReloaded: a new certificate in the same file is a change that a running daemon takes over.
func TestAuthorityIsReloaded(t *testing.T) {
	before, err := parseAuthority(goodAuthority, toPEM("CERTIFICATE", caChain(t, asIs)...))
	if err != nil {
		t.Fatal(err)
	}
	after, err := parseAuthority(goodAuthority, toPEM("CERTIFICATE", caChain(t, asIs)...))
	if err != nil {
		t.Fatal(err)
	}
	if names := after.NeedsRestart(before); len(names) > 0 {
		t.Errorf("a restart for %q", names)
	}
}
