package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "keysetd.example/api/v1"
)

func TestCSR(t *testing.T) {
	w, _ := serve(t)
	if out := mustCtl(t, "", "csr", "list"); out != "no key waits for a certificate from outside\n" {
		t.Errorf("%s", out)
	}
	w.Operator.Requests = []v1.CertificateRequest{
		{KID: "one", Generation: 2, State: "pending", CSR: "first\n", NeededBy: time.Now().Add(time.Hour + time.Minute), ValidUntil: time.Now().AddDate(1, 0, 0)},
		{KID: "two", Generation: 2, State: "pending", CSR: "second\n", ValidUntil: time.Now().AddDate(1, 0, 0)},
	}
	table := strings.Join(strings.Fields(mustCtl(t, "", "csr", "list", "default")), " ")
	for _, want := range []string{"KEYSET GENERATION STATE KID NEEDED BY VALID UNTIL AT LEAST default 2 pending one in 1h", "default 2 pending two - in 36"} {
		if !strings.Contains(table, want) {
			t.Errorf("%q is not in\n%s", want, table)
		}
	}
	if out := mustCtl(t, "", "csr", "list"); !strings.Contains(out, "default ") || !strings.Contains(out, "raw ") {
		t.Errorf("of all keysets:\n%s", out)
	}
	if out := mustCtl(t, "", "csr", "show", "default", "two"); out != "second\n" {
		t.Errorf("%s", out)
	}
	for line, want := range map[string]string{
		"csr show default":       "1: keysetctl: 2 keys of keyset default wait for a certificate; say which one",
		"csr show default three": "1: keysetctl: key three of keyset default does not wait for a certificate",
		"csr show nope":          "1: keysetctl: reading the certificate requests of keyset nope: keyset_unknown",
		"csr show":               "2: keysetctl: 0 arguments do not fit",
	} {
		out, err := ctl(t, "", strings.Fields(line)...)
		if err == nil || out != "" || !strings.HasPrefix(string(rune('0'+exitCode(err)))+": "+oneLine(err), want) {
			t.Errorf("%s: %q, %v", line, out, err)
		}
	}
}

func TestCertificateImport(t *testing.T) {
	w, _ := serve(t)
	file := filepath.Join(t.TempDir(), "chain.pem")
	if err := os.WriteFile(file, []byte("PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := mustCtl(t, "", "certificate", "import", "default", "--kid", "k", file); !strings.Contains(out, "keyset default: generation 1 is active") {
		t.Errorf("%s", out)
	}
	asked(t, w, `certificate default "PEM" {By:`+by()+` Why: KID:k}`)
	mustCtl(t, "from stdin", "certificate", "import", "default", "--kid", "k", "-")
	asked(t, w, `certificate default "from stdin" {By:`+by()+` Why: KID:k}`)
	large := strings.Repeat("x", maxChainFile+1)
	for line, want := range map[string]string{
		"certificate import default -":                  "2: keysetctl: --kid is missing",
		"certificate import default --kid k /none/such": "1: keysetctl: reading the certificates: open /none/such",
		"certificate import default --kid k -":          "1: keysetctl: - is larger than the 128 KiB",
	} {
		out, err := ctl(t, large, strings.Fields(line)...)
		if err == nil || out != "" || !strings.HasPrefix(string(rune('0'+exitCode(err)))+": "+oneLine(err), want) {
			t.Errorf("%s: %q, %v", line, out, err)
		}
	}
}
