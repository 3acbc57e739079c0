package door

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"google.golang.org/grpc/codes"

	pb "keysetd.example/api/v1/keysetdpb"

	v1 "keysetd.example/api/v1"
	"keysetd.example/internal/keyspec"
	"keysetd.example/signing/policy"
	"keysetd.example/signing/signingtest"
)

// sealed is a message to the keyset enc.
func (h *house) sealed(t *testing.T, alg jose.KeyAlgorithm, spec keyspec.Spec, plaintext string) string {
	t.Helper()
	e, err := jose.NewEncrypter(jose.A128GCM, jose.Recipient{Algorithm: alg, Key: h.EncKeys[spec].Public(), KeyID: "enc-" + string(spec)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := e.Encrypt([]byte(plaintext))
	if err != nil {
		t.Fatal(err)
	}
	compact, err := m.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

// parts are the header and the encrypted key of a compact message.
func parts(t *testing.T, compact string) (header, encryptedKey []byte) {
	t.Helper()
	p := strings.Split(compact, ".")
	var err error
	if header, err = base64.RawURLEncoding.DecodeString(p[0]); err != nil {
		t.Fatal(err)
	}
	if encryptedKey, err = base64.RawURLEncoding.DecodeString(p[1]); err != nil {
		t.Fatal(err)
	}
	return header, encryptedKey
}

func TestDecryptOverBothLanguages(t *testing.T) {
	h := open(t)
	signer := pb.NewSignerClient(h.grpc(t))
	for spec, alg := range map[keyspec.Spec]jose.KeyAlgorithm{keyspec.RSA2048: jose.RSA_OAEP, keyspec.P256: jose.ECDH_ES_A128KW} {
		for _, plaintext := range []string{"a secret", ""} {
			compact := h.sealed(t, alg, spec, plaintext)
			header, encryptedKey := parts(t, compact)

			resp, body := h.do(t, "POST", "/v1/keysets/enc/decrypt", `{"jwe":"`+compact+`"}`)
			var reply v1.DecryptReply
			if err := json.Unmarshal([]byte(body), &reply); err != nil || resp.StatusCode != 200 || reply.Plaintext == nil || reply.Key != "" {
				t.Fatalf("%s by HTTP: %s %s %v", alg, resp.Status, body, err)
			}
			if *reply.Plaintext != base64.RawURLEncoding.EncodeToString([]byte(plaintext)) || string(reply.Header) != string(header) || reply.KID != "enc-"+string(spec) {
				t.Errorf("%s by HTTP: %s", alg, body)
			}
			if last := h.Audit.Last(); last.Operation != "decrypt" || last.Alg != string(alg) || last.KID != reply.KID || strings.Contains(last.Detail, plaintext) && plaintext != "" {
				t.Errorf("the audit log says %+v", last)
			}

			got, err := signer.Decrypt(t.Context(), &pb.DecryptRequest{Keyset: "enc", Jwe: compact})
			if err != nil || got.Plaintext == nil || string(got.Plaintext) != plaintext || string(got.Header) != string(header) || got.Kid != "enc-"+string(spec) || len(got.Key) > 0 {
				t.Errorf("%s by gRPC: %v, %v", alg, got, err)
			}

			resp, body = h.do(t, "POST", "/v1/keysets/enc/decrypt", `{"header":`+string(header)+`,"encrypted_key":"`+base64.RawURLEncoding.EncodeToString(encryptedKey)+`"}`)
			reply = v1.DecryptReply{}
			if err := json.Unmarshal([]byte(body), &reply); err != nil || resp.StatusCode != 200 || reply.Plaintext != nil || reply.Key == "" {
				t.Fatalf("%s, its key by HTTP: %s %s %v", alg, resp.Status, body, err)
			}
			got, err = signer.Decrypt(t.Context(), &pb.DecryptRequest{Keyset: "enc", Header: header, EncryptedKey: encryptedKey})
			if err != nil || got.Plaintext != nil || base64.RawURLEncoding.EncodeToString(got.Key) != reply.Key || len(got.Key) != 16 {
				t.Errorf("%s, its key by gRPC: %v, %v", alg, got, err)
			}
		}
	}
}

// What is wrong with a message that reaches a key is told by one answer, in both languages.
func TestUndecryptable(t *testing.T) {
	h := open(t)
	signer := pb.NewSignerClient(h.grpc(t))
	good := strings.Split(h.sealed(t, jose.RSA_OAEP, keyspec.RSA2048, "secret"), ".")
	broken := func(part int) string {
		p := append([]string(nil), good...)
		c := byte('A')
		if p[part][0] == c {
			c = 'B'
		}
		p[part] = string(c) + p[part][1:]
		return strings.Join(p, ".")
	}
	answers := map[string]bool{}
	for _, part := range []int{1, 2, 3, 4} {
		resp, body := h.do(t, "POST", "/v1/keysets/enc/decrypt", `{"jwe":"`+broken(part)+`"}`)
		checkProblem(t, "broken", resp, body, 422, v1.DecryptionFailed, "")
		answers[body] = true
		_, err := signer.Decrypt(t.Context(), &pb.DecryptRequest{Keyset: "enc", Jwe: broken(part)})
		checkStatus(t, "broken", err, codes.InvalidArgument, v1.DecryptionFailed, "")
		answers[err.Error()] = true
	}
	if len(answers) != 2 {
		t.Errorf("one answer in each language, and there are %v", answers)
	}
	for name, test := range map[string]struct {
		body   string
		status int
		reason v1.Reason
		field  string
	}{
		"nothing":      {`{}`, 400, v1.BadRequest, "/jwe"},
		"both":         {`{"jwe":"a.b.c.d.e","header":{}}`, 400, v1.BadRequest, "/jwe"},
		"header twice": {`{"header":{"alg":"RSA-OAEP","alg":"RSA-OAEP"}}`, 400, v1.BadHeader, "/header/alg"},
		"five dots":    {`{"jwe":"a.b.c.d.e.f"}`, 422, v1.DecryptionFailed, "/jwe"},
		"2 MiB":        {`{"jwe":"` + strings.Repeat("A", 2<<20) + `"}`, 413, v1.TooLarge, ""},
		"a batch":      {`{"items":[]}`, 400, v1.BadRequest, "/items"},
	} {
		resp, body := h.do(t, "POST", "/v1/keysets/enc/decrypt", test.body)
		checkProblem(t, name, resp, body, test.status, test.reason, test.field)
	}
	_, err := signer.Decrypt(t.Context(), &pb.DecryptRequest{Keyset: "enc", Header: []byte(`{"alg":"RSA-OAEP","alg":"RSA-OAEP"}`)})
	checkStatus(t, "header twice", err, codes.InvalidArgument, v1.BadHeader, "/header")
	resp, body := h.do(t, "POST", "/v1/keysets/default/decrypt", `{"jwe":"`+strings.Join(good, ".")+`"}`)
	checkProblem(t, "a keyset that signs", resp, body, 403, v1.PurposeMismatch, "")
}

// Which key it is can be asked by whoever may use it, and by nobody else.
func TestKeyOverBothLanguages(t *testing.T) {
	h := open(t)
	uid := uint32(os.Getuid())
	signer := pb.NewSignerClient(h.grpc(t))
	ask := func(path string) (*v1.ActiveKey, int) {
		resp, body := h.do(t, "GET", path, "")
		key := new(v1.ActiveKey)
		if err := json.Unmarshal([]byte(body), key); err != nil {
			t.Fatalf("%s: %s", path, body)
		}
		return key, resp.StatusCode
	}
	for path, want := range map[string]v1.ActiveKey{
		"/v1/keysets/default/key":              {KID: h.KIDs[keyspec.P256], Alg: "ES256"},
		"/v1/keysets/default/key?alg=PS384":    {KID: h.KIDs[keyspec.RSA2048], Alg: "PS384"},
		"/v1/keysets/enc/key?alg=RSA-OAEP":     {KID: "enc-rsa-2048", Alg: "RSA-OAEP"},
		"/v1/keysets/enc/key?alg=ECDH-ES":      {KID: "enc-p-256", Alg: "ECDH-ES"},
		"/v1/keysets/raw/key?alg=EdDSA":        {KID: h.KIDs[keyspec.Ed25519], Alg: "EdDSA"},
		"/v1/keysets/any/key?alg=ES512&ignore": {KID: h.KIDs[keyspec.P521], Alg: "ES512"},
	} {
		key, code := ask(path)
		if code != 200 || key.KID != want.KID || key.Alg != want.Alg {
			t.Errorf("%s: %d %+v", path, code, key)
		}
		var jwk jose.JSONWebKey
		if err := jwk.UnmarshalJSON(key.JWK); err != nil || jwk.KeyID != want.KID || jwk.Algorithm != want.Alg || !jwk.IsPublic() {
			t.Errorf("%s: %s, %v", path, key.JWK, err)
		}
		keyset, alg, _ := strings.Cut(strings.TrimPrefix(path, "/v1/keysets/"), "/key")
		alg, _, _ = strings.Cut(strings.TrimPrefix(alg, "?alg="), "&")
		got, err := signer.GetKey(t.Context(), &pb.GetKeyRequest{Keyset: keyset, Alg: alg})
		if err != nil || got.Kid != key.KID || got.Alg != key.Alg || string(got.Jwk) != string(key.JWK) {
			t.Errorf("%s by gRPC: %v, %v", path, got, err)
		}
	}
	h.Service.Swap(h.State(t, policy.Rule{Name: "other", UID: &uid, Keysets: []string{"raw"}, Operations: []policy.Operation{policy.Sign}, Algorithms: signingtest.All(uid).Algorithms}))
	if _, code := ask("/v1/keysets/raw/key?alg=ES256"); code != 200 {
		t.Errorf("whoever may sign may know with which key: %d", code)
	}
	if resp, body := h.do(t, "GET", "/v1/keysets/default/key?alg=ES256", ""); uid != 0 { // root may read
		checkProblem(t, "another keyset", resp, body, 403, v1.NotGranted, "")
	}
}
