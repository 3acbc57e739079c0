package main_test

import (
	"strings"
	"testing"
	"time"
)

// authority plays a CA outside with OpenSSL: it makes a root of this name.
func (s *site) authority(name string) {
	s.t.Helper()
	s.tool("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-nodes", "-subj", "/C=CH/O=Example/CN="+name, "-days", "400",
		"-addext", "keyUsage=critical,keyCertSign,cRLSign", "-keyout", s.path(name+".key"), "-out", s.path(name+".pem"))
}

// answer has it issue for a request, and returns the file with the certificate and, in the wrong order, the root.
func (s *site) answer(name, request, days string) string {
	s.t.Helper()
	s.write("leaf.ext", "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n")
	s.tool("openssl", "x509", "-req", "-in", request, "-CA", s.path(name+".pem"), "-CAkey", s.path(name+".key"), "-CAcreateserial", "-sha384",
		"-days", days, "-extfile", s.path("leaf.ext"), "-out", s.path("issued.pem"))
	return s.writePEM("answer.pem", append(certificatesIn(s.t, s.path(name+".pem")), certificatesIn(s.t, s.path("issued.pem"))...)...)
}

// imported hands in a chain, as soon as it counts as valid everywhere: OpenSSL has it begin now.
func (d *daemon) imported(kid, file string) {
	d.t.Helper()
	eventually(d.t, 10*time.Second, "the chain is taken", func() bool {
		_, stderr, err := d.tryCtl("certificate", "import", "default", "--kid", kid, file)
		if err != nil && !strings.Contains(stderr, "when every verifier takes it as valid") {
			d.t.Fatalf("it is refused: %s", stderr)
		}
		return err == nil
	})
}

// TestExternalCA: a CA outside, played by OpenSSL, certifies the keys. They sign once every verifier can have the chain.
func TestExternalCA(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.authority("corporate")
	s.authority("another")
	s.configure(`
  default:
    purpose: jwt
    any_issuer: true
    keys: [p-256]
    rotation: {period: 8s, lead: 4s, clock_skew: 200ms}
    publish: {max_age: 1s}
    max_token_lifetime: 2s
    certificate: {issuer: external, roots: corporate.pem, require_x5c: true, ` + issuedSubject + `}
  self: {purpose: raw, keys: [p-256]}
`)
	s.mustKeysetd("check", "-c", s.path("keysetd.yaml"))
	if out := s.mustKeysetd("init", "-c", s.path("keysetd.yaml")); !strings.Contains(out, "`keysetctl csr show default`") || !strings.Contains(out, "`keysetctl certificate import default --kid KID FILE`") {
		t.Errorf("init does not say what is to be done:\n%s", out)
	}
	d := s.serve()

	before := d.state("default")
	if g := in(before, "pending"); before.Ready || g.Number != 1 || before.Problem != "" || len(before.Warnings) != 1 || !strings.Contains(before.Warnings[0], "`keysetctl csr show default "+g.Keys[0].KID+"`") {
		t.Fatalf("before there is a certificate: %+v", before)
	}
	if status, _ := d.token("default", "ES256", time.Second); status != 503 {
		t.Errorf("it signs without a certificate: %d", status)
	}
	if page := string(get(t, "http://"+d.Metrics+"/")); !strings.Contains(page, "waits for the certificate of kid") {
		t.Error("the status page does not say that a certificate is wanted")
	}
	contains(t, "status", d.ctl("status"), "generation 1 waits for the certificate of kid")
	kid := in(before, "pending").Keys[0].KID
	contains(t, "csr list", d.ctl("csr", "list"), "default", kid)
	d.refused([]string{"csr", "show", "self"}, "no key of keyset self waits for a certificate")

	request := s.path("request.pem")
	s.write("request.pem", d.ctl("csr", "show", "default"))
	if out := s.tool("openssl", "req", "-verify", "-noout", "-subject", "-in", request); !strings.Contains(out, "CN = default-") && !strings.Contains(out, "CN=default-") {
		t.Errorf("openssl req: %s", out)
	}

	// What is not what was asked for.
	d.refused([]string{"certificate", "import", "default", "--kid", kid, s.answer("another", request, "90")}, "bad_request", "signed by unknown authority; hand in every CA certificate", "(at /chain)")
	d.refused([]string{"certificate", "import", "default", "--kid", kid, s.answer("corporate", request, "1")}, "and must be until", "ask the CA for a longer one")
	good := s.answer("corporate", request, "90")
	d.refused([]string{"certificate", "import", "default", "--kid", "nobody", good}, "kid_unknown", "keysetctl csr list default")
	d.refused([]string{"certificate", "import", "self", "--kid", kid, good}, "do not come from outside")
	d.refused([]string{"certificate", "import", "default", "--kid", kid, s.path("corporate.key")}, "bad_request")
	if now := d.state("default"); in(now, "pending").Number != 1 || !in(now, "pending").Keys[0].NotAfter.IsZero() {
		t.Errorf("something of that was taken: %+v", now.Generations)
	}

	first := s.writePEM("first.pem", certificatesIn(t, good)...)
	d.imported(kid, good)
	s.audited("certificate", "granted")
	eventually(t, 20*time.Second, "the first generation signs", func() bool { return d.state("default").Ready })
	// By max_age and clock_skew.
	if waited := in(d.state("default"), "active").Since.Sub(d.did("default", "chain set", "valid until").At); waited < 1200*time.Millisecond {
		t.Errorf("it signs %v after the import, when not every verifier can have the chain", waited)
	}
	root := certificatesIn(t, s.path("corporate.pem"))[0]
	signs := func() {
		t.Helper()
		page := d.jwks("default")
		token, by := d.mustToken("default", "ES256", time.Second)
		verifies(t, token, page)
		k := page.Key(by)
		if len(k) != 1 || len(k[0].Certificates) != 1 { // the root is dropped
			t.Fatalf("%s is on the page %d times", by, len(k))
		}
		s.leadsTo(root, k[0])
	}
	signs()

	// The next one waits for its own.
	eventually(t, 10*time.Second, "the next generation is made", func() bool { return in(d.state("default"), "pending").Number == 2 })
	next := in(d.state("default"), "pending")
	s.write("request.pem", d.ctl("csr", "show", "default", next.Keys[0].KID))
	d.refused([]string{"certificate", "import", "default", "--kid", next.Keys[0].KID, first}, "bad_request", "(at /chain)")
	d.imported(next.Keys[0].KID, s.answer("corporate", request, "90"))
	eventually(t, 30*time.Second, "the second generation signs", func() bool { return in(d.state("default"), "active").Number == 2 })
	signs()
}
