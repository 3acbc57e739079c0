package jwks_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/smallstep/pkcs7"

	"keysetd.example/internal/keyspec"
	"keysetd.example/jwks"
)

var (
	minute = jwks.Options{MaxAge: time.Minute}
	pages  = []string{"cer", "pem", "rawpem", "pb7", "fingerprint"}
)

func active(k jwks.Key) jwks.Key { k.Active = true; return k }

func with(k jwks.Key, change func(*jwks.Key)) jwks.Key { change(&k); return k }

// issued is a key with a chain of a leaf and the CA above it.
func issued(t testing.TB, spec keyspec.Spec) jwks.Key {
	t.Helper()
	k := published(t, spec, false)
	ca, now := key(t, keyspec.P384), time.Now()
	template := func(serial int64, name string, isCA bool) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Minute),
			NotAfter: now.Add(time.Hour), IsCA: isCA, BasicConstraintsValid: true,
		}
	}
	root := template(1, "An issuing CA", true)
	for _, c := range []struct {
		template *x509.Certificate
		pub      any
	}{{template(2, "leaf "+k.KID, false), k.Public}, {root, ca.Public()}} {
		der, err := x509.CreateCertificate(rand.Reader, c.template, root, c.pub, ca)
		if err != nil {
			t.Fatal(err)
		}
		k.Chain = append(k.Chain, der)
	}
	return k
}

func certificates(t testing.TB, name string, keys []jwks.Key, opts jwks.Options) *jwks.Certificates {
	t.Helper()
	c, err := jwks.NewCertificates(name, keys, opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// whole is a keyset with all its pages of keys.
func whole(t testing.TB, name string, keys []jwks.Key, opts jwks.Options) jwks.Keyset {
	t.Helper()
	doc, err := jwks.NewDocument(keys, opts)
	if err != nil {
		t.Fatal(err)
	}
	return jwks.Keyset{Name: name, JWKS: doc, Certificates: certificates(t, name, keys, opts)}
}

func opened(t testing.TB, keysets ...jwks.Keyset) *jwks.Pages {
	t.Helper()
	d := jwks.NewPages(func() bool { return true })
	d.Swap(set(t, keysets...))
	return d
}

// openssl runs the command and returns what it says.
func openssl(t testing.TB, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "openssl", args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("openssl %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// Every form is the same certificate, to Go and to openssl; pb7 has all of its chain.
func TestCertificateForms(t *testing.T) {
	for _, spec := range []keyspec.Spec{keyspec.RSA2048, keyspec.P256, keyspec.Ed25519} {
		k := active(issued(t, spec))
		d := opened(t, whole(t, "default", []jwks.Key{k}, minute))
		get := func(page string) string { return text(t, ask(d, "GET", "/"+page)) }
		if !bytes.Equal([]byte(get("cer")), k.Chain[0]) {
			t.Errorf("%s: cer is another", spec)
		}
		if bundle, err := jwks.PKCS7(k.Chain); err != nil || string(bundle) != get("pb7") || jwks.Fingerprint(k.Chain[0])+"\n" != get("fingerprint") {
			t.Errorf("%s: %s %s, %v; the pages differ", spec, bundle, jwks.Fingerprint(k.Chain[0]), err)
		}
		for _, page := range []string{"pem", "rawpem"} {
			block, rest := pem.Decode([]byte(get(page)))
			if block == nil || block.Type != "CERTIFICATE" || len(block.Headers) > 0 || len(rest) > 0 || !bytes.Equal(block.Bytes, k.Chain[0]) {
				t.Errorf("%s: %s is %v and %d more bytes", spec, page, block, len(rest))
			}
		}
		block, rest := pem.Decode([]byte(get("pb7")))
		if block == nil || block.Type != "PKCS7" || len(rest) > 0 {
			t.Fatalf("%s: pb7 is %v and %d more bytes", spec, block, len(rest))
		}
		bundle, err := pkcs7.Parse(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		var chain [][]byte
		for _, c := range bundle.Certificates {
			chain = append(chain, c.Raw)
		}
		if !slices.EqualFunc(chain, k.Chain, bytes.Equal) || len(bundle.Signers) > 0 {
			t.Errorf("%s: pb7 has %d certificates and %d signers", spec, len(chain), len(bundle.Signers))
		}

		prints := map[string]string{
			"fingerprint":             openssl(t, get("cer"), "x509", "-inform", "DER", "-noout", "-fingerprint", "-sha1"),
			"fingerprint?hash=sha1":   openssl(t, get("rawpem"), "x509", "-noout", "-fingerprint", "-sha1"),
			"fingerprint?hash=sha256": openssl(t, get("pem"), "x509", "-noout", "-fingerprint", "-sha256"),
		}
		for page, want := range prints {
			_, want, _ = strings.Cut(want, "=")
			if got := get(page); got != want {
				t.Errorf("%s: %s is %q, and openssl says %q", spec, page, got, want)
			}
		}
		printed := openssl(t, get("pb7"), "pkcs7", "-print_certs")
		leaf, above := strings.Index(printed, "subject=CN = leaf "+k.KID), strings.Index(printed, "subject=CN = An issuing CA")
		if leaf < 0 || above < leaf || strings.Count(printed, "subject=") != 2 || !strings.Contains(printed, get("pem")) {
			t.Errorf("%s: openssl reads of pb7:\n%s", spec, printed)
		}
	}
}

func TestCertificateHeaders(t *testing.T) {
	k := active(issued(t, keyspec.P256))
	d := opened(t, whole(t, "default", []jwks.Key{k}, minute), whole(t, "pem", []jwks.Key{k}, minute), whole(t, `o"d;d`, []jwks.Key{k}, minute))
	attachment := "attachment; filename="
	for target, want := range map[string][2]string{
		"/cer":                             {"application/pkix-cert", attachment + "default.cer"},
		"/pem":                             {"application/x-pem-file", attachment + "default.pem"},
		"/rawpem":                          {"text/plain; charset=utf-8", ""},
		"/pb7":                             {"application/x-pkcs7-certificates", attachment + "default.p7b"},
		"/fingerprint":                     {"text/plain; charset=utf-8", ""},
		"/fingerprint?hash=sha256":         {"text/plain; charset=utf-8", ""},
		"/keysets/default/pem":             {"application/x-pem-file", attachment + "default.pem"},
		"/keysets/pem/pem":                 {"application/x-pem-file", attachment + "pem.pem"},
		"/keysets/o%22d;d/cer":             {"application/pkix-cert", attachment + `"o\"d;d.cer"`},
		"/keysets/default/cer?alg=%45S256": {"application/pkix-cert", attachment + "default.cer"},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			resp := ask(d, method, target)
			h := resp.Header
			if resp.StatusCode != 200 || h.Get("Content-Type") != want[0] || strings.Join(h.Values("Content-Disposition"), "+") != want[1] || len(h.Values("Content-Disposition")) > len(want[1]) {
				t.Errorf("%s %s: %d %v", method, target, resp.StatusCode, h)
			}
			if h.Get("Access-Control-Allow-Origin") != "*" || h.Get("X-Content-Type-Options") != "nosniff" || maxAge(t, resp) == 0 || h.Get("Last-Modified") != "" {
				t.Errorf("%s %s: %v", method, target, h)
			}
			if (text(t, resp) == "") != (method == "HEAD") {
				t.Errorf("%s %s: a body, or none", method, target)
			}
			if resp := ask(d, method, target, "If-Match", `"a"`); resp.StatusCode != 412 || resp.Header.Get("Content-Disposition") != "" || resp.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s %s: %d %v", method, target, resp.StatusCode, resp.Header)
			}
		}
	}
	for _, page := range pages {
		if resp := ask(d, "POST", "/"+page); resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("POST /%s: %d", page, resp.StatusCode)
		}
	}
}

// Which certificate is shown, and what is said where there is none.
func TestCertificateChoice(t *testing.T) {
	rsaKey, p256, p384, ed := active(published(t, keyspec.RSA2048, true)), active(published(t, keyspec.P256, true)), published(t, keyspec.P384, true), active(published(t, keyspec.Ed25519, false))
	next := with(published(t, keyspec.RSA3072, true), func(k *jwks.Key) { k.KID = "a kid & more" })
	toCome := with(published(t, keyspec.P521, false), func(k *jwks.Key) { k.KID = "to come" })
	enc := with(active(published(t, keyspec.RSA4096, true)), func(k *jwks.Key) { k.Use, k.KID = jwks.Encryption, "enc" })
	dh := with(active(published(t, keyspec.P521, true)), func(k *jwks.Key) { k.Use, k.KID = jwks.Encryption, "dh" })
	opts := jwks.Options{MaxAge: time.Minute, Algorithms: []jose.SignatureAlgorithm{jose.PS256}}
	second := with(active(issued(t, keyspec.P256)), func(k *jwks.Key) { k.KID = "second" })
	bare := with(second, func(k *jwks.Key) { k.KID, k.Chain = "bare", nil })
	d := opened(t,
		whole(t, "two", []jwks.Key{p256, second}, opts),
		whole(t, "bare first", []jwks.Key{bare, second}, opts),
		whole(t, "default", []jwks.Key{rsaKey, p256, ed, next, p384, toCome}, opts),
		whole(t, "bare", []jwks.Key{ed, p256}, opts), // the first active key has no certificate
		whole(t, "idle", []jwks.Key{p384}, opts),     // none is active
		whole(t, "empty", nil, opts),
		whole(t, "enc", []jwks.Key{enc, dh}, opts),
		jwks.Keyset{Name: "none", JWKS: page(t, "one")},
	)
	const none = "404 no certificate"
	for target, want := range map[string]any{
		"/keysets/default/cer":                     rsaKey,
		"/cer":                                     rsaKey,
		"/cer?x=y&&z":                              rsaKey, // as for the JWKS
		"/cer?hash=md5&hash=x":                     rsaKey, // is for fingerprints
		"/cer?kid=" + rsaKey.KID:                   rsaKey,
		"/cer?kid=" + rsaKey.KID + "-PS256":        rsaKey,
		"/cer?kid=" + rsaKey.KID + "-PS384":        none,
		"/cer?kid=" + p256.KID:                     p256,
		"/cer?kid=" + p384.KID:                     p384,
		"/cer?kid=" + ed.KID:                       none,
		"/cer?kid=a+kid+%26%20more":                next,
		"/cer?kid=to+come":                         none,
		"/cer?kid=":                                none,
		"/cer?kid":                                 none,
		"/cer?kid=none":                            none,
		"/cer?alg=RS256":                           rsaKey,
		"/cer?alg=PS512":                           rsaKey,
		"/cer?alg=ES256":                           p256,
		"/cer?alg=ES384":                           none, // is not active
		"/cer?alg=EdDSA":                           none,
		"/cer?alg=RSA-OAEP":                        none, // it signs
		"/cer?alg=es256":                           none,
		"/cer?alg=":                                none,
		"/keysets/bare/cer":                        none,
		"/keysets/bare/cer?alg=ES256":              p256,
		"/keysets/idle/cer":                        none,
		"/keysets/idle/cer?kid=" + p384.KID:        p384,
		"/keysets/empty/cer":                       none,
		"/keysets/enc/cer":                         enc,
		"/keysets/enc/cer?alg=RSA-OAEP-256":        enc,
		"/keysets/enc/cer?alg=RS256":               none,
		"/keysets/enc/cer?alg=ECDH-ES%2BA128KW":    dh,
		"/keysets/none/cer":                        "404 not found",
		"/keysets/two/cer?alg=ES256":               p256,
		"/keysets/two/cer?kid=second":              second,
		"/keysets/bare%20first/cer?alg=ES256":      none,
		"/keysets/gone/cer":                        "404 not found",
		"/keysets/default/cer/":                    "404 not found",
		"/keysets/default/CER":                     "404 not found",
		"/cer?kid=a&kid=a":                         "400 give at most one of kid and alg, and nothing twice",
		"/cer?alg=RS256&kid=" + rsaKey.KID:         "400 give at most one of kid and alg, and nothing twice",
		"/fingerprint?hash=sha1&hash=sha1":         "400 give at most one of kid and alg, and nothing twice",
		"/fingerprint?hash=md5":                    "400 hash is sha1 or sha256",
		"/fingerprint?hash=":                       "400 hash is sha1 or sha256",
		"/cer?kid=%zz":                             "400 the query is malformed",
		"/cer?a;kid=" + p256.KID:                   "400 the query is malformed",
		"/cer?kid=" + strings.Repeat("k", 4<<10-4): none,
		"/cer?kid=" + strings.Repeat("k", 4<<10-3): "414 the query is too long",
		"/keysets/default/jwks.json?" + strings.Repeat("k", 4<<10): "200 {",
	} {
		resp := ask(d, "GET", target)
		got := text(t, resp)
		k, ok := want.(jwks.Key)
		if !ok {
			status, word, _ := strings.Cut(want.(string), " ")
			if fmt.Sprint(resp.StatusCode) != status || resp.StatusCode != 200 && got != word+"\n" {
				t.Errorf("%s: %d %q, want %s", target, resp.StatusCode, got, want)
			}
			if resp.StatusCode != 200 && (resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("Access-Control-Allow-Origin") != "*" || resp.Header.Get("Etag") != "") {
				t.Errorf("%s: %v", target, resp.Header)
			}
		} else if resp.StatusCode != 200 || got != string(k.Chain[0]) {
			t.Errorf("%s: %d, and it is not the certificate of %s", target, resp.StatusCode, k.KID)
		}
	}
}

func TestCertificatesRefuse(t *testing.T) {
	p256, ed := published(t, keyspec.P256, true), published(t, keyspec.Ed25519, true)
	for name, tc := range map[string]struct {
		keys []jwks.Key
		opts jwks.Options
	}{
		"another key's chain": {[]jwks.Key{with(p256, func(k *jwks.Key) { k.Chain = ed.Chain })}, minute},
		"no certificate":      {[]jwks.Key{with(p256, func(k *jwks.Key) { k.Chain = [][]byte{{1, 2}} })}, minute},
		"a kid twice":         {[]jwks.Key{p256, with(ed, func(k *jwks.Key) { k.KID = p256.KID })}, minute},
		"a short max-age":     {nil, jwks.Options{MaxAge: time.Second - 1}},
	} {
		if c, err := jwks.NewCertificates("k", tc.keys, tc.opts); err == nil || c != nil {
			t.Errorf("%s: was taken", name)
		}
	}
	if _, err := jwks.NewCertificates("k", []jwks.Key{p256, p256, active(p256)}, minute); err != nil {
		t.Errorf("a key given again, as a document allows: %v", err)
	}
}

// A path without a slash comes from no client, but another handler may have cut it.
func TestCertificateOddPath(t *testing.T) {
	d := opened(t, whole(t, "default", []jwks.Key{active(published(t, keyspec.P256, true))}, minute))
	r := httptest.NewRequest("GET", "/cer", nil)
	r.URL.Path = "cer"
	rec := httptest.NewRecorder()
	if d.ServeHTTP(rec, r); rec.Code != http.StatusNotFound {
		t.Errorf("%d", rec.Code)
	}
}
