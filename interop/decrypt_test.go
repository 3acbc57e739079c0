package interop

import (
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	v1 "keysetd.example/api/v1"
	"keysetd.example/client"
	"keysetd.example/client/keysetdjose"
)

// house issues ID tokens and has keys for what is encrypted to it.
const house = `
  default:
    purpose: jwt
    issuer: ` + issuer + `
    keys: [p-256]
  inbox:
    purpose: enc
    keys: [rsa-2048, p-256, p-384, p-521]
    max_message_age: 1h
`

// What a SoftHSM token decrypts by (it has no RSA-OAEP but that with SHA-1), and for content.
var (
	keyAlgorithms      = []string{"RSA-OAEP", "ECDH-ES", "ECDH-ES+A128KW", "ECDH-ES+A256KW"}
	contentEncryptions = []string{"A128GCM", "A256GCM", "A128CBC-HS256", "A256CBC-HS512"}
)

// page is the keyset's JWKS as it comes.
func (d *daemon) page(keyset string) []byte {
	d.t.Helper()
	resp, err := http.Get(d.jwksURL(keyset))
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		d.t.Fatalf("GET %s: %s, %v", d.jwksURL(keyset), resp.Status, err)
	}
	return page
}

// opened is what a message holds, with the reply.
func (d *daemon) opened(keyset, sealed string) (plaintext string, reply *v1.DecryptReply, err error) {
	d.t.Helper()
	reply, err = d.client.Decrypt(d.t.Context(), keyset, &v1.DecryptRequest{JWE: sealed})
	if err != nil {
		return "", nil, err
	}
	if reply.Plaintext == nil {
		d.t.Fatalf("decrypted, and no plaintext: %+v", reply)
	}
	raw, err := base64.RawURLEncoding.DecodeString(*reply.Plaintext)
	return string(raw), reply, err
}

// openedByGoJOSE is what go-jose reads of a message when the daemon gives it no more than the
// content encryption key.
func (d *daemon) openedByGoJOSE(keyset, sealed string, m message) (string, error) {
	jwe, err := jose.ParseEncryptedCompact(sealed, []jose.KeyAlgorithm{jose.KeyAlgorithm(m.alg)}, []jose.ContentEncryption{jose.ContentEncryption(m.enc)})
	if err != nil {
		return "", err
	}
	plaintext, err := jwe.Decrypt(keysetdjose.NewKeyDecrypter(d.client, keyset))
	return string(plaintext), err
}

// TestEncryptedIDTokens has three libraries encrypt ID tokens, by all that the keyset offers, to
// what they read on its page, and go-oidc verify what comes out.
func TestEncryptedIDTokens(t *testing.T) {
	t.Parallel()
	d := newSite(t).begin(house)
	keyset, err := d.client.Keyset(t.Context(), "inbox")
	if err != nil || !slices.Equal(keyset.Algorithms, keyAlgorithms) {
		t.Fatalf("the keyset offers %v, want %v (%v)", keyset.Algorithms, keyAlgorithms, err)
	}
	page, keys := d.page("inbox"), d.jwks("inbox").Keys
	verifier := oidc.NewVerifier(issuer, oidc.NewRemoteKeySet(t.Context(), d.jwksURL("default")), &oidc.Config{ClientID: "api", SupportedSigningAlgs: []string{"ES256"}})
	token := d.token("default", "ES256", claims("alice"))
	for library := range senders {
		t.Run(library, func(t *testing.T) {
			used := map[string]bool{}
			for _, key := range keys {
				for _, alg := range keyset.Algorithms {
					if (alg == "RSA-OAEP") != (key.Algorithm == "RSA-OAEP") {
						continue
					}
					for _, enc := range contentEncryptions {
						for _, unnamed := range []bool{false, true} {
							d.judge(t, library, page, message{kid: key.KeyID, alg: alg, enc: enc, unnamed: unnamed, token: token}, verifier)
						}
						used[alg+" "+enc] = true
					}
				}
			}
			if want := len(keyAlgorithms) * len(contentEncryptions); len(used) != want {
				t.Errorf("%d combinations were used, want %d: %v", len(used), want, used)
			}
		})
	}
}

// judge has a library encrypt m, and sees that the daemon and go-jose read the token that was encrypted,
// and that nothing comes of the message once it was altered.
func (d *daemon) judge(t *testing.T, library string, page []byte, m message, verifier *oidc.IDTokenVerifier) {
	t.Helper()
	sealed := encrypted(t, library, page, m)
	plaintext, reply, err := d.opened("inbox", sealed)
	if err != nil {
		t.Errorf("%s and %s to %s: %v\n%s", m.alg, m.enc, m.kid, err, sealed)
		return
	}
	idToken, err := verifier.Verify(t.Context(), plaintext)
	if err != nil || idToken.Subject != "alice" || plaintext != m.token {
		t.Errorf("%s and %s: go-oidc on what was decrypted: %v\n%s", m.alg, m.enc, err, plaintext)
	}
	header, _, _ := strings.Cut(sealed, ".")
	if want, err := base64.RawURLEncoding.DecodeString(header); err != nil || string(reply.Header) != string(want) || !strings.Contains(string(want), `"cty":"JWT"`) {
		t.Errorf("the reply's header is %s, the message's %s (%v)", reply.Header, want, err)
	}
	if reply.KID != m.kid {
		t.Errorf("decrypted by %q, encrypted to %q", reply.KID, m.kid)
	}
	if !m.unnamed { // of a key alone nobody can tell which recipient it came from
		if got, err := d.openedByGoJOSE("inbox", sealed, m); err != nil || got != m.token {
			t.Errorf("%s and %s: go-jose with the key that was decrypted: %q, %v", m.alg, m.enc, got, err)
		}
	}
	if _, _, err := d.opened("inbox", altered(sealed)); !errors.Is(err, client.ErrDecryptionFailed) {
		t.Errorf("%s and %s, altered: %v", m.alg, m.enc, err)
	}
}

// TestRefusedEncryption: what these libraries can do and keysetd does not take, each beside the
// message that differs in nothing else.
func TestRefusedEncryption(t *testing.T) {
	t.Parallel()
	d := newSite(t).begin(house)
	page := d.page("inbox")
	const alg, enc = "alg is none of", "enc is none of"
	for _, test := range []struct {
		taken, refused message
		says           string
	}{
		{message{alg: "RSA-OAEP", enc: "A128GCM"}, message{alg: "RSA-OAEP", enc: "A128GCM", zip: true}, "zip"},
		{message{alg: "ECDH-ES", enc: "A256CBC-HS512"}, message{alg: "ECDH-ES", enc: "A256CBC-HS512", zip: true}, "zip"},
		{message{alg: "RSA-OAEP", enc: "A128GCM"}, message{alg: "RSA1_5", enc: "A128GCM"}, alg},
		{message{alg: "RSA-OAEP", enc: "A256CBC-HS512"}, message{alg: "RSA1_5", enc: "A256CBC-HS512"}, alg},
		{message{alg: "RSA-OAEP", enc: "A128GCM"}, message{alg: "RSA-OAEP-256", enc: "A128GCM"}, "does not decrypt by RSA-OAEP-256"}, // SoftHSM's lack
		{message{alg: "RSA-OAEP", enc: "A128GCM"}, message{alg: "RSA-OAEP-384", enc: "A128GCM"}, alg},
		{message{alg: "RSA-OAEP", enc: "A128GCM"}, message{alg: "RSA-OAEP-512", enc: "A128GCM"}, alg},
		{message{alg: "ECDH-ES+A128KW", enc: "A128GCM"}, message{alg: "ECDH-ES+A192KW", enc: "A128GCM"}, alg},
		{message{alg: "ECDH-ES", enc: "A128GCM"}, message{alg: "ECDH-ES", enc: "A192GCM"}, enc},
		{message{alg: "ECDH-ES", enc: "A128CBC-HS256"}, message{alg: "ECDH-ES", enc: "A192CBC-HS384"}, enc},
	} {
		key, err := d.client.ActiveKey(t.Context(), "inbox", test.taken.alg)
		if err != nil {
			t.Fatal(err)
		}
		for library := range senders {
			if library != "jwx" && (test.refused.alg == "RSA-OAEP-384" || test.refused.alg == "RSA-OAEP-512") {
				continue // which only jwx has
			}
			taken, refused := test.taken, test.refused
			taken.kid, taken.token = key.KID, "secret"
			refused.kid, refused.token = key.KID, "secret"
			if got, _, err := d.opened("inbox", encrypted(t, library, page, taken)); err != nil || got != "secret" {
				t.Errorf("%s: %+v: %q, %v", library, taken, got, err)
			}
			if got, _, err := d.opened("inbox", encrypted(t, library, page, refused)); !errors.Is(err, client.ErrDecryptionFailed) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%s: %+v: %q, %v; want something of %q", library, refused, got, err, test.says)
			}
		}
	}
}
