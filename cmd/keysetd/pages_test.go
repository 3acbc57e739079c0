package main_test

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// page is an answer of the public door.
type page struct {
	status int
	header http.Header
	body   []byte
}

// ask asks the public door for a path, as a page of another origin might.
func (d *daemon) ask(method, path string, header ...string) page {
	d.t.Helper()
	req, err := http.NewRequest(method, "http://"+d.Public+path, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	req.Header.Set("Origin", "https://elsewhere.example")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return page{resp.StatusCode, resp.Header, body}
}

// published is the entry of a keyset's JWKS with this kid.
func (d *daemon) published(keyset, kid string) jose.JSONWebKey {
	d.t.Helper()
	set := d.jwks(keyset)
	keys := set.Key(kid)
	if len(keys) != 1 {
		d.t.Fatalf("keyset %s publishes %d keys %q", keyset, len(keys), kid)
	}
	return keys[0]
}

// openssl has the command read a page.
func openssl(t *testing.T, in []byte, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("openssl", args...)
	var out, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &stderr
	if err := cmd.Run(); err != nil {
		t.Errorf("openssl %v: %v\n%s", args, err, stderr.Bytes())
	}
	return out.Bytes()
}

// inPEM are the certificates in a text, DER.
func inPEM(text []byte) (list [][]byte) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			list = append(list, block.Bytes)
		}
	}
	return list
}

// TestCertificatePages: each form, as OpenSSL reads it, is the certificate that the JWKS has, under the root
// for keyset default and by kid and algorithm.
func TestCertificatePages(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.configure(rawKeyset)
	said := s.mustCA("create", "tokens", "--label", "issuing", "--days", "30", "--subject", "CN=Example Tokens CA,O=Example,C=CH", "--out", s.path("ca"))
	s.configure(`
  default:
    purpose: any
    issuer: https://issuer.example
    keys: [p-256, rsa-2048]
    publish: {algorithms: [RS256]}
    rotation: {clock_skew: 100ms} # for the CA was made just now
    certificate: {issuer: ca, ca: tokens, root: keep, ` + issuedSubject + `}
  second: {purpose: raw, keys: [p-384], certificate: {issuer: self, ` + issuedSubject + `}}
  none: {purpose: raw, keys: [p-256], certificate: {issuer: none}}
`)
	s.certify(said)
	s.mustKeysetd("init", "-c", s.path("keysetd.yaml"))
	d := s.serve()

	active := map[string]string{} // kids by spec
	for _, k := range in(d.state("default"), "active").Keys {
		active[string(k.Spec)] = k.KID
	}
	pending := kidOf(in(d.state("default"), "pending"))
	rsa := active["rsa-2048"]
	for query, kid := range map[string]string{
		"": active["p-256"], "?alg=ES256": active["p-256"], "?alg=RS384": rsa, "?alg=PS256": rsa,
		"?kid=" + rsa: rsa, "?kid=" + rsa + "-RS256": rsa, "?kid=" + pending: pending, "?other=1": active["p-256"],
	} {
		chain := d.published("default", kid).Certificates
		for _, base := range []string{"", "/keysets/default"} {
			d.sameCertificate(base, query, chain)
		}
	}
	d.sameCertificate("/keysets/second", "", d.published("second", kidOf(in(d.state("second"), "active"))).Certificates)

	for path, status := range map[string]int{
		"/keysets/none/cer": 404, "/keysets/none/pb7": 404, "/keysets/none/fingerprint": 404, "/keysets/nobody/cer": 404,
		"/none/cer": 404, "/second/cer": 404, "/keysets/default/crt": 404, "/keysets/default/.well-known/openid-configuration": 404, "/.well-known/openid-configuration": 404,
		"/keysets/second/cer?kid=" + rsa: 404, "/cer?alg=ES384": 404, "/cer?alg=none": 404, "/cer?kid=": 404,
		"/cer?kid=a&alg=ES256": 400, "/cer?kid=a&kid=b": 400, "/cer?kid=%zz": 400, "/fingerprint?hash=md5": 400, "/cer?kid=" + strings.Repeat("k", 5000): 414,
	} {
		if p := d.ask("GET", path); p.status != status || p.header.Get("Cache-Control") != "no-store" || len(p.body) > 100 {
			t.Errorf("GET %.60s: %d %v %.100q, want %d", path, p.status, p.header, p.body, status)
		}
	}
	if p := d.ask("POST", "/cer"); p.status != 405 || p.header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d %v", p.status, p.header)
	}
	if out := d.ctl("status", "default"); !strings.Contains(out, active["p-256"]) {
		t.Errorf("keysetctl status does not have the key that the pages show:\n%s", out)
	}

	// When another key signs the pages are that one's, and a browser that has the old one is told so.
	before := d.ask("GET", "/cer")
	d.ctl("revoke", active["p-256"], "--reason", "leaked", "--accept-unpublished")
	now := d.ask("GET", "/cer", "If-None-Match", before.header.Get("Etag"))
	if kid := kidOf(in(d.state("default"), "active")); now.status != 200 || !bytes.Equal(now.body, d.published("default", kid).Certificates[0].Raw) {
		t.Errorf("after the key was revoked: %d", now.status)
	}
}

// sameCertificate holds every form below base against the chain that the JWKS has.
func (d *daemon) sameCertificate(base, query string, chain []*x509.Certificate) {
	t := d.t
	t.Helper()
	leaf := chain[0].Raw
	colons := func(sum []byte) string { return strings.ReplaceAll(fmt.Sprintf("% X", sum), " ", ":") }
	one, both := sha1.Sum(leaf), sha256.Sum256(leaf)
	hash := "?"
	if query != "" {
		hash = query + "&"
	}
	for path, want := range map[string]struct {
		media, saved string
		der          func(body []byte) []byte // as others read it
	}{
		"/cer" + query:    {"application/pkix-cert", ".cer", func(b []byte) []byte { return openssl(t, b, "x509", "-inform", "DER", "-outform", "DER") }},
		"/pem" + query:    {"application/x-pem-file", ".pem", func(b []byte) []byte { return openssl(t, b, "x509", "-outform", "DER") }},
		"/rawpem" + query: {"text/plain; charset=utf-8", "", func(b []byte) []byte { return openssl(t, b, "x509", "-outform", "DER") }},
		"/pb7" + query: {"application/x-pkcs7-certificates", ".p7b", func(b []byte) []byte {
			list := inPEM(openssl(t, b, "pkcs7", "-print_certs"))
			if len(list) != len(chain) {
				t.Errorf("%s/pb7%s: %d certificates, want %d", base, query, len(list), len(chain))
				return nil
			}
			for i, c := range chain {
				if !bytes.Equal(list[i], c.Raw) {
					t.Errorf("%s/pb7%s: certificate %d is not that of x5c", base, query, i)
				}
			}
			return list[0]
		}},
		"/fingerprint" + query: {"text/plain; charset=utf-8", "", func(b []byte) []byte {
			said := openssl(t, leaf, "x509", "-inform", "DER", "-noout", "-fingerprint", "-sha1")
			return same(string(b) == colons(one[:])+"\n" && strings.HasSuffix(string(said), "="+string(b)), leaf)
		}},
		"/fingerprint" + hash + "hash=sha256": {"text/plain; charset=utf-8", "", func(b []byte) []byte {
			said := openssl(t, leaf, "x509", "-inform", "DER", "-noout", "-fingerprint", "-sha256")
			return same(string(b) == colons(both[:])+"\n" && strings.HasSuffix(string(said), "="+string(b)), leaf)
		}},
	} {
		path = base + path
		p := d.ask("GET", path)
		if p.status != 200 || !bytes.Equal(want.der(p.body), leaf) {
			t.Errorf("GET %s: %d, and not the certificate of x5c:\n%.300q", path, p.status, p.body)
			continue
		}
		disposition := ""
		if want.saved != "" {
			disposition = "attachment; filename=" + strings.TrimPrefix(strings.TrimPrefix(base, "/keysets/"), "/") + want.saved
			if base == "" {
				disposition = "attachment; filename=default" + want.saved
			}
		}
		etag, cache := p.header.Get("Etag"), p.header.Get("Cache-Control")
		if p.header.Get("Content-Type") != want.media || p.header.Get("Content-Disposition") != disposition || p.header.Get("Access-Control-Allow-Origin") != "*" ||
			p.header.Get("X-Content-Type-Options") != "nosniff" || len(etag) < 20 || !strings.Contains(cache, "max-age=") {
			t.Errorf("GET %s: %v", path, p.header)
		}
		if again := d.ask("GET", path, "If-None-Match", etag); again.status != 304 || len(again.body) > 0 || again.header.Get("Etag") != etag || !strings.Contains(again.header.Get("Cache-Control"), "max-age=") {
			t.Errorf("GET %s again: %d %v %d bytes", path, again.status, again.header, len(again.body))
		}
		head := d.ask("HEAD", path)
		if head.status != 200 || len(head.body) > 0 || head.header.Get("Etag") != etag || head.header.Get("Content-Length") != fmt.Sprint(len(p.body)) || head.header.Get("Content-Type") != want.media {
			t.Errorf("HEAD %s: %d %v", path, head.status, head.header)
		}
	}
}

// same is der if ok.
func same(ok bool, der []byte) []byte {
	if ok {
		return der
	}
	return nil
}

// TestDiscoveryDocument has every member that OpenID Connect Discovery requires, with those of the provider, and
// says what the keys do now.
func TestDiscoveryDocument(t *testing.T) {
	t.Parallel()
	const discovery = "discovery: {authorization_endpoint: https://issuer.example/authorize, token_endpoint: https://issuer.example/token, scopes_supported: [openid]}"
	s := newSite(t)
	s.configure(`
  default: {purpose: jwt, issuer: "https://issuer.example", keys: [p-256, rsa-2048], ` + discovery + `}
  other: {purpose: any, issuer: "https://issuer.example/other", keys: [p-384], ` + discovery + `}
  silent: {purpose: jwt, issuer: "https://issuer.example/silent", keys: [p-256]}
`)
	s.edit("\nkeysets:\n", "\npublic_url: https://keys.example\nkeysets:\n")
	s.mustKeysetd("init", "-c", s.path("keysetd.yaml"))
	d := s.serve()
	const path = "/.well-known/openid-configuration"
	for at, want := range map[string]string{
		path:                      `"issuer":"https://issuer.example","jwks_uri":"https://keys.example/keysets/default/jwks.json"`,
		"/keysets/default" + path: `"issuer":"https://issuer.example","jwks_uri":"https://keys.example/keysets/default/jwks.json"`,
		"/keysets/other" + path:   `"issuer":"https://issuer.example/other","jwks_uri":"https://keys.example/keysets/other/jwks.json"`,
	} {
		algorithms := []any{"ES256", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
		if strings.Contains(at, "other") {
			algorithms = []any{"ES384"}
		}
		p := d.ask("GET", at)
		var doc, expected map[string]any
		if err := json.Unmarshal(p.body, &doc); err != nil || p.status != 200 {
			t.Fatalf("GET %s: %d %v\n%s", at, p.status, err, p.body)
		}
		if err := json.Unmarshal([]byte("{"+want+`,"authorization_endpoint":"https://issuer.example/authorize","token_endpoint":"https://issuer.example/token",
			"scopes_supported":["openid"],"response_types_supported":["code"],"subject_types_supported":["public"]}`), &expected); err != nil {
			t.Fatal(err)
		}
		expected["id_token_signing_alg_values_supported"] = algorithms
		if got, want := fmt.Sprint(doc), fmt.Sprint(expected); got != want {
			t.Errorf("GET %s:\n%s\nwant\n%s", at, got, want)
		}
		etag := p.header.Get("Etag")
		if p.header.Get("Content-Type") != "application/json" || p.header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(p.header.Get("Cache-Control"), "max-age=") {
			t.Errorf("GET %s: %v", at, p.header)
		}
		if again := d.ask("GET", at, "If-None-Match", etag); again.status != 304 {
			t.Errorf("GET %s again: %d", at, again.status)
		}
		if head := d.ask("HEAD", at); head.status != 200 || head.header.Get("Etag") != etag || len(head.body) > 0 {
			t.Errorf("HEAD %s: %d %v", at, head.status, head.header)
		}
	}
	for _, at := range []string{"/keysets/silent" + path, "/keysets/silent/cer", "/keysets/nobody" + path} {
		if p := d.ask("GET", at); p.status != 404 {
			t.Errorf("GET %s: %d", at, p.status)
		}
	}

	// A reload takes the document over, and takes it away.
	s.edit("scopes_supported: [openid]", "scopes_supported: [openid, email]")
	d.ctl("reload")
	if p := d.ask("GET", path); !bytes.Contains(p.body, []byte(`"email"`)) {
		t.Errorf("after a reload: %s", p.body)
	}
	s.edit(", "+strings.Replace(discovery, "[openid]", "[openid, email]", 1), "")
	d.ctl("reload")
	if p := d.ask("GET", path); p.status != 404 {
		t.Errorf("after it was taken out: %d %s", p.status, p.body)
	}
}
