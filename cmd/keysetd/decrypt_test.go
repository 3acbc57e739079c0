package main_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"keysetd.example/api/v1/keysetdpb"
	"keysetd.example/client"

	v1 "keysetd.example/api/v1"
)

var (
	contents  = []jose.ContentEncryption{jose.A128GCM, jose.A256GCM, jose.A128CBC_HS256, jose.A256CBC_HS512}
	agreement = []jose.KeyAlgorithm{jose.ECDH_ES, jose.ECDH_ES_A128KW, jose.ECDH_ES_A256KW}
)

// encrypt has go-jose encrypt for a key of this kid.
func encrypt(t *testing.T, key any, kid string, alg jose.KeyAlgorithm, enc jose.ContentEncryption, plaintext string) string {
	t.Helper()
	encrypter, err := jose.NewEncrypter(enc, jose.Recipient{Algorithm: alg, Key: key, KeyID: kid}, (&jose.EncrypterOptions{}).WithContentType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	message, err := encrypter.Encrypt([]byte(plaintext))
	if err != nil {
		t.Fatal(err)
	}
	compact, err := message.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

// forAlgorithm is the key of a page that others encrypt to by alg.
func forAlgorithm(t *testing.T, page jose.JSONWebKeySet, alg jose.KeyAlgorithm) jose.JSONWebKey {
	t.Helper()
	for _, k := range page.Keys {
		if _, isRSA := k.Key.(*rsa.PublicKey); isRSA == strings.HasPrefix(string(alg), "RSA") {
			return k
		}
	}
	t.Fatalf("no key for %s on the page: %v", alg, kids(page))
	panic("unreachable")
}

// inbox are two keysets that decrypt: one of keysetd's keys, one of an administrator's.
const inbox = `
  inbox:
    purpose: enc
    keys: [rsa-2048, p-256]
    rotation: {period: 1h, clock_skew: 200ms}
    publish: {max_age: 1s}
    max_message_age: 30m
  partner: {purpose: enc, mode: static, static: {rsa: {active: {label: his-rsa}}, p-256: {active: {label: his-ec}}}, max_message_age: 1h}
`

// TestDecrypt is the way of messages that others encrypt by the page, in both languages of the door: through
// a rotation, and not through a revocation.
func TestDecrypt(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.tool("pkcs11-tool", "--module", softhsm, "--token-label", "e2e", "--login", "--pin", pin, "--keypairgen", "--key-type", "rsa:2048", "--label", "his-rsa", "--id", "0a", "--usage-decrypt")
	s.tool("pkcs11-tool", "--module", softhsm, "--token-label", "e2e", "--login", "--pin", pin, "--keypairgen", "--key-type", "EC:prime256v1", "--label", "his-ec", "--id", "0b", "--usage-derive")
	s.token = "  accept_keys: [his-rsa, his-ec]\n" // OpenSC's tool leaves keys modifiable
	s.configure(inbox)
	s.mustKeysetd("init", "-c", s.path("keysetd.yaml"))
	s.edit(`client_ids: ["*"]`, `client_ids: ["*"], rate: 1000, burst: 1000`)
	d := s.serve()
	signer := keysetdpb.NewSignerClient(overGRPC(t, d.Socket))
	opens := func(keyset, message, kid, plaintext string) {
		t.Helper()
		status, reply := d.call("POST", "/v1/keysets/"+keyset+"/decrypt", `{"jwe":"`+message+`"}`)
		if status != http.StatusOK || reply["kid"] != kid || reply["plaintext"] != base64.RawURLEncoding.EncodeToString([]byte(plaintext)) {
			t.Errorf("%s: %d %v", message, status, reply)
		}
		out, err := signer.Decrypt(t.Context(), &keysetdpb.DecryptRequest{Keyset: keyset, Jwe: message})
		if err != nil || out.Kid != kid || string(out.Plaintext) != plaintext {
			t.Errorf("%s over gRPC: %v, %v", message, out, err)
		}
	}
	old := map[jose.KeyAlgorithm]string{} // messages
	page := d.jwks("inbox")
	for _, keyset := range []string{"inbox", "partner"} {
		// SoftHSM 2.6 has OAEP with SHA-1 alone, whatever it lists: what is not proven is not offered.
		if algs := d.state(keyset).Algorithms; !slices.Equal(algs, []string{"RSA-OAEP", "ECDH-ES", "ECDH-ES+A128KW", "ECDH-ES+A256KW"}) {
			t.Errorf("keyset %s offers %v", keyset, algs)
		}
		page := d.jwks(keyset)
		for _, alg := range append([]jose.KeyAlgorithm{jose.RSA_OAEP}, agreement...) {
			for _, enc := range contents {
				k := forAlgorithm(t, page, alg)
				plaintext := fmt.Sprintf("{%q: %q}", alg, enc)
				message := encrypt(t, k.Key, k.KeyID, alg, enc, plaintext)
				opens(keyset, message, k.KeyID, plaintext)
				opens(keyset, encrypt(t, k.Key, "", alg, enc, ""), k.KeyID, "") // whoever it is for
				if keyset == "inbox" {
					old[alg] = encrypt(t, k.Key, k.KeyID, alg, enc, "before")
				}
			}
		}
	}
	s.audited("decrypt", "granted", `"keyset":"inbox"`, `"alg":"ECDH-ES+A256KW"`, `"digest":`)
	t.Run("bad input", func(t *testing.T) { undecryptable(t, d, signer, page) })

	d.mayRotate("inbox", 2, 0)
	d.ctl("rotate", "inbox", "--reason", "r")
	next := d.jwks("inbox")
	for alg, message := range old {
		before, after := forAlgorithm(t, page, alg), forAlgorithm(t, next, alg)
		if before.KeyID == after.KeyID {
			t.Errorf("%s: the page still has %s after a rotation", alg, before.KeyID)
		}
		opens("inbox", message, before.KeyID, "before")
		opens("inbox", encrypt(t, before.Key, "", alg, jose.A128GCM, "for the one before"), before.KeyID, "for the one before")
		opens("inbox", encrypt(t, after.Key, after.KeyID, alg, jose.A256GCM, "after"), after.KeyID, "after")
	}
	revoked := forAlgorithm(t, page, jose.RSA_OAEP)
	d.ctl("revoke", "--reason", "it leaked", "--", revoked.KeyID)
	for _, message := range []string{old[jose.RSA_OAEP], encrypt(t, revoked.Key, "", jose.RSA_OAEP, jose.A128GCM, "x")} {
		if status, reply := d.call("POST", "/v1/keysets/inbox/decrypt", `{"jwe":"`+message+`"}`); status != http.StatusUnprocessableEntity || reply["reason"] != "decryption_failed" {
			t.Errorf("to a key that is revoked: %d %v", status, reply)
		}
	}
	opens("inbox", old[jose.ECDH_ES], forAlgorithm(t, page, jose.ECDH_ES).KeyID, "before")

	t.Run("the rate without a rate", func(t *testing.T) {
		s.edit(`, rate: 1000, burst: 1000`, "")
		d.ctl("reload")
		c, err := client.Dial(d.Socket)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		begun, done := time.Now(), 0
		for {
			_, err := c.Decrypt(t.Context(), "inbox", &v1.DecryptRequest{JWE: old[jose.ECDH_ES]})
			if err == nil && done < 1000 {
				done++
				continue
			}
			if e, told := errors.AsType[*v1.Error](err); !told || e.Reason != v1.RateLimited || e.RetryAfterMillis < 1 || e.RetryAfterMillis > 51 {
				t.Errorf("after %d: %v", done, err)
			}
			break
		}
		if most := 41 + int(20*time.Since(begun).Seconds()); done < 40 || done > most {
			t.Errorf("%d were decrypted in %v", done, time.Since(begun))
		}
	})
}

// broken are messages that no key opens, each by what is wrong with it. key is the page's RSA key, ec its
// other one.
func broken(t *testing.T, key, ec jose.JSONWebKey) (toSee, toTheKey map[string]string) {
	t.Helper()
	header := func(message string, members map[string]any) string {
		parts := strings.Split(message, ".")
		b, err := base64.RawURLEncoding.DecodeString(parts[0])
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]any{}
		if err := json.Unmarshal(b, &all); err != nil {
			t.Fatal(err)
		}
		for name, value := range members {
			if all[name] = value; value == nil {
				delete(all, name)
			}
		}
		if b, err = json.Marshal(all); err != nil {
			t.Fatal(err)
		}
		parts[0] = base64.RawURLEncoding.EncodeToString(b)
		return strings.Join(parts, ".")
	}
	part := func(message string, n int) string { // the first bit of a part
		parts := strings.Split(message, ".")
		b, err := base64.RawURLEncoding.DecodeString(parts[n])
		if err != nil {
			t.Fatal(err)
		}
		b[0] ^= 0x80
		parts[n] = base64.RawURLEncoding.EncodeToString(b)
		return strings.Join(parts, ".")
	}
	point := func(crv string, size int, x, y []byte) map[string]any {
		pad := func(b []byte) string {
			return base64.RawURLEncoding.EncodeToString(append(make([]byte, size-len(b)), b...))
		}
		return map[string]any{"epk": map[string]any{"kty": "EC", "crv": crv, "x": pad(x), "y": pad(y)}}
	}
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecStranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	toRSA := encrypt(t, key.Key, key.KeyID, jose.RSA_OAEP, jose.A256GCM, "secret")
	direct := encrypt(t, ec.Key, ec.KeyID, jose.ECDH_ES, jose.A256GCM, "secret")
	wrapped := encrypt(t, ec.Key, ec.KeyID, jose.ECDH_ES_A128KW, jose.A128CBC_HS256, "secret")
	toSee = map[string]string{
		"crit":           header(toRSA, map[string]any{"crit": []string{"exp"}, "exp": 1}),
		"unknown enc":    header(toRSA, map[string]any{"enc": "A192GCM"}),
		"RSA1_5":         header(toRSA, map[string]any{"alg": "RSA1_5"}),
		"zip":            header(toRSA, map[string]any{"zip": "DEF"}),
		"p2c":            header(toRSA, map[string]any{"p2c": 1 << 30}),
		"no epk":         header(direct, map[string]any{"epk": nil}),
		"five dots":      toRSA + ".",
		"no dots":        "x",
		"unknown kid":    header(toRSA, map[string]any{"kid": "nobody's"}),
		"alg not proven": encrypt(t, key.Key, key.KeyID, jose.RSA_OAEP_256, jose.A256GCM, "secret"),
		"alg of another": header(toRSA, map[string]any{"kid": ec.KeyID}),
	}
	toTheKey = map[string]string{
		"RSA-OAEP wrong key":                  encrypt(t, stranger.Public(), key.KeyID, jose.RSA_OAEP, jose.A256GCM, "secret"),
		"RSA-OAEP wrong tag":                  part(toRSA, 4),
		"RSA-OAEP wrong content":              part(toRSA, 3),
		"RSA-OAEP wrong header":               header(toRSA, map[string]any{"cty": "text"}),
		"ECDH-ES wrong key":                   encrypt(t, ecStranger.Public(), ec.KeyID, jose.ECDH_ES, jose.A256GCM, "secret"),
		"ECDH-ES wrong tag":                   part(direct, 4),
		"ECDH-ES wrong content":               part(direct, 3),
		"ECDH-ES epk off the curve":           header(direct, point("P-256", 32, []byte{1}, []byte{2})),
		"ECDH-ES epk of another curve":        header(direct, point("P-384", 48, other.X.Bytes(), other.Y.Bytes())),
		"ECDH-ES+A128KW wrong key":            encrypt(t, ecStranger.Public(), ec.KeyID, jose.ECDH_ES_A128KW, jose.A128CBC_HS256, "secret"),
		"ECDH-ES+A128KW wrong encrypted key":  part(wrapped, 1),
		"ECDH-ES+A128KW wrong tag":            part(wrapped, 4),
		"ECDH-ES+A128KW wrong content":        part(wrapped, 3),
		"ECDH-ES+A128KW epk off the curve":    header(wrapped, point("P-256", 32, []byte{1}, []byte{2})),
		"ECDH-ES+A128KW epk of another curve": header(wrapped, point("P-384", 48, other.X.Bytes(), other.Y.Bytes())),
	}
	return toSee, toTheKey
}

// undecryptable: one reason word for all, and one answer for what reaches a key.
func undecryptable(t *testing.T, d *daemon, signer keysetdpb.SignerClient, page jose.JSONWebKeySet) {
	toSee, toTheKey := broken(t, forAlgorithm(t, page, jose.RSA_OAEP), forAlgorithm(t, page, jose.ECDH_ES))
	answers, overGRPC := map[string]string{}, map[string]string{}
	for _, messages := range []map[string]string{toSee, toTheKey} {
		for name, message := range messages {
			status, reply := d.call("POST", "/v1/keysets/inbox/decrypt", `{"jwe":"`+message+`"}`)
			if status != http.StatusUnprocessableEntity || reply["reason"] != "decryption_failed" {
				t.Errorf("%s: %d %v", name, status, reply)
			}
			_, err := signer.Decrypt(t.Context(), &keysetdpb.DecryptRequest{Keyset: "inbox", Jwe: message})
			if reasonOf(err) != "decryption_failed" {
				t.Errorf("%s over gRPC: %v", name, err)
			}
			if _, reaches := toTheKey[name]; reaches {
				b, err2 := json.Marshal(reply)
				if err2 != nil {
					t.Fatal(err2)
				}
				answers[string(b)], overGRPC[err.Error()] = name, name
			}
		}
	}
	if len(answers) != 1 || len(overGRPC) != 1 {
		t.Errorf("what reaches a key is answered by\n%v\nand over gRPC\n%v", answers, overGRPC)
	}
	if status, reply := d.call("POST", "/v1/keysets/inbox/decrypt", `{"jwe":"`+strings.Repeat("A", 2<<20)+`"}`); status != http.StatusRequestEntityTooLarge || reply["reason"] != "too_large" {
		t.Errorf("2 MiB: %d %v", status, reply)
	}
	// A key alone: one that was not for this keyset is random, the same each time, and no error.
	parts := strings.Split(toTheKey["RSA-OAEP wrong key"], ".")
	header, err := base64.RawURLEncoding.DecodeString(parts[0])
	if err != nil {
		t.Fatal(err)
	}
	encryptedKey, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var first []byte
	for range 2 {
		out, err := signer.Decrypt(t.Context(), &keysetdpb.DecryptRequest{Keyset: "inbox", Header: header, EncryptedKey: encryptedKey})
		if err != nil || len(out.Key) != 32 || first != nil && !bytes.Equal(first, out.Key) {
			t.Fatalf("the key of a message for another: %v, %v", out, err)
		}
		first = out.Key
	}
}
