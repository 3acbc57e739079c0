package main_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const rawKeyset = `
  default: {purpose: raw, keys: [p-256], certificate: {issuer: none}}
`

// ca runs `keysetd ca` with the site's configuration, where its files shall be.
func (s *site) ca(args ...string) (stdout, stderr string, err error) {
	return s.keysetd(append([]string{"ca", args[0], "-c", s.path("keysetd.yaml")}, args[1:]...)...)
}

func (s *site) mustCA(args ...string) string {
	s.t.Helper()
	out, stderr, err := s.ca(args...)
	if err != nil {
		s.t.Fatalf("keysetd ca %v: %v\n%s", args, err, stderr)
	}
	if stderr != "" || strings.Contains(out, pin) {
		s.t.Errorf("keysetd ca %v says %q, and on standard error %q", args, out, stderr)
	}
	return out
}

// TestCA: a person makes a CA with the command, beside a running daemon, and has its record checked; another's
// request goes to a corporate root, and what that issued comes back.
func TestCA(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.configure(rawKeyset)
	s.mustKeysetd("init", "-c", s.path("keysetd.yaml"))
	d := s.serve()
	out, subject := s.path("tokens-ca"), "CN=Example Tokens CA,O=Example,C=CH"
	said := s.mustCA("create", "tokens", "--label", "issuing", "--days", "30", "--subject", subject, "--out", out, "--witness", "Bob Test")
	text, err := os.ReadFile(filepath.Join(out, "record.txt"))
	if err != nil || !strings.HasPrefix(said, string(text)) || !strings.Contains(said, "witness                Bob Test") ||
		!strings.Contains(said, `tokens: {token: default, label: "issuing", certificate: "`+filepath.Join(out, "certificate.pem")+`"}`) {
		t.Errorf("the record, %v:\n%s\nprinted:\n%s", err, text, said)
	}
	for name, mode := range map[string]os.FileMode{"certificate.pem": 0o644, "record.json": 0o600, "record.txt": 0o600, "record.jws": 0o600} {
		if info, err := os.Stat(filepath.Join(out, name)); err != nil || info.Mode().Perm()&^mode != 0 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	s.mustCA("verify", out)
	if said := s.mustCA("verify", out, "--token", "default"); !strings.Contains(said, "The key is on token default") {
		t.Errorf("verify says %s", said)
	}
	for want, args := range map[string][]string{
		"nothing that exists is made over": {"create", "again", "--label", "issuing", "--days", "30", "--subject", subject, "--out", s.path("again")},
		"nothing is overwritten":           {"create", "other", "--label", "other", "--days", "30", "--subject", subject, "--out", out},
		"keysetd's own keys":               {"create", "own", "--label", "keysetd/i/default/1/p-256", "--days", "30", "--subject", subject, "--out", s.path("own")},
		"asked nobody":                     {"import", "--record", filepath.Join(out, "record.json"), filepath.Join(out, "certificate.pem")},
	} {
		if _, stderr, err := s.ca(args...); err == nil || !strings.Contains(stderr, want) {
			t.Errorf("keysetd ca %v: %v, %s", args, err, stderr)
		}
	}
	if status, reply := d.call("POST", "/v1/keysets/default/sign", `{"payload":"eA"}`); status != 200 {
		t.Errorf("the daemon beside it: %d %v", status, reply)
	}

	sub := s.path("sub-ca")
	s.mustCA("create", "sub", "--label", "sub", "--key", "rsa-3072", "--csr", "--subject", subject, "--out", sub)
	s.write("issued.pem", corporateRoot(t, filepath.Join(sub, "request.pem")))
	if said := s.mustCA("import", "--record", filepath.Join(sub, "record.json"), s.path("issued.pem")); !strings.Contains(said, "chain.pem") {
		t.Errorf("import says %s", said)
	}
	if said := s.mustCA("verify", sub, "--token", "default"); !strings.Contains(said, "imported") {
		t.Errorf("verify says %s", said)
	}
	record := filepath.Join(sub, "record.json")
	b, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(record, []byte(strings.Replace(string(b), `"user": "`, `"user": "not-`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, stderr, err := s.ca("verify", sub); err == nil || !strings.Contains(stderr, "not the one that was signed") {
		t.Errorf("a record that was changed: %v, %s", err, stderr)
	}
}

// corporateRoot plays the root CA: it issues for a request, and returns the chain as PEM.
func corporateRoot(t *testing.T, request string) string {
	t.Helper()
	text, err := os.ReadFile(request)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Corporate Root"}, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	ca := *root
	ca.SerialNumber, ca.Subject = big.NewInt(2), csr.Subject
	var chain strings.Builder
	for _, c := range []struct {
		template *x509.Certificate
		pub      any
	}{{&ca, csr.PublicKey}, {root, key.Public()}} {
		der, err := x509.CreateCertificate(rand.Reader, c.template, root, c.pub, key)
		if err != nil {
			t.Fatal(err)
		}
		pem.Encode(&chain, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	return chain.String()
}

// TestCAAndPIN: a PIN that was refused to `keysetd ca` is not tried by another command, and the other way round.
func TestCAAndPIN(t *testing.T) {
	t.Parallel()
	create := func(s *site) (string, string, error) {
		return s.ca("create", "tokens", "--label", "issuing", "--days", "30", "--subject", "CN=CA", "--out", s.path("out"))
	}
	check := func(s *site) (string, string, error) { return s.keysetd("check", "-c", s.path("keysetd.yaml")) }
	for name, order := range map[string][2]func(*site) (string, string, error){"ca first": {create, check}, "check first": {check, create}} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.configure(rawKeyset)
			s.write("pin", "wrong-"+pin+"\n")
			for i, command := range order {
				_, stderr, err := command(s)
				if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || !strings.Contains(stderr, "the token refused the PIN") || strings.Contains(stderr, pin) {
					t.Errorf("with the wrong PIN: %v, %s", err, stderr)
				}
				if i == 0 { // the second is refused although it would be right: it is not tried
					s.write("pin", pin+"\n")
				}
			}
			s.mustKeysetd("check", "-c", s.path("keysetd.yaml"), "--retry-pin")
			if _, stderr, err := create(s); err != nil {
				t.Errorf("with the right one again: %v, %s", err, stderr)
			}
		})
	}
}

// TestCAKilled: cut off anywhere, a ceremony leaves either a whole record or a note of the key that it was about to make.
func TestCAKilled(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.configure(rawKeyset)
	out := s.path("out")
	args := []string{"create", "-c", s.path("keysetd.yaml"), "tokens", "--label", "issuing", "--key", "rsa-4096", "--days", "30", "--subject", "CN=CA", "--out", out}
	cmd := exec.Command(keysetd, append([]string{"ca"}, args...)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "the key is about to be made", func() bool {
		_, err := os.Stat(filepath.Join(out, "intent.json"))
		_, done := os.Stat(filepath.Join(out, "record.json"))
		return err == nil || done == nil
	})
	cmd.Process.Kill()
	cmd.Wait()
	note, err := os.ReadFile(filepath.Join(out, "intent.json"))
	if err != nil {
		s.mustCA("verify", out)
		return
	}
	if !strings.Contains(string(note), `"label":"issuing"`) {
		t.Errorf("the note says %s", note)
	}
	if _, stderr, err := s.keysetd(append([]string{"ca"}, args...)...); err == nil || !strings.Contains(stderr, "was cut off here") && !strings.Contains(stderr, "nothing that exists is made over") {
		t.Errorf("once more: %v, %s", err, stderr)
	}
}
