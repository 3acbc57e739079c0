package main_test

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// TestEncryption: of a keyset that others encrypt to, the page shows what is active and is never
// fresh beyond that; older keys stay on the token for as long as messages may come for them.
func TestEncryption(t *testing.T) {
	t.Parallel()
	const retain = 8 * time.Second
	s, d := begin(t, `
  inbox:
    purpose: enc
    keys: [rsa-2048, p-256]
    rotation: {period: 4s, retain: 8s, clock_skew: 200ms}
    publish: {max_age: 2s}
    max_message_age: 1s
`)
	for path, body := range map[string]string{
		"jwt":  `{"claims":{"exp":9999999999}}`,
		"sign": `{"alg":"ES256","payload":"eA"}`,
	} {
		if status, reply := d.call("POST", "/v1/keysets/inbox/"+path, body); status == http.StatusOK || reply["reason"] != "purpose_mismatch" {
			t.Errorf("%s: %d %v", path, status, reply)
		}
	}

	// Each answer that is fresh for a while, and until when, for as long as it takes to see two activations.
	type answer struct {
		kids  []string
		until time.Time
	}
	var answers []answer
	var pages [][]string
	var message string // to the first RSA key
	eventually(t, time.Minute, "two activations", func() bool {
		asked := time.Now()
		resp, err := http.Get("http://" + d.Public + "/keysets/inbox/jwks.json")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var set jose.JSONWebKeySet
		if err := json.NewDecoder(resp.Body).Decode(&set); err != nil {
			t.Fatal(err)
		}
		if age := maxAge(resp); age > 0 { // without one it is asked for anew each time
			answers = append(answers, answer{kids(set), asked.Add(age)})
		}
		if len(pages) == 0 || !slices.Equal(pages[len(pages)-1], kids(set)) {
			pages = append(pages, kids(set))
			encrypted := encryptTo(t, set)
			if message == "" {
				message = encrypted
			}
		}
		return len(pages) == 3
	})
	// What the page showed when: as the history has it.
	active, begun, retired, destroyed := map[string]int{}, map[int]time.Time{}, map[int]time.Time{}, map[int]time.Time{}
	look := func() {
		for _, e := range d.history("inbox") {
			switch e.What {
			case "activated":
				begun[e.Generation] = e.At
				for _, kid := range e.KIDs {
					active[kid] = e.Generation
				}
			case "retired":
				retired[e.Generation] = e.At
			case "destroyed":
				destroyed[e.Generation] = e.At
			}
		}
	}
	look()
	long := 0
	for _, a := range answers {
		generation := active[a.kids[0]]
		if generation == 0 || len(a.kids) != 2 || active[a.kids[1]] != generation {
			t.Fatalf("the page had %v, which are not the keys of one generation that was active: %v", a.kids, active)
		}
		if next, over := begun[generation+1]; over && a.until.After(next) {
			t.Errorf("an answer with generation %d is fresh until %v, and the next one came at %v", generation, a.until, next)
		} else if over && a.until.After(next.Add(-2*time.Second)) {
			long++
		}
	}
	if long == 0 {
		t.Errorf("no answer was fresh until shortly before the next activation; this shows nothing")
	}

	// The first key decrypts until it is gone, and that is after its retain.
	look()
	if err := s.opens(d, message, "hello"); err != nil {
		t.Errorf("what was encrypted to the first key, %v after it was retired: %v", time.Since(retired[1]), err)
	}
	eventually(t, 20*time.Second, "the first generation is destroyed", func() bool { look(); return !destroyed[1].IsZero() })
	if kept := destroyed[1].Sub(retired[1]); kept < retain || kept > retain+10*time.Second {
		t.Errorf("the first generation was destroyed %v after it was retired; retain is %v", kept, retain)
	}
	eventually(t, 20*time.Second, "the token holds what lives, and no more", func() bool {
		var want []string
		for _, g := range d.state("inbox").Generations {
			for _, k := range g.Keys {
				want = append(want, k.ID)
			}
		}
		slices.Sort(want)
		return slices.Equal(want, s.privateKeys())
	})
}

// encryptTo has go-jose encrypt to every key of a page, as its entry says, and returns the
// message to the RSA key.
func encryptTo(t *testing.T, set jose.JSONWebKeySet) (message string) {
	t.Helper()
	var algs []string
	for _, k := range set.Keys {
		if k.Use != "enc" || !k.IsPublic() {
			t.Errorf("%s: use %q", k.KeyID, k.Use)
		}
		algs = append(algs, k.Algorithm)
		encrypter, err := jose.NewEncrypter(jose.A256GCM, jose.Recipient{Algorithm: jose.KeyAlgorithm(k.Algorithm), Key: k.Key, KeyID: k.KeyID}, nil)
		if err != nil {
			t.Fatal(err)
		}
		encrypted, err := encrypter.Encrypt([]byte("hello"))
		if err != nil {
			t.Fatal(err)
		}
		if k.Algorithm == string(jose.RSA_OAEP) {
			if message, err = encrypted.CompactSerialize(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if want := []string{"RSA-OAEP", "ECDH-ES"}; !slices.Equal(algs, want) {
		t.Errorf("the page has keys for %v, want %v", algs, want)
	}
	return message
}

// opens decrypts a compact JWE (RFC 7516 §5.2) with its RSA key on the token, past the daemon.
func (s *site) opens(d *daemon, message, want string) error {
	s.t.Helper()
	parts := strings.Split(message, ".")
	raw := make([][]byte, len(parts))
	for i, part := range parts {
		b, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil {
			s.t.Fatal(err)
		}
		raw[i] = b
	}
	var header struct{ KID string }
	if err := json.Unmarshal(raw[0], &header); err != nil {
		s.t.Fatal(err)
	}
	id := ""
	for _, g := range d.state("inbox").Generations {
		for _, k := range g.Keys {
			if k.KID == header.KID {
				id = k.ID
			}
		}
	}
	s.write("cek.enc", string(raw[1]))
	s.tool("pkcs11-tool", "--module", softhsm, "--token-label", "e2e", "--login", "--pin", pin, "--decrypt", "--mechanism", "RSA-PKCS-OAEP",
		"--hash-algorithm", "SHA-1", "--mgf", "MGF1-SHA1", "--id", id, "--input-file", s.path("cek.enc"), "--output-file", s.path("cek"))
	cek, err := os.ReadFile(s.path("cek"))
	if err != nil {
		s.t.Fatal(err)
	}
	block, err := aes.NewCipher(cek)
	if err != nil {
		return err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return err
	}
	got, err := aead.Open(nil, raw[2], append(raw[3], raw[4]...), []byte(parts[0]))
	if err == nil && string(got) != want {
		s.t.Errorf("decrypted %q", got)
	}
	return err
}
