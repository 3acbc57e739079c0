package signing_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/prometheus/client_golang/prometheus"

	v1 "keysetd.example/api/v1"
	"keysetd.example/hsm"
	"keysetd.example/internal/audit"
	"keysetd.example/internal/jwa"
	"keysetd.example/internal/keyspec"
	"keysetd.example/signing"
	"keysetd.example/signing/policy"
	"keysetd.example/signing/signingtest"
)

const content = "what was encrypted"

var encryptions = []jose.ContentEncryption{jose.A128GCM, jose.A256GCM, jose.A128CBC_HS256, jose.A256CBC_HS512}

// sealed encrypts content to a public key; kid "" names none.
func sealed(t testing.TB, public crypto.PublicKey, kid string, alg jose.KeyAlgorithm, enc jose.ContentEncryption) string {
	t.Helper()
	e, err := jose.NewEncrypter(enc, jose.Recipient{Algorithm: alg, Key: public, KeyID: kid}, nil)
	if err != nil {
		t.Fatal(err)
	}
	message, err := e.Encrypt([]byte(content))
	if err != nil {
		t.Fatal(err)
	}
	compact, err := message.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

// keyForm is the request for the content encryption key alone.
func keyForm(t testing.TB, compact string) *v1.DecryptRequest {
	t.Helper()
	parts := strings.Split(compact, ".")
	header, err := base64.RawURLEncoding.DecodeString(parts[0])
	if err != nil {
		t.Fatal(err)
	}
	return &v1.DecryptRequest{Header: jsontext.Value(header), EncryptedKey: parts[1]}
}

// flipped turns a bit in one part of a message.
func flipped(t testing.TB, compact string, part int) string {
	t.Helper()
	parts := strings.Split(compact, ".")
	b, err := base64.RawURLEncoding.DecodeString(parts[part])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] ^= 1
	parts[part] = base64.RawURLEncoding.EncodeToString(b)
	return strings.Join(parts, ".")
}

// granted is a caller's right to decrypt, and nothing else.
func granted(change func(*policy.Rule)) policy.Rule {
	r := policy.Rule{Name: "reader", UID: new(uint32(uid)), Keysets: []string{"enc"}, Operations: []policy.Operation{policy.Decrypt}}
	if change != nil {
		change(&r)
	}
	return r
}

// quick is a right whose rate no test meets.
func quick(r *policy.Rule) { r.Rate, r.Burst = 1e6, 1e6 }

// Every algorithm, with every content encryption, with kid and without, whole and for the key alone.
func TestDecryptByEveryAlgorithm(t *testing.T) {
	w := signingtest.New(t, granted(quick))
	for _, spec := range signingtest.EncSpecs {
		key, kid := w.EncKeys[spec], "enc-"+string(spec)
		for _, alg := range jwa.DecryptionBy(spec) {
			for _, enc := range encryptions {
				for _, named := range []string{kid, ""} {
					name := fmt.Sprintf("%s %s %q", alg, enc, named)
					compact := sealed(t, key.Public(), named, alg, enc)
					from := caller
					from.Exe = "/usr/bin/reader"
					reply, err := w.Service.Decrypt(t.Context(), from, "enc", &v1.DecryptRequest{JWE: compact})
					if err != nil {
						t.Errorf("%s: %v", name, err)
						continue
					}
					if reply.Plaintext == nil || *reply.Plaintext != base64.RawURLEncoding.EncodeToString([]byte(content)) || reply.KID != kid || reply.Key != "" ||
						!bytes.Equal(reply.Header, keyForm(t, compact).Header) {
						t.Errorf("%s: %+v", name, reply)
					}
					sum := sha256.Sum256([]byte(compact))
					want := audit.Record{
						Caller: audit.Caller{UID: uid, GID: 1001, PID: 4242, Exe: "/usr/bin/reader"}, Operation: "decrypt", Keyset: "enc",
						KID: kid, Alg: string(alg), Digest: sum[:], Outcome: audit.Granted,
					}
					got := w.Audit.Last()
					if got.Time = (time.Time{}); !reflect.DeepEqual(got, want) {
						t.Errorf("%s: audited as %+v", name, got)
					}
					decryptKey(t, w, name, compact, kid)
				}
			}
		}
	}
	bad := flipped(t, sealed(t, w.EncKeys[keyspec.P256].Public(), "", jose.ECDH_ES, jose.A128GCM), 4)
	for _, message := range []string{bad, "no message"} {
		_, err := w.Service.Decrypt(t.Context(), caller, "enc", &v1.DecryptRequest{JWE: message})
		expect(t, "counted as refused", err, v1.DecryptionFailed, map[bool]string{false: "", true: "/jwe"}[message != bad])
	}
	want := map[string]uint64{"none refused": 1, "ECDH-ES refused": 1}
	for _, alg := range jwa.Decryption() {
		want[string(alg)+" ok"], want[string(alg)+" enc"] = 16, 16 // 4 encryptions, with kid and without, whole and the key
	}
	if got := counted(t, w.Registry); !maps.Equal(got, want) {
		t.Errorf("metrics say %v, want %v", got, want)
	}
}

// counted is what the metrics have of decryptions: "ALG OUTCOME", and "ALG KEYSET" of those handed out.
func counted(t *testing.T, from prometheus.Gatherer) map[string]uint64 {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	n := map[string]uint64{}
	for _, f := range families {
		for _, m := range f.Metric {
			name := m.Label[0].GetValue() + " " // labels are sorted: alg is the first
			switch f.GetName() {
			case "keysetd_decrypt_duration_seconds":
				n[name+m.Label[1].GetValue()] = m.Histogram.GetSampleCount()
			case "keysetd_decryptions_total":
				n[name+m.Label[1].GetValue()] = uint64(m.Counter.GetValue())
			}
		}
	}
	return n
}

// decryptKey asks for a message's key alone, and opens the content with it.
func decryptKey(t *testing.T, w *signingtest.World, name, compact, kid string) {
	t.Helper()
	req := keyForm(t, compact)
	reply, err := w.Service.Decrypt(t.Context(), caller, "enc", req)
	if err != nil {
		t.Errorf("%s: the key: %v", name, err)
		return
	}
	key, err := base64.RawURLEncoding.DecodeString(reply.Key)
	if err != nil || reply.KID != kid || reply.Plaintext != nil || !bytes.Equal(reply.Header, req.Header) {
		t.Errorf("%s: the key: %+v, %v", name, reply, err)
	}
	direct := strings.Split(compact, ".")
	message, err := jose.ParseEncryptedCompact(compact, []jose.KeyAlgorithm{jose.KeyAlgorithm(w.Audit.Last().Alg)}, encryptions)
	if err != nil {
		t.Fatal(err)
	}
	if opened, err := message.Decrypt(unwrapped{key}); err != nil || string(opened) != content {
		t.Errorf("%s: the content opens by the key to %q, %v", name, opened, err)
	}
	sum := sha256.Sum256([]byte(direct[0] + "." + direct[1]))
	if r := w.Audit.Last(); r.Detail != "key" || r.Outcome != audit.Granted || r.KID != kid || !bytes.Equal(r.Digest, sum[:]) {
		t.Errorf("%s: audited as %+v", name, r)
	}
}

// unwrapped is a jose.OpaqueKeyDecrypter that has the key already.
type unwrapped struct{ key []byte }

func (u unwrapped) DecryptKey([]byte, jose.Header) ([]byte, error) { return u.key, nil }

// Whatever is wrong with a message that reaches a key, the answer is one, and so is the work.
func TestDecryptionFailsInOneWay(t *testing.T) {
	w := signingtest.New(t, granted(quick))
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecOther := signingtest.NewEncKey(t, keyspec.P256)
	onP384 := signingtest.NewEncKey(t, keyspec.P384)
	var details []string
	for _, spec := range signingtest.EncSpecs {
		key, kid := w.EncKeys[spec], "enc-"+string(spec)
		stranger, alg := crypto.PublicKey(other.Public()), jose.RSA_OAEP
		if !spec.RSA() {
			stranger, alg = ecOther.Public(), jose.ECDH_ES_A256KW
		}
		for _, named := range []string{kid, ""} {
			good := sealed(t, key.Public(), named, alg, jose.A256GCM)
			messages := map[string]string{
				"for another key": sealed(t, stranger, named, alg, jose.A256GCM),
				"key":             flipped(t, good, 1), "iv": flipped(t, good, 2), "ciphertext": flipped(t, good, 3), "tag": flipped(t, good, 4),
			}
			if !spec.RSA() {
				messages["another curve"] = sealed(t, onP384.Public(), named, alg, jose.A256GCM)
			}
			for name, message := range messages {
				before := key.Calls.Load()
				_, err := w.Service.Decrypt(t.Context(), caller, "enc", &v1.DecryptRequest{JWE: message})
				expect(t, name, err, v1.DecryptionFailed, "")
				if n := key.Calls.Load() - before; n != 1 {
					t.Errorf("%s, %s: the key was used %d times", spec, name, n)
				}
				details = append(details, fmt.Sprint(err))
				if r := w.Audit.Last(); r.Outcome != audit.Refused || r.Reason != "decryption_failed" || r.KID != kid || r.Alg != string(alg) || r.Detail != details[0][len("decryption_failed: "):] {
					t.Errorf("%s: audited as %+v", name, r)
				}
				if strings.Contains(fmt.Sprintf("%+v", w.Audit.Records()), content) {
					t.Error("the audit log has the plaintext")
				}
			}
			keyStays := map[string]bool{"iv": true, "ciphertext": true, "tag": true}
			// Nobody can tell a key that is not one: not from the reply, nor from the log.
			for name, message := range messages {
				good, err := w.Service.Decrypt(t.Context(), caller, "enc", keyForm(t, good))
				wellDone := w.Audit.Last()
				if err != nil {
					t.Fatal(err)
				}
				bad, err := w.Service.Decrypt(t.Context(), caller, "enc", keyForm(t, message))
				if err != nil {
					t.Errorf("%s: the key: %v", name, err)
					continue
				}
				again, err := w.Service.Decrypt(t.Context(), caller, "enc", keyForm(t, message))
				if err != nil || bad.KID != good.KID || len(bad.Key) != len(good.Key) || bad.Key != again.Key || bad.Key == good.Key != keyStays[name] {
					t.Errorf("%s: %+v and %+v of %+v, %v", name, bad, again, good, err)
				}
				r := w.Audit.Last()
				r.Time, r.Digest, wellDone.Time, wellDone.Digest = time.Time{}, nil, time.Time{}, nil
				if !reflect.DeepEqual(r, wellDone) {
					t.Errorf("%s: audited as %+v, and where the key was right as %+v", name, r, wellDone)
				}
			}
		}
	}
	for _, d := range details {
		if d != details[0] {
			t.Errorf("%q and %q differ", d, details[0])
		}
	}
}

// What anybody can see is told, and no key is asked.
func TestDecryptRefused(t *testing.T) {
	w := signingtest.New(t, granted(func(r *policy.Rule) { quick(r); r.Keysets = []string{policy.All} }))
	rsaKey, ecKey := w.EncKeys[keyspec.RSA2048], w.EncKeys[keyspec.P256]
	rsaKey.Unsupport(crypto.SHA256)
	keysets := append(w.Keysets(), signing.Keyset{Name: "later", Purpose: signing.PurposeEnc})
	keysets[3].Revoked = []string{"gone"}
	w.Service.Swap(w.StateOf(t, keysets, granted(func(r *policy.Rule) { quick(r); r.Keysets = []string{policy.All} })))
	good := sealed(t, rsaKey.Public(), "", jose.RSA_OAEP, jose.A128GCM)
	withHeader := func(header string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(header)) + good[strings.Index(good, "."):]
	}
	header := jsontext.Value(`{"alg":"RSA-OAEP","enc":"A128GCM"}`)
	for name, test := range map[string]struct {
		keyset string
		req    v1.DecryptRequest
		reason v1.Reason
		field  string
		says   string
	}{
		"signing keyset":       {"default", v1.DecryptRequest{JWE: good}, v1.PurposeMismatch, "", "purpose jwt"},
		"unknown keyset":       {"nope", v1.DecryptRequest{JWE: good}, v1.KeysetUnknown, "", "nope"},
		"no key yet":           {"later", v1.DecryptRequest{JWE: good}, v1.NotReady, "", "`keysetctl status later`"},
		"nothing":              {"enc", v1.DecryptRequest{}, v1.BadRequest, "/jwe", "exactly one"},
		"both":                 {"enc", v1.DecryptRequest{JWE: good, Header: header}, v1.BadRequest, "/jwe", "exactly one"},
		"two encrypted keys":   {"enc", v1.DecryptRequest{JWE: good, EncryptedKey: "AA"}, v1.BadRequest, "/encrypted_key", "goes with header"},
		"key garbled":          {"enc", v1.DecryptRequest{Header: header, EncryptedKey: "*"}, v1.BadRequest, "/encrypted_key", "base64url"},
		"key absent":           {"enc", v1.DecryptRequest{Header: header}, v1.DecryptionFailed, "/header", "no encrypted key"},
		"five dots":            {"enc", v1.DecryptRequest{JWE: good + "."}, v1.DecryptionFailed, "/jwe", "6 parts"},
		"over a mebibyte":      {"enc", v1.DecryptRequest{JWE: strings.Repeat("A", 1<<20+1)}, v1.TooLarge, "/jwe", "1048577"},
		"endless header":       {"enc", v1.DecryptRequest{Header: jsontext.Value(strings.Repeat(" ", 1<<14+1))}, v1.TooLarge, "/header", "16385"},
		"endless key":          {"enc", v1.DecryptRequest{Header: header, EncryptedKey: strings.Repeat("A", 1<<14+1)}, v1.TooLarge, "/encrypted_key", "16385"},
		"crit":                 {"enc", v1.DecryptRequest{JWE: withHeader(`{"alg":"RSA-OAEP","enc":"A128GCM","crit":["x"],"x":1}`)}, v1.DecryptionFailed, "/jwe", "crit"},
		"zip":                  {"enc", v1.DecryptRequest{JWE: withHeader(`{"alg":"RSA-OAEP","enc":"A128GCM","zip":"DEF"}`)}, v1.DecryptionFailed, "/jwe", "zip"},
		"unknown enc":          {"enc", v1.DecryptRequest{JWE: withHeader(`{"alg":"RSA-OAEP","enc":"A128GCMX"}`)}, v1.DecryptionFailed, "/jwe", "enc"},
		"RSA1_5":               {"enc", v1.DecryptRequest{JWE: withHeader(`{"alg":"RSA1_5","enc":"A128GCM"}`)}, v1.DecryptionFailed, "/jwe", "alg"},
		"alg not proven":       {"enc", v1.DecryptRequest{JWE: withHeader(`{"alg":"RSA-OAEP-256","enc":"A128GCM"}`)}, v1.DecryptionFailed, "", "no key for RSA-OAEP-256; it decrypts by RSA-OAEP, ECDH-ES, ECDH-ES+A128KW, ECDH-ES+A256KW"},
		"alg not of named key": {"enc", v1.DecryptRequest{JWE: withHeader(`{"alg":"RSA-OAEP","enc":"A128GCM","kid":"enc-p-256"}`)}, v1.DecryptionFailed, "", `"enc-p-256" does not decrypt by RSA-OAEP`},
		"kid of nobody":        {"enc", v1.DecryptRequest{JWE: withHeader(`{"alg":"RSA-OAEP","enc":"A128GCM","kid":"nobody"}`)}, v1.DecryptionFailed, "", `"nobody"`},
		"kid revoked":          {"enc", v1.DecryptRequest{JWE: withHeader(`{"alg":"RSA-OAEP","enc":"A128GCM","kid":"gone"}`)}, v1.DecryptionFailed, "", "was revoked"},
	} {
		_, err := w.Service.Decrypt(t.Context(), caller, test.keyset, &test.req)
		expect(t, name, err, test.reason, test.field)
		if err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: told %v, want something of %q", name, err, test.says)
		}
	}
	for name, err := range map[string]error{
		"stranger": second(w.Service.Decrypt(t.Context(), policy.Caller{UID: 7}, "enc", &v1.DecryptRequest{JWE: good})),
		"absent":   second(w.Service.Decrypt(t.Context(), policy.Caller{UID: 7}, "nope", &v1.DecryptRequest{JWE: good})),
	} {
		expect(t, name, err, v1.NotGranted, "")
	}
	if n := rsaKey.Calls.Load() + ecKey.Calls.Load(); n != 0 {
		t.Errorf("keys were used %d times", n)
	}
}

func second[T any](_ T, err error) error { return err }

// house is a keyset with an active and three to five older keys, as they are after rotations.
func house(t *testing.T, w *signingtest.World, older int) (ks signing.Keyset, keys []*signingtest.EncKey) {
	t.Helper()
	ks = signing.Keyset{Name: "enc", Purpose: signing.PurposeEnc}
	for i := range older + 1 {
		key := signingtest.NewEncKey(t, keyspec.P256)
		keys = append(keys, key)
		ks.Decrypters = append(ks.Decrypters, signing.DecryptKey{KID: fmt.Sprint("k", i), Spec: keyspec.P256, Key: key, Active: i == 0})
	}
	return ks, keys
}

// A message to a retired key opens, one to a revoked key does not, and one that names none is
// tried with four at most, each of which works as much for every message that fails.
func TestDecryptAfterRotation(t *testing.T) {
	w := signingtest.New(t)
	ks, keys := house(t, w, 5)
	show := func() { w.Service.Swap(w.StateOf(t, []signing.Keyset{ks}, granted(quick))) }
	show()
	open := func(message string) (string, error) {
		reply, err := w.Service.Decrypt(t.Context(), caller, "enc", &v1.DecryptRequest{JWE: message})
		if err != nil {
			return "", err
		}
		return reply.KID, nil
	}
	calls := func() (n []int64) {
		for _, k := range keys {
			n = append(n, k.Calls.Swap(0))
		}
		return n
	}
	for i, key := range keys {
		kid := fmt.Sprint("k", i)
		if got, err := open(sealed(t, key.Public(), kid, jose.ECDH_ES, jose.A128GCM)); err != nil || got != kid {
			t.Errorf("%s, named: %q, %v", kid, got, err)
		}
		if n := calls(); n[i] != 1 || slices.Max(n) != 1 || n[(i+1)%len(n)] != 0 {
			t.Errorf("%s, named: the keys were used %v times", kid, n)
		}
		got, err := open(sealed(t, key.Public(), "", jose.ECDH_ES, jose.A128GCM))
		switch n := calls(); {
		case i < 4 && (err != nil || got != kid || w.Audit.Last().KID != kid):
			t.Errorf("%s, not named: %q, %v", kid, got, err)
		case i >= 4:
			expect(t, kid, err, v1.DecryptionFailed, "")
			if !slices.Equal(n, []int64{1, 1, 1, 1, 0, 0}) {
				t.Errorf("%s, not named: the keys were used %v times", kid, n)
			}
			if r := w.Audit.Last(); r.KID != "" || r.Outcome != audit.Refused {
				t.Errorf("%s, not named: audited as %+v", kid, r)
			}
		}
	}
	toFirst, toRetired := sealed(t, keys[0].Public(), "", jose.ECDH_ES, jose.A128GCM), sealed(t, keys[2].Public(), "k2", jose.ECDH_ES, jose.A128GCM)
	reply, err := w.Service.Decrypt(t.Context(), caller, "enc", keyForm(t, toFirst))
	if n := calls(); err != nil || reply.KID != "k0" || !slices.Equal(n, []int64{1, 0, 0, 0, 0, 0}) {
		t.Errorf("the key alone: %+v, %v; the keys were used %v times", reply, err, n)
	}

	ks.Revoked = []string{"k0", "k2"}
	show()
	for name, message := range map[string]string{"active": toFirst, "retired": toRetired} {
		_, err := open(message)
		expect(t, name+", revoked", err, v1.DecryptionFailed, "")
	}
	if n := calls(); n[0] != 0 || n[2] != 0 {
		t.Errorf("revoked keys were used %v times", n)
	}
	status, err := w.Service.ActiveKey(t.Context(), caller, "enc", "")
	expect(t, "the active key, revoked", err, v1.NotReady, "")
	if status != nil {
		t.Errorf("%+v", status)
	}
}

// What a key opened that is revoked before the reply is not released.
func TestDecryptRevokedMeanwhile(t *testing.T) {
	w := signingtest.New(t)
	ks, keys := house(t, w, 0)
	w.Service.Swap(w.StateOf(t, []signing.Keyset{ks}, granted(nil)))
	keys[0].Hook(func(context.Context) {
		ks.Revoked = []string{"k0"}
		w.Service.Swap(w.StateOf(t, []signing.Keyset{ks}, granted(nil)))
	})
	reply, err := w.Service.Decrypt(t.Context(), caller, "enc", &v1.DecryptRequest{JWE: sealed(t, keys[0].Public(), "", jose.ECDH_ES, jose.A128GCM)})
	expect(t, "revoked meanwhile", err, v1.DecryptionFailed, "")
	if reply != nil || !strings.Contains(err.Error(), "was revoked") || w.Audit.Last().Outcome != audit.Failed || len(w.Audit.Last().Digest) == 0 {
		t.Errorf("%+v, %v", reply, err)
	}
}

// Decryptions are limited without a word in the configuration, and before the token is asked.
func TestDecryptionRate(t *testing.T) {
	w := signingtest.New(t, granted(nil))
	now := time.Now()
	w.Service.Now = func() time.Time { return now }
	key := w.EncKeys[keyspec.P256]
	message := &v1.DecryptRequest{JWE: sealed(t, key.Public(), "", jose.ECDH_ES, jose.A128GCM)}
	for i := range 40 {
		if _, err := w.Service.Decrypt(t.Context(), caller, "enc", message); err != nil {
			t.Fatalf("decryption %d: %v", i, err)
		}
	}
	_, err := w.Service.Decrypt(t.Context(), caller, "enc", message)
	expect(t, "41st", err, v1.RateLimited, "")
	if e, ok := errors.AsType[*v1.Error](err); !ok || e.RetryAfterMillis != 50 || key.Calls.Load() != 40 {
		t.Errorf("%+v; the key was used %d times", e, key.Calls.Load())
	}
	now = now.Add(50 * time.Millisecond)
	if _, err := w.Service.Decrypt(t.Context(), caller, "enc", message); err != nil {
		t.Error(err)
	}
}

// The token's own troubles are told as such, those of the message are not told apart, and what the
// caller gets the audit log has.
func TestDecryptTrouble(t *testing.T) {
	w := signingtest.New(t, granted(quick))
	key := w.EncKeys[keyspec.P256]
	compact := sealed(t, key.Public(), "", jose.ECDH_ES, jose.A128GCM)
	for name, req := range map[string]*v1.DecryptRequest{"message": {JWE: compact}, "key": keyForm(t, compact)} {
		for cause, reason := range map[error]v1.Reason{
			hsm.ErrUnavailable: v1.Unavailable, hsm.ErrOverloaded: v1.Overloaded, hsm.ErrKeyNotFound: v1.Internal,
			hsm.ErrUnsupported: v1.DecryptionFailed, context.DeadlineExceeded: v1.DeadlineExceeded,
		} {
			key.Fail(fmt.Errorf("decrypting: %w", cause))
			reply, err := w.Service.Decrypt(t.Context(), caller, "enc", req)
			expect(t, name, err, reason, "")
			if reply != nil || !errors.Is(err, cause) {
				t.Errorf("%s, %v: %+v, %v", name, cause, reply, err)
			}
		}
		key.Fail(nil)
		w.Audit.Fail(errors.New("disk full"))
		reply, err := w.Service.Decrypt(t.Context(), caller, "enc", req)
		expect(t, name+", no audit", err, v1.AuditFailed, "")
		if reply != nil {
			t.Errorf("%s: released without a line in the audit log: %+v", name, reply)
		}
		w.Audit.Fail(nil)
	}
	key.Hook(func(context.Context) { panic("in the token") })
	reply, err := w.Service.Decrypt(t.Context(), caller, "enc", &v1.DecryptRequest{JWE: compact})
	expect(t, "panic", err, v1.Internal, "")
	if reply != nil || w.Audit.Last().Outcome != audit.Failed {
		t.Errorf("%+v; audited as %+v", reply, w.Audit.Last())
	}
}

// The token's time is the caller's that the rule names.
func TestDecryptionHasAShare(t *testing.T) {
	w := signingtest.New(t, granted(func(r *policy.Rule) { r.Priority = 7 }))
	key := w.EncKeys[keyspec.P256]
	var share hsm.Share
	key.Hook(func(ctx context.Context) { share = shareOf(t, ctx) })
	if _, err := w.Service.Decrypt(t.Context(), caller, "enc", &v1.DecryptRequest{JWE: sealed(t, key.Public(), "", jose.ECDH_ES, jose.A128GCM)}); err != nil {
		t.Fatal(err)
	}
	if share != (hsm.Share{Owner: "uid 1001", Priority: 7}) {
		t.Errorf("%+v", share)
	}
}

// A keyset that decrypts signs nothing, and offers what is proven of its active keys.
func TestKeysetThatDecrypts(t *testing.T) {
	w := signingtest.New(t, signingtest.All(uid))
	_, err := w.Service.SignJWT(t.Context(), caller, "enc", &v1.JWTRequest{Claims: claims("")})
	expect(t, "jwt", err, v1.PurposeMismatch, "")
	_, err = w.Service.Sign(t.Context(), caller, "enc", &v1.SignRequest{Payload: new("")})
	expect(t, "sign", err, v1.PurposeMismatch, "")
	rsaKey, ecKey := signingtest.NewEncKey(t, keyspec.RSA2048), signingtest.NewEncKey(t, keyspec.P384)
	key := func(kid string, spec keyspec.Spec, k signing.Decrypter, active bool) signing.DecryptKey {
		return signing.DecryptKey{KID: kid, Spec: spec, Key: k, Active: active}
	}
	unproven := signingtest.NewEncKey(t, keyspec.P256)
	unproven.Unsupport(0)
	rsaKey.Unsupport(crypto.SHA256)
	for name, c := range map[string]struct {
		keys []signing.DecryptKey
		algs []string
	}{
		"two":            {[]signing.DecryptKey{key("r", keyspec.RSA2048, rsaKey, true), key("e", keyspec.P384, ecKey, true)}, []string{"RSA-OAEP", "ECDH-ES", "ECDH-ES+A128KW", "ECDH-ES+A256KW"}},
		"one is retired": {[]signing.DecryptKey{key("r", keyspec.RSA2048, rsaKey, true), key("e", keyspec.P384, ecKey, false)}, []string{"RSA-OAEP"}},
		"not proven":     {[]signing.DecryptKey{key("u", keyspec.P256, unproven, true), key("e", keyspec.P384, ecKey, false)}, []string{}},
		"none":           {nil, []string{}},
	} {
		w.Service.Swap(w.StateOf(t, []signing.Keyset{{Name: "enc", Purpose: signing.PurposeEnc, Decrypters: c.keys}}, signingtest.All(uid)))
		ks, err := w.Service.Keyset(t.Context(), caller, "enc")
		if err != nil || ks.Ready != (len(c.algs) > 0) || !slices.Equal(ks.Algorithms, c.algs) || ks.Purpose != "enc" {
			t.Errorf("%s: %+v, %v", name, ks, err)
		}
	}
	w.Service.Swap(w.StateOf(t, []signing.Keyset{{Name: "enc", Purpose: signing.PurposeEnc, Decrypters: []signing.DecryptKey{key("u", keyspec.P256, unproven, true), key("e", keyspec.P384, ecKey, false)}}}, signingtest.All(uid)))
	_, err = w.Service.Decrypt(t.Context(), caller, "enc", &v1.DecryptRequest{JWE: sealed(t, unproven.Public(), "u", jose.ECDH_ES, jose.A128GCM)})
	expect(t, "named, not proven", err, v1.NotReady, "")
	if n := unproven.Calls.Load(); n != 0 {
		t.Errorf("a key that is not proven was used %d times", n)
	}
	for name, ks := range map[string]signing.Keyset{
		"a jwt that decrypts": {Purpose: signing.PurposeJWT, MaxTokenLifetime: time.Hour, Decrypters: []signing.DecryptKey{key("e", keyspec.P384, ecKey, true)}},
		"kid empty":           {Purpose: signing.PurposeEnc, Decrypters: []signing.DecryptKey{key("", keyspec.P384, ecKey, true)}},
		"kid not UTF-8":       {Purpose: signing.PurposeEnc, Decrypters: []signing.DecryptKey{key("\xff", keyspec.P384, ecKey, true)}},
		"spec":                {Purpose: signing.PurposeEnc, Decrypters: []signing.DecryptKey{key("e", keyspec.Ed25519, ecKey, true)}},
		"no handle":           {Purpose: signing.PurposeEnc, Decrypters: []signing.DecryptKey{key("e", keyspec.P384, nil, true)}},
	} {
		ks.Name = "a"
		if _, err := signing.NewState(nil, []signing.Keyset{ks}, w.Metrics); err == nil || !strings.Contains(err.Error(), "keyset a: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
