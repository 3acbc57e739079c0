package x5c_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"keysetd.example/internal/keyspec"
	"keysetd.example/jwks/x5c"
)

func TestParsePEM(t *testing.T) {
	p := newPath(t, key(t, keyspec.P256).Public(), 1, 1)
	chain := [][]byte{p.leaf, p.ca, p.root}
	good := x5c.EncodePEM(chain)
	one := x5c.EncodePEM(chain[:1])
	secret, err := x509.MarshalPKCS8PrivateKey(key(t, keyspec.P256))
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	for name, tc := range map[string]struct {
		data []byte
		n    int
		want string // of an error
	}{
		"chain":             {good, 3, ""},
		"any order":         {x5c.EncodePEM([][]byte{p.root, p.leaf}), 2, ""},
		"text between":      {slices.Concat([]byte("subject=CN = leaf\n"), one, []byte("\n# CA\n"), one), 2, ""},
		"CR LF":             {bytes.ReplaceAll(good, []byte("\n"), []byte("\r\n")), 3, ""},
		"ten":               {bytes.Repeat(one, 10), 10, ""},
		"eleven":            {bytes.Repeat(one, 11), 0, "11 PEM blocks; a chain may have 10"},
		"too much":          {append(bytes.Repeat([]byte(" "), 64<<10), one...), 0, "more than the 64 KiB"},
		"nothing":           {nil, 0, "no CERTIFICATE block"},
		"text":              {[]byte("swordfish"), 0, "no CERTIFICATE block"},
		"DER":               {p.leaf, 0, "DER, not PEM"},
		"private key":       {slices.Concat(one, block("PRIVATE KEY", secret)), 0, "private key"},
		"broken secret":     {append(slices.Clone(one), "-----BEGIN RSA PRIVATE KEY-----\nswordfish"...), 0, "private key"},
		"hidden secret":     {append([]byte("x-----BEGIN EC PRIVATE KEY-----\nswordfish\n"), one...), 0, "private key"},
		"encrypted":         {block("ENCRYPTED PRIVATE KEY", secret), 0, "private key"},
		"public key":        {slices.Concat(one, block("PUBLIC KEY", []byte("swordfish"))), 0, "block 2 is no CERTIFICATE"},
		"CSR":               {block("CERTIFICATE REQUEST", []byte("swordfish")), 0, "a certificate signing request, not a certificate"},
		"PKCS #7":           {block("PKCS7", []byte("swordfish")), 0, "openssl pkcs7 -print_certs"},
		"not a certificate": {slices.Concat(one, block("CERTIFICATE", []byte("swordfish"))), 0, "block 2 is not an X.509 certificate"},
		"cut off":           {good[:len(good)-40], 0, "only 2 of 3 PEM blocks"},
		"trailing bytes":    {block("CERTIFICATE", append(bytes.Clone(p.leaf), 0)), 0, "block 1 is not an X.509 certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := x5c.ParsePEM(tc.data)
			if tc.want == "" && (err != nil || len(got) != tc.n) {
				t.Errorf("%d certificates, %v; want %d", len(got), err, tc.n)
			}
			if tc.want != "" && (got != nil || err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "swordfish")) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
	rapid.Check(t, func(t *rapid.T) {
		some := rapid.SliceOfN(rapid.SampledFrom(chain), 1, 10).Draw(t, "chain")
		if got, err := x5c.ParsePEM(x5c.EncodePEM(some)); err != nil || !slices.EqualFunc(got, some, bytes.Equal) {
			t.Fatalf("not what was written: %v", err)
		}
	})
}

func FuzzParsePEM(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n"))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		chain, err := x5c.ParsePEM(data)
		if (err == nil) != (len(chain) > 0) || len(chain) > 10 {
			t.Errorf("%d certificates, %v", len(chain), err)
		}
	})
}
