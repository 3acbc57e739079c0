package main_test

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/oauth2"

	"keysetd.example/client"
	"keysetd.example/client/keysetdjose"
	"keysetd.example/client/keysetdjwt"
	"keysetd.example/client/keysetdoauth2"

	v1 "keysetd.example/api/v1"
)

// programs use the daemon, each by another adapter, and judge what they get by the page.
type programs struct {
	*verifier // of keyset default
	client    *client.Client
	life      time.Duration // of tokens
	inbox     func() jose.JSONWebKeySet
	pinned    atomic.Int64 // refusals of a signer whose key no longer signs

	mu    sync.Mutex
	kids  map[string]bool // of keyset default
	calls map[string]int
}

// use dials the daemon.
func use(t *testing.T, d *daemon, life time.Duration) *programs {
	t.Helper()
	c, err := client.Dial(d.Socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &programs{
		verifier: &verifier{url: "http://" + d.Public + "/keysets/default/jwks.json"}, client: c, life: life,
		inbox: func() jose.JSONWebKeySet { return d.jwks("inbox") }, kids: map[string]bool{}, calls: map[string]int{},
	}
}

// good checks a token by the page as a verifier has it.
func (p *programs) good(token string) error {
	kid, _, err := p.verify(token)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kids[kid] = true
	return err
}

// run has all of them work until stop is closed. No call may fail.
func (p *programs) run(t *testing.T, stop <-chan struct{}) {
	t.Helper()
	var running sync.WaitGroup
	for name, do := range p.all(t) {
		running.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					p.mu.Lock()
					defer p.mu.Unlock()
					p.calls[name] = n
					return
				case <-time.After(20 * time.Millisecond):
				}
				if err := do(); err != nil {
					t.Errorf("%s, call %d: %v", name, n+1, err)
					return
				}
			}
		})
	}
	running.Wait()
	for name, n := range p.calls {
		if n < 20 {
			t.Errorf("%s made %d calls; this shows too little", name, n)
		}
	}
	t.Logf("calls: %v; refused as pinned: %d; keys: %d", p.calls, p.pinned.Load(), len(p.kids))
}

func (p *programs) exp() int64 { return time.Now().Add(p.life).Unix() }

// all are the programs. Each returns what it does again and again.
func (p *programs) all(t *testing.T) map[string]func() error {
	t.Helper()
	ctx, c := t.Context(), p.client
	jws, err := keysetdjose.NewSigner(c, "default", jose.ES256, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	opaque, err := keysetdjose.NewOpaqueSigner(c, "default", jose.ES256)
	if err != nil {
		t.Fatal(err)
	}
	over, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: opaque}, nil)
	if err != nil {
		t.Fatal(err)
	}
	decrypter := &telling{OpaqueKeyDecrypter: keysetdjose.NewKeyDecrypter(c, "inbox")}
	access := p.accessTokens(t)
	signer, err := c.Signer(ctx, "raw", "ES256")
	if err != nil {
		t.Fatal(err)
	}
	signs := func(s jose.Signer) (string, error) {
		signed, err := s.Sign(fmt.Appendf(nil, `{"exp":%d}`, p.exp()))
		if err != nil {
			return "", err
		}
		return signed.CompactSerialize()
	}
	return map[string]func() error{
		"client": func() error {
			reply, err := c.SignJWT(ctx, "default", &v1.JWTRequest{Claims: fmt.Appendf(nil, `{"exp":%d}`, p.exp())})
			if err != nil {
				return err
			}
			return p.good(reply.Token)
		},
		"keysetdjose": func() error {
			token, err := signs(jws)
			if err != nil {
				return err
			}
			return p.good(token)
		},
		"keysetdjose, opaque": func() error { // documented: a rotation between header and signature is to be tried again
			token, err := signs(over)
			if errors.Is(err, client.ErrKidNotActive) {
				token, err = signs(over)
			}
			if err != nil {
				return err
			}
			return p.good(token)
		},
		"keysetdjose, decrypter": func() error {
			k := forAlgorithm(t, p.inbox(), jose.ECDH_ES)
			message, err := jose.ParseEncryptedCompact(encrypt(t, k.Key, k.KeyID, jose.ECDH_ES, jose.A128GCM, "secret"), []jose.KeyAlgorithm{jose.ECDH_ES}, contents)
			if err != nil {
				return err
			}
			plaintext, err := message.Decrypt(decrypter)
			if err != nil || string(plaintext) != "secret" {
				return fmt.Errorf("decrypted %q, %w; the daemon said: %w", plaintext, err, decrypter.said)
			}
			return nil
		},
		"keysetdjwt": func() error {
			token, err := keysetdjwt.Sign(ctx, c, "default", jwt.NewWithClaims(keysetdjwt.ES256, jwt.MapClaims{"exp": p.exp()}))
			if err != nil {
				return err
			}
			return p.good(token)
		},
		"keysetdoauth2": func() error {
			_, err := access.Token()
			return err
		},
		"a pinned signer": func() error {
			digest := sha256.Sum256([]byte("a message"))
			_, err := signer.Sign(rand.Reader, digest[:], crypto.SHA256)
			if errors.Is(err, client.ErrKidNotActive) {
				p.pinned.Add(1)
				if signer, err = c.Signer(ctx, "raw", "ES256"); err == nil {
					_, err = signer.Sign(rand.Reader, digest[:], crypto.SHA256)
				}
			}
			return err
		},
	}
}

// telling keeps what go-jose does not tell.
type telling struct {
	jose.OpaqueKeyDecrypter
	said error
}

func (d *telling) DecryptKey(encryptedKey []byte, header jose.Header) (key []byte, err error) {
	key, d.said = d.OpaqueKeyDecrypter.DecryptKey(encryptedKey, header)
	return key, d.said
}

// accessTokens come from an authorisation server that takes assertions which verify by the page, and are used once.
func (p *programs) accessTokens(t *testing.T) oauth2.TokenSource {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if err := p.good(r.PostFormValue("client_assertion")); err != nil {
			w.WriteHeader(http.StatusUnauthorized)
			json.NewEncoder(w).Encode(map[string]string{"error": "invalid_client", "error_description": err.Error()})
			return
		}
		json.NewEncoder(w).Encode(map[string]any{"access_token": "a", "token_type": "Bearer", "expires_in": 1})
	}))
	t.Cleanup(server.Close)
	return keysetdoauth2.Config{Client: p.client, Keyset: "default", ClientID: "batch", TokenURL: server.URL, Lifetime: p.life}.TokenSource(t.Context())
}

// beginFast is begin for callers who decrypt more often than the usual rate lets them.
func beginFast(t *testing.T, keysets string) (*site, *daemon) {
	t.Helper()
	s := newSite(t)
	s.configure(keysets)
	s.edit(`client_ids: ["*"]`, `client_ids: ["*"], rate: 10000, burst: 10000`)
	s.mustKeysetd("init", "-c", s.path("keysetd.yaml"))
	return s, s.serve()
}

// TestClientsThroughRotation: no call of any adapter fails but the pinned signer's, which says why.
func TestClientsThroughRotation(t *testing.T) {
	t.Parallel()
	const often = "rotation: {period: 4s, clock_skew: 500ms}, publish: {max_age: 1s}"
	_, d := beginFast(t, `
  default: {purpose: jwt, any_issuer: true, keys: [p-256], max_token_lifetime: 3s, client_assertion: {max_lifetime: 3s}, `+often+`}
  raw: {purpose: raw, keys: [p-256], `+often+`}
  inbox: {purpose: enc, keys: [p-256], max_message_age: 1s, `+often+`}
`)
	p := use(t, d, 2*time.Second)
	stop := make(chan struct{})
	time.AfterFunc(14*time.Second, func() { close(stop) })
	p.run(t, stop)
	if len(p.kids) < 3 || p.pinned.Load() < 2 {
		t.Errorf("%d keys signed, and a pinned signer was refused %d times; this shows too little", len(p.kids), p.pinned.Load())
	}
}

// TestClientsThroughRestart: what may be repeated is, and no call fails.
func TestClientsThroughRestart(t *testing.T) {
	t.Parallel()
	s, d := beginFast(t, `
  default: {purpose: jwt, any_issuer: true, keys: [p-256]}
  raw: {purpose: raw, keys: [p-256]}
  inbox: {purpose: enc, keys: [p-256], max_message_age: 1h}
`)
	p := use(t, d, time.Minute)
	if _, err := p.page(); err != nil { // which is somewhere else after a restart
		t.Fatal(err)
	}
	p.until = time.Now().Add(time.Hour)
	page := d.jwks("inbox")
	p.inbox = func() jose.JSONWebKeySet { return page }
	stop := make(chan struct{})
	var restarting sync.WaitGroup
	restarting.Go(func() {
		defer close(stop)
		for range 3 {
			time.Sleep(500 * time.Millisecond)
			d.stop()
			d = s.serve()
		}
		time.Sleep(500 * time.Millisecond)
	})
	p.run(t, stop)
	restarting.Wait()
}
