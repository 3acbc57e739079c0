package config

import (
	"bytes"
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestBadChain(t *testing.T) {
	text := strings.Replace(goodStatic, "    certificate: {}\n", "", 1)
	ders := issue(t, rsaKey(t), time.Now())
	key, err := x509.MarshalPKCS8PrivateKey(rsaKey(t))
	if err != nil {
		t.Fatal(err)
	}
	good := toPEM("CERTIFICATE", ders...)
	broken := bytes.Replace(good, []byte("-----END CERTIFICATE-----"), []byte("-----END hunter2-----"), 1)
	for name, tc := range map[string]struct {
		file []byte
		want string
	}{
		"empty":           {nil, "has no CERTIFICATE block; write the chain as PEM, leaf first"},
		"DER":             {ders[0], "has no CERTIFICATE block; write the chain as PEM, leaf first"},
		"a private key":   {slices.Concat(good, toPEM("PRIVATE KEY", key)), "holds a private key (PRIVATE KEY); take it out, and if it is the key on the token, that key is not safe any more: replace it"},
		"an old form":     {slices.Concat(toPEM("RSA PRIVATE KEY", key), good), "holds a private key (RSA PRIVATE KEY); take it out, and if it is the key on the token, that key is not safe any more: replace it"},
		"a new form":      {toPEM("hunter2 PRIVATE KEY", key), "holds a private key (PRIVATE KEY); take it out, and if it is the key on the token, that key is not safe any more: replace it"},
		"a torn key":      {toPEM("EC PRIVATE KEY", key)[:100], "holds a private key (EC PRIVATE KEY); take it out, and if it is the key on the token, that key is not safe any more: replace it"},
		"something else":  {slices.Concat(good, toPEM("hunter2", key)), "block 3 is no CERTIFICATE; leave certificates only, leaf first"},
		"broken":          {broken, "only 1 of its 2 PEM blocks can be read; write it again"},
		"no certificate":  {toPEM("CERTIFICATE", ders[0], []byte("hunter2")), "block 2 is not an X.509 certificate that can be read"},
		"the wrong way":   {toPEM("CERTIFICATE", ders[1], ders[0]), "its first certificate is not for a key of type rsa"},
		"another type":    {chainPEM(t, ecKey(t)), "its first certificate is not for a key of type rsa"},
		"somebody else's": {toPEM("CERTIFICATE", ders[0], issue(t, rsaKey(t), time.Now())[1]), "its certificates are no chain; the first is the key's, each is followed by the one that signed it (not with SHA-1), at some time all are valid, and nothing else is in it"},
		"one too many":    {toPEM("CERTIFICATE", ders[0], ders[1], ders[1]), "its certificates are no chain; the first is the key's, each is followed by the one that signed it (not with SHA-1), at some time all are valid, and nothing else is in it"},
	} {
		_, err := parseStatic(t, text, tc.file)
		if want := "/etc/keysetd/k.yaml:9:56: keysets.a.static.rsa.active.chain: /etc/keysetd/c.pem: " + tc.want; err == nil || err.Error() != want {
			t.Errorf("%s:\n got %v\nwant %s", name, err, want)
		}
	}
	for name, file := range map[string][]byte{
		"the leaf alone": toPEM("CERTIFICATE", ders[0]),
		"ended":          chainPEM(t, rsaKey(t)),
		"to come":        toPEM("CERTIFICATE", issue(t, rsaKey(t), time.Now().Add(24*time.Hour))...),
		"with CRLF":      bytes.ReplaceAll(good, []byte("\n"), []byte("\r\n")),
	} {
		if _, err := parseStatic(t, text, file); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Files are what the system says they are, and no path is repeated that may be something else.
func TestChainFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("c.pem", chainPEM(t, rsaKey(t)))
	write("large.pem", bytes.Repeat([]byte("\n"), maxChain+1))
	if err := os.Mkdir(filepath.Join(dir, "dir.pem"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo.pem"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "k.yaml")
	for _, tc := range []struct{ chain, want string }{
		{"c.pem", ""},
		{"./sub/../c.pem", ""},
		{filepath.Join(dir, "c.pem"), ""},
		{"none.pem", dir + "/none.pem: no such file or directory"},
		{"dir.pem", dir + "/dir.pem: is no regular file"},
		{"fifo.pem", dir + "/fifo.pem: is no regular file"},
		{"large.pem", dir + "/large.pem: is larger than the 1 MiB that a chain may have"},
		{"hunter2", "the file that it names: no such file or directory"},
		{strings.Repeat("h", 300), "the file that it names: file name too long"},
	} {
		text := strings.Replace(strings.Replace(goodStatic, "    certificate: {}\n", "", 1), "c.pem", tc.chain, 1)
		write("k.yaml", []byte(text))
		_, err := Load(config, testOptions)
		want := config + ":9:56: keysets.a.static.rsa.active.chain: " + tc.want
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%s: %v", tc.chain, err)
		case tc.want != "" && (err == nil || err.Error() != want):
			t.Errorf("%s:\n got %v\nwant %s", tc.chain, err, want)
		}
	}
}
