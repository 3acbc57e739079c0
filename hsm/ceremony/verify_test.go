package ceremony_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/hsm/ceremony"
	"keysetd.example/hsm/hsmtest"
)

// Whatever is changed in a ceremony's files is found.
func TestTampering(t *testing.T) {
	soft := hsmtest.SoftHSM(t)
	p := plan(t)
	made, err := ceremony.Create(within(t), place(soft), p)
	if err != nil {
		t.Fatal(err)
	}
	other := plan(t)
	other.Label = "other"
	if _, err := ceremony.Create(within(t), place(soft), other); err != nil {
		t.Fatal(err)
	}
	original, others := files(t, p.Dir), files(t, other.Dir)
	swap := func(old, new string) func(string) string {
		return func(s string) string { return strings.Replace(s, old, new, 1) }
	}
	theirs := func(name string) func(string) string { return func(string) string { return others[name] } }
	for name, change := range map[string]map[string]func(string) string{
		"a witness":            {"record.json": swap("Carol", "Mallory")},
		"a witness, twice":     {"record.json": swap("Carol", "Mallory"), "record.txt": swap("Carol", "Mallory")},
		"the text":             {"record.txt": swap("Carol", "Mallory")},
		"an attribute":         {"record.json": swap(`"extractable": false`, `"extractable": true`)},
		"a space":              {"record.json": swap(" ", "  ")},
		"an unknown field":     {"record.json": swap(`"format"`, `"x": 1, "format"`)},
		"the fingerprint":      {"record.json": swap(made.Key.SPKISHA256, strings.Repeat("0", 64))},
		"the format":           {"record.json": swap("record-1", "record-2")},
		"the signature":        {"record.jws": func(s string) string { return s[:len(s)-8] + "AAAAAAA\n" }},
		"no signature":         {"record.jws": nil},
		"another's signature":  {"record.jws": theirs("record.jws")},
		"another's record":     {"record.jws": theirs("record.jws"), "record.json": theirs("record.json"), "record.txt": theirs("record.txt")},
		"another certificate":  {"certificate.pem": theirs("certificate.pem")},
		"no certificate":       {"certificate.pem": nil},
		"a second certificate": {"certificate.pem": func(s string) string { return s + others["certificate.pem"] }},
		"a chain from nowhere": {"chain.pem": func(string) string { return original["certificate.pem"] }},
		"an addendum of ours":  {"import.json": func(string) string { return original["record.json"] }, "import.jws": func(string) string { return original["record.jws"] }},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range original {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := ceremony.Verify(dir); err != nil {
				t.Fatalf("as it was: %v", err)
			}
			for file, f := range change {
				path := filepath.Join(dir, file)
				if f == nil {
					os.Remove(path)
					continue
				}
				changed := f(original[file])
				if changed == original[file] {
					t.Fatalf("%s was not changed", file)
				}
				if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := ceremony.Verify(dir); err == nil {
				t.Error("nothing was found")
			} else {
				t.Log(err)
			}
		})
	}
}

// On the token: a key that is gone is found, and so is a token that is another one.
func TestVerifyOnToken(t *testing.T) {
	soft, elsewhere := hsmtest.SoftHSM(t), hsmtest.SoftHSM(t)
	p := plan(t)
	made, err := ceremony.Create(within(t), place(soft), p)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ceremony.VerifyOnToken(within(t), place(elsewhere), p.Dir); !errors.Is(err, hsm.ErrKeyNotFound) {
		t.Errorf("on another token: %v, want ErrKeyNotFound", err)
	}
	token, objects := keys(t, soft)
	if _, err := token.Destroy(within(t), hsm.Ref{ID: objects[0].ID, Label: objects[0].Label}); err != nil {
		t.Fatal(err)
	}
	if _, err := ceremony.VerifyOnToken(within(t), place(soft), p.Dir); !errors.Is(err, hsm.ErrKeyNotFound) {
		t.Errorf("without the key: %v, want ErrKeyNotFound", err)
	}
	// Another key in its place.
	if _, err := token.Generate(within(t), hsm.GenerateRequest{ID: objects[0].ID, Label: "issuing", Spec: made.Key.Spec, Usage: hsm.Sign}); err != nil {
		t.Fatal(err)
	}
	if _, err := ceremony.VerifyOnToken(within(t), place(soft), p.Dir); !errors.Is(err, hsm.ErrWrongKey) {
		t.Errorf("with another key: %v, want ErrWrongKey", err)
	}
	if _, err := ceremony.Verify(p.Dir); err != nil {
		t.Errorf("the files alone: %v", err)
	}
}

// A record that tells of other attributes or of another token than there are is found, whoever signed it.
func TestVerifyAgainstToken(t *testing.T) {
	soft := hsmtest.SoftHSM(t)
	p := plan(t)
	made, err := ceremony.Create(within(t), place(soft), p)
	if err != nil {
		t.Fatal(err)
	}
	key := signer(t, soft)
	for _, tc := range []struct {
		change func(*ceremony.Record)
		want   string
	}{
		{func(r *ceremony.Record) { r.Key.Attributes.Modifiable = new(true) }, "other attributes"},
		{func(r *ceremony.Record) { r.Key.Attributes = made.Key.Attributes; r.Token.Serial = "0" }, "serial number"},
		{func(r *ceremony.Record) { r.Token.Serial = made.Token.Serial }, ""},
	} {
		ceremony.Reseal(t, p.Dir, key, tc.change)
		if _, err := ceremony.Verify(p.Dir); err != nil {
			t.Errorf("the files alone: %v", err)
		}
		_, err := ceremony.VerifyOnToken(within(t), place(soft), p.Dir)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("got %v, want an error with %q", err, tc.want)
		}
	}
}

// Where a ceremony was cut off no other begins.
func TestIntentStands(t *testing.T) {
	soft := hsmtest.SoftHSM(t)
	p := plan(t)
	if err := os.Mkdir(p.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(p.Dir, "intent.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ceremony.Create(within(t), place(soft), p); err == nil || !strings.Contains(err.Error(), "was cut off here") {
		t.Errorf("got %v", err)
	}
	if _, objects := keys(t, soft); len(objects) != 0 {
		t.Errorf("the token holds %+v", objects)
	}
}

// A wrong PIN is tried once, by the worker or by crypto11, and no later ceremony tries it again; a right one
// leaves no marker.
func TestWrongPINOnce(t *testing.T) {
	for name, wrongFrom := range map[string]int{"the worker's login": 1, "crypto11's login": 2} {
		t.Run(name, func(t *testing.T) {
			soft := hsmtest.SoftHSM(t)
			read := 0
			there := place(soft)
			right := there.Token.PIN
			there.Token.PIN = func(ctx context.Context) ([]byte, error) {
				if read++; read >= wrongFrom {
					return []byte("wrong-pin-1234"), nil
				}
				return right(ctx)
			}
			for range 2 {
				_, err := ceremony.Create(within(t), there, plan(t))
				if !errors.Is(err, hsm.ErrPINBlocked) || strings.Contains(err.Error(), "wrong-pin") {
					t.Errorf("got %v, want ErrPINBlocked", err)
				}
			}
			if read != wrongFrom {
				t.Errorf("the PIN was read %d times, want %d", read, wrongFrom)
			}
			if _, err := os.Stat(soft.Marker); err != nil {
				t.Errorf("no marker stands: %v", err)
			}
			// A person corrects it.
			there.Token.PIN = right
			if _, err := ceremony.Create(within(t), there, plan(t)); !errors.Is(err, hsm.ErrPINBlocked) {
				t.Errorf("with the marker in place: %v, want ErrPINBlocked", err)
			}
			if err := there.Token.Marker.Allow(within(t), there.Token.Name); err != nil {
				t.Fatal(err)
			}
			if _, err := ceremony.Create(within(t), there, plan(t)); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(soft.Marker); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a marker is left: %v", err)
			}
		})
	}
}

func TestPlanCheck(t *testing.T) {
	for want, change := range map[string]func(*ceremony.Plan){
		"1 to 63 letters":     func(p *ceremony.Plan) { p.Name = "" },
		"name \"../x\" is":    func(p *ceremony.Plan) { p.Name = "../x" },
		"label is empty":      func(p *ceremony.Plan) { p.Label = "" },
		"not printable":       func(p *ceremony.Plan) { p.Label = "a\nb" },
		"keysetd's own keys":  func(p *ceremony.Plan) { p.Label = "keysetd/i/k/1/p-256" },
		"cannot be":           func(p *ceremony.Plan) { p.Spec = "ed25519" },
		"no CN":               func(p *ceremony.Plan) { p.Subject.CommonName = "" },
		"path length of -1":   func(p *ceremony.Plan) { p.PathLength = -1 },
		"0 days":              func(p *ceremony.Plan) { p.Days = 0 },
		"the corporate root":  func(p *ceremony.Plan) { p.CSR = true },
		"no directory":        func(p *ceremony.Plan) { p.Dir = "" },
		"a witness's name":    func(p *ceremony.Plan) { p.People.Witnesses = []string{"Bob\x1b[2K"} },
		"the label has 300 b": func(p *ceremony.Plan) { p.Label = strings.Repeat("ü", 150) },
	} {
		p := plan(t)
		change(&p)
		if err := p.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
	if err := plan(t).Check(); err != nil {
		t.Error(err)
	}
}

func TestNoReservedParameter(t *testing.T) {
	there := place(hsmtest.SoftHSM(t))
	there.Token.Open.Reserved = "configdir=/x"
	if _, err := ceremony.Create(within(t), there, plan(t)); err == nil || !strings.Contains(err.Error(), "reserved parameter") {
		t.Errorf("got %v", err)
	}
}

func TestParseSubject(t *testing.T) {
	for s, want := range map[string]string{
		"CN=a": "CN=a", " cn = Ex , o=O\\, Inc. ,C=CH": `CN=Ex,O=O\, Inc.,C=CH`,
		"CN=a,OU=x,OU=y,L=Zürich,ST=ZH,serialNumber=7": "SERIALNUMBER=7,CN=a,OU=x+OU=y,L=Zürich,ST=ZH",
	} {
		if n, err := ceremony.ParseSubject(s); err != nil || n.String() != want {
			t.Errorf("%q is read as %q, %v; want %q", s, n, err, want)
		}
	}
	for s, want := range map[string]string{
		"": "none of", "CN": "none of", "X=1": "none of", "CN=": "is empty", "CN=a,CN=b": "twice", "CN=a,": "none of",
		"CN=a,C=ch": "capital", "CN=" + strings.Repeat("x", 65): "65 characters", "CN=a\x00": "printable", "CN=a\\": "backslash",
	} {
		if n, err := ceremony.ParseSubject(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is read as %q, %v; want an error with %q", s, n, err, want)
		}
	}
}

// A certificate on the token with the label is in the way too: an object that no list of keys shows.
func TestCertificateInTheWay(t *testing.T) {
	soft := hsmtest.SoftHSM(t)
	key := software(t)
	template := &x509.Certificate{NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pin, err := os.ReadFile(soft.PINFile)
	if err != nil {
		t.Fatal(err)
	}
	ceremony.ImportCertificate(t, soft.Module, soft.Conf, soft.Label, string(bytes.TrimSpace(pin)), "issuing", der)
	p := plan(t)
	if _, err := ceremony.Create(within(t), place(soft), p); err == nil || !strings.Contains(err.Error(), "a certificate on the token has the label") {
		t.Errorf("got %v", err)
	}
	if left := files(t, p.Dir); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}
