package hsmtest_test

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/ThalesIgnite/crypto11"

	"keysetd.example/hsm"
	"keysetd.example/hsm/hsmtest"
	"keysetd.example/internal/keyspec"
)

// job is what crypto11 does in a process of its own: its Close finalises the module for the
// whole process.
type job struct {
	Config crypto11.Config
	Make   bool     // an RSA-2048 and a P-256 key
	Find   [][]byte // by CKA_ID
}

// testimony is about one key: its public half as crypto11 sees it, and a signature.
type testimony struct{ ID, Label, Public, Digest, Signature []byte }

// witness is crypto11's process: a job on standard input, testimonies on standard output.
func witness() int {
	var j job
	err := json.NewDecoder(os.Stdin).Decode(&j)
	if err == nil {
		err = j.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "crypto11:", err)
		return 1
	}
	return 0
}

func (j job) run() error {
	c, err := crypto11.Configure(&j.Config)
	if err != nil {
		return err
	}
	var all []testimony
	add := func(id, label []byte, s crypto11.Signer, err error) error {
		if err != nil || s == nil {
			return errors.Join(err, fmt.Errorf("no key with CKA_ID %x", id))
		}
		digest := sha256.Sum256([]byte(rand.Text()))
		sig, err := s.Sign(rand.Reader, digest[:], crypto.SHA256)
		if err != nil {
			return err
		}
		if !verifies(s.Public(), digest[:], sig) {
			return errors.New("its own signature does not verify")
		}
		pub, err := x509.MarshalPKIXPublicKey(s.Public())
		all = append(all, testimony{id, label, pub, digest[:], sig})
		return err
	}
	if j.Make {
		id, label := []byte("crypto11-rsa"), []byte("theirs/rsa")
		s, err := c.GenerateRSAKeyPairWithLabel(id, label, 2048)
		if err := add(id, label, s, err); err != nil {
			return err
		}
		id, label = []byte("crypto11-ec"), []byte("theirs/ec")
		s2, err := c.GenerateECDSAKeyPairWithLabel(id, label, elliptic.P256())
		if err := add(id, label, s2, err); err != nil {
			return err
		}
	}
	for _, id := range j.Find {
		s, err := c.FindKeyPair(id, nil)
		if err := add(id, nil, s, err); err != nil {
			return err
		}
	}
	return errors.Join(json.NewEncoder(os.Stdout).Encode(all), c.Close())
}

// ask has crypto11 do j on soft.
func ask(t *testing.T, soft *hsmtest.Soft, j job) []testimony {
	t.Helper()
	pin, err := os.ReadFile(soft.PINFile)
	if err != nil {
		t.Fatal(err)
	}
	j.Config = crypto11.Config{Path: soft.Module, TokenLabel: soft.Label, Pin: strings.TrimSpace(string(pin))}
	in, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(within(t, 30*time.Second), "/proc/self/exe", "crypto11")
	cmd.Env = append(os.Environ(), "SOFTHSM2_CONF="+soft.Conf, "GORACE=atexit_sleep_ms=0")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []testimony
	if err := json.Unmarshal(out, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// Keys that crypto11 made are listed, and sign by their CKA_ID or by their label where the
// configuration accepts them: they may be changed and do more than one thing.
func TestKeysOfCrypto11(t *testing.T) {
	soft := hsmtest.SoftHSM(t)
	theirs := ask(t, soft, job{Make: true})
	strict := start(t, soft.Config())
	cfg := soft.Config()
	cfg.Accept = []string{"theirs/rsa", "theirs/ec"}
	token := start(t, cfg)
	listed, err := token.Objects(within(t, 20*time.Second), "theirs/")
	if err != nil || len(listed) != len(theirs) || len(theirs) != 2 {
		t.Fatalf("listed %+v, %v, crypto11 made %d", listed, err, len(theirs))
	}
	for _, k := range theirs {
		for _, o := range listed {
			if string(o.ID) != string(k.ID) {
				continue
			}
			if o.Label != string(k.Label) || string(o.PublicKey) != string(k.Public) || !o.Private || o.Duplicates != 0 {
				t.Errorf("%s is listed as %+v", k.Label, o)
			}
			if err := sign(within(t, 20*time.Second), keyOf(t, strict, o, hsm.Ref{ID: k.ID})); !errors.Is(err, hsm.ErrTemplate) {
				t.Errorf("%s is not accepted: %v, want ErrTemplate", k.Label, err)
			}
			for _, ref := range []hsm.Ref{{ID: k.ID}, {Label: string(k.Label)}, {ID: k.ID, Label: string(k.Label)}} {
				if err := sign(within(t, 20*time.Second), keyOf(t, token, o, ref)); err != nil {
					t.Errorf("sign with %s: %v", k.Label, err)
				}
			}
		}
	}
}

// Keys that we made are found and used by crypto11, beside us.
func TestKeysForCrypto11(t *testing.T) {
	soft := hsmtest.SoftHSM(t)
	token := start(t, soft.Config())
	var keys []*hsm.Key
	var ids [][]byte
	for _, spec := range []keyspec.Spec{keyspec.RSA2048, keyspec.P256} {
		key, ref := generate(t, token, spec)
		keys, ids = append(keys, key), append(ids, ref.ID)
	}
	found := ask(t, soft, job{Find: ids})
	if len(found) != len(keys) {
		t.Fatalf("crypto11 found %d keys of %d", len(found), len(keys))
	}
	for i, k := range found {
		der, err := x509.MarshalPKIXPublicKey(keys[i].Public())
		if err != nil || string(der) != string(k.Public) || string(k.ID) != string(ids[i]) {
			t.Errorf("crypto11 takes key %x for another one, %v", ids[i], err)
		}
		if !verifies(keys[i].Public(), k.Digest, k.Signature) {
			t.Errorf("crypto11's signature with key %x does not verify", ids[i])
		}
		if err := sign(within(t, 20*time.Second), keys[i]); err != nil {
			t.Errorf("sign after crypto11 has: %v", err)
		}
	}
}
