package config

import (
	"crypto/x509"
	"strings"
	"testing"
)

const goodExternal = `tokens:
  main: {module: /m.so, label: l, pin: {file: pin}}
keysets:
  own:
    purpose: jwt
    any_issuer: true
    keys: [p-256]
    rotation: {lead: 6h}
    certificate:
      issuer: external
      subject: {organization: Example, country: CH}
      roots: c.pem
`

func TestExternal(t *testing.T) {
	ders := caChain(t, asIs)
	cfg, err := parseAuthority(goodExternal, toPEM("CERTIFICATE", ders...))
	if err != nil {
		t.Fatal(err)
	}
	k := cfg.Keysets["own"]
	if c := k.Certificate; c.Issuer != External || c.RootsFile != "/etc/keysetd/c.pem" || len(c.Roots) != len(ders) || c.Root != DropRoot || c.RequireX5C {
		t.Errorf("%+v", c)
	}
	if p := k.Policy("own"); !p.External || p.RequireChain {
		t.Errorf("policy %+v", p)
	}
	want := x509.NewCertPool()
	for _, der := range ders {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		want.AddCert(c)
	}
	if pool, err := k.Certificate.Pool(); err != nil || !pool.Equal(want) {
		t.Errorf("the pool: %v", err)
	}
	for _, issuer := range []string{"issuer: external", "issuer: self"} {
		text := strings.Replace(strings.Replace(goodExternal, "roots: c.pem", "roots: c.pem\n      require_x5c: true", 1), "issuer: external", issuer, 1)
		if issuer == "issuer: self" {
			text = strings.Replace(text, "      roots: c.pem\n", "", 1)
		}
		cfg, err := parseAuthority(text, toPEM("CERTIFICATE", ders...))
		if err != nil || !cfg.Keysets["own"].Policy("own").RequireChain {
			t.Errorf("require_x5c with %s: %v", issuer, err)
		}
	}
}

func TestBadExternal(t *testing.T) {
	file := toPEM("CERTIFICATE", caChain(t, asIs)...)
	for _, tc := range []struct{ old, new, want string }{
		{"      roots: c.pem\n", "", "9:5: keysets.own.certificate: roots is missing; name the PEM file with the certificates that a chain from outside must lead to"},
		{"c.pem", "hunter2.pem", "12:7: keysets.own.certificate.roots: the file that it names: file does not exist"},
		{"{lead: 6h}", "{period: 12h}", "10:7: keysets.own.certificate.issuer: external needs rotation.lead, and no default will do: people are to have a certificate issued and handed in within it; say how long they need"},
		{"      roots: c.pem\n", "      roots: c.pem\n      command: [/bin/true]\n", "13:7: keysets.own.certificate.command: is not a field; the fields here are issuer, subject, ca, usages, root, roots, require_x5c"},
		{"      roots: c.pem\n", "      roots: c.pem\n      ca: corporate\n", "13:7: keysets.own.certificate.ca: does not apply to issuer external; leave it out"},
		{"issuer: external", "issuer: self", "12:7: keysets.own.certificate.roots: does not apply to issuer self; leave it out"},
		{"issuer: external\n      subject: {organization: Example, country: CH}\n      roots: c.pem\n", "issuer: none\n      require_x5c: true\n", "11:7: keysets.own.certificate.require_x5c: does not apply to issuer none; leave it out"},
		{"purpose: jwt\n    any_issuer: true\n    keys: [p-256]\n    rotation: {lead: 6h}", "purpose: enc\n    max_message_age: 1h\n    keys: [p-256]", "9:7: keysets.own.certificate.issuer: external does not apply to purpose enc, whose keys cannot sign a request; write ca or none"},
	} {
		text := strings.Replace(goodExternal, tc.old, tc.new, 1)
		if text == goodExternal {
			t.Fatalf("%q does not change anything", tc.old)
		}
		_, err := parseAuthority(text, file)
		if want := "/etc/keysetd/k.yaml:" + tc.want; err == nil || err.Error() != want {
			t.Errorf("\n got %.300v\nwant %s", err, want)
		}
	}
	if _, err := parseAuthority(goodExternal, []byte("hunter2")); err == nil || !strings.Contains(err.Error(), "12:7: keysets.own.certificate.roots: the file that it names: ") || strings.Contains(err.Error(), "hunter2") {
		t.Error(err)
	}
}
