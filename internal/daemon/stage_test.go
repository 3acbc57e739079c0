package daemon

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	v1 "keysetd.example/api/v1"
	"keysetd.example/hsm"
	"keysetd.example/internal/config"
	"keysetd.example/internal/keyspec"
	"keysetd.example/jwks"
	"keysetd.example/rotation"
	"keysetd.example/signing"
	"keysetd.example/signing/policy"
	"keysetd.example/signing/signingtest"
)

const testUID = 1001

var operator = policy.Caller{UID: testUID}

// stage is a publisher, with what it shows to both sides.
type stage struct {
	t *testing.T
	*publisher
	world   *signingtest.World
	handled []string // the kids of keys that were asked of their tokens
	problem string   // that the tokens have with each key
	probe   func(kid string, hash crypto.Hash) error
	outlive []int // generations that were asked to outlive a token
}

// softKey is a key whose token may have a problem with it.
type softKey struct {
	signing.Key
	signing.Decrypter
	problem *string
	probe   func(crypto.Hash) error
}

func (k softKey) Problem() string { return *k.problem }

func (k softKey) ProbeDecrypt(_ context.Context, hash crypto.Hash) error { return k.probe(hash) }

func newStage(t *testing.T, keysets string) *stage {
	t.Helper()
	s := &stage{t: t, world: signingtest.New(t)}
	s.probe = func(string, crypto.Hash) error { return nil }
	s.publisher = &publisher{
		pages: jwks.NewPages(func() bool { return true }), service: s.world.Service, metrics: s.world.Metrics, log: slog.New(slog.DiscardHandler),
		key: func(k rotation.Key) (tokenKey, error) {
			s.handled = append(s.handled, k.KID)
			probe := func(hash crypto.Hash) error { return s.probe(k.KID, hash) }
			key := s.world.Keys[k.Spec]
			if key == nil { // of a spec that there is not
				key = s.world.Keys[keyspec.P256]
			}
			return softKey{key, signingtest.EncKeyOf(key.Private()), &s.problem, probe}, nil
		},
		force: force{cfg: parse(t, keysets)}, onShown: func() {},
	}
	s.publisher.outlive = func(_ context.Context, _ string, generation int, _ time.Time) error {
		s.outlive = append(s.outlive, generation)
		return nil
	}
	var err error
	if s.rights, err = newPolicy(s.cfg); err != nil {
		t.Fatal(err)
	}
	return s
}

func parse(t *testing.T, keysets string) *config.Config {
	t.Helper()
	cfg, err := config.Parse("keysetd.yaml", fmt.Appendf(nil, `
token: {module: /usr/lib/softhsm/libsofthsm2.so, label: test, pin: {file: pin}}
keysets:
%s
callers:
  test: {uid: %d, keysets: ["*"], operations: ["*"], algorithms: ["*"], client_ids: ["*"]}
`, keysets, testUID), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// key of a spec under a kid.
func (s *stage) keyOf(kid string, spec keyspec.Spec, usage hsm.Usage) rotation.Key {
	pub, err := x509.MarshalPKIXPublicKey(s.world.Keys[spec].Public)
	if err != nil {
		s.t.Fatal(err)
	}
	return rotation.Key{KID: kid, Spec: spec, Token: "default", ID: []byte(kid), Label: kid, Public: pub, Usage: usage}
}

// generation whose keys, given as KID:SPEC, are made for signing, or after "enc " for decrypting.
func (s *stage) generation(number int, state rotation.State, keys ...string) rotation.Generation {
	at := time.Now().Add(-time.Hour)
	g := rotation.Generation{Number: number, State: state, Made: at, Published: at, UsableFrom: at, Lifetime: 100 * time.Hour}
	if state != rotation.Pending {
		g.Activated, g.Scheduled = at, at
	}
	if state == rotation.Retired {
		g.Retired, g.RetainUntil = at, at.Add(12*time.Hour)
	}
	for _, k := range keys {
		k, enc := strings.CutPrefix(k, "enc ")
		usage := hsm.Usage("")
		if enc {
			usage = hsm.Decrypt
		}
		kid, spec, _ := strings.Cut(k, ":")
		g.Keys = append(g.Keys, s.keyOf(kid, keyspec.Spec(spec), usage))
	}
	return g
}

// view of keyset "ks" as the manager would make it.
func (s *stage) view(d rotation.Document) *rotation.Keyset {
	ks, configured := s.cfg.Keysets["ks"]
	d.Format, d.Keyset = rotation.Format, "ks"
	d.Served.MaxAge = time.Minute
	k := &rotation.Keyset{Name: "ks", Configured: configured, Document: d}
	if configured {
		k.Policy = ks.Policy("ks")
		active, _ := d.Active()
		k.Signing = active.Keys
	}
	return k
}

func snapshot(keysets ...*rotation.Keyset) *rotation.Snapshot {
	s := &rotation.Snapshot{Keysets: map[string]*rotation.Keyset{}}
	for _, k := range keysets {
		s.Keysets[k.Name] = k
	}
	return s
}

// page returns the keys on the page, as KID/ALG/USE, and its Cache-Control; nil for none.
func (s *stage) page(name string) (keys []string, cache string) {
	s.t.Helper()
	w := httptest.NewRecorder()
	s.pages.ServeHTTP(w, httptest.NewRequest("GET", "/keysets/"+name+"/jwks.json", nil))
	if w.Code != 200 {
		return nil, ""
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(w.Body.Bytes(), &set); err != nil {
		s.t.Fatal(err)
	}
	keys = []string{}
	for _, k := range set.Keys {
		keys = append(keys, k.KeyID+"/"+k.Algorithm+"/"+k.Use)
	}
	return keys, w.Header().Get("Cache-Control")
}

// sign asks for a token that lives for so long and returns the kid of what signed, or the error.
func (s *stage) sign(alg, kid string, lives time.Duration) string {
	claims := fmt.Appendf(nil, `{"exp":%d}`, time.Now().Add(lives).Unix())
	reply, err := s.service.SignJWT(s.t.Context(), operator, "ks", &v1.JWTRequest{Claims: claims, Alg: alg, KID: kid})
	if err != nil {
		return err.Error()
	}
	return reply.KID
}

func (s *stage) status() v1.Keyset {
	s.t.Helper()
	k, err := s.service.Keyset(s.t.Context(), operator, "ks")
	if err != nil {
		s.t.Fatal(err)
	}
	return *k
}

const (
	signingKeyset = "  ks: {purpose: jwt, any_issuer: true, keys: [rsa-2048], rotation: {period: 12h}}\n"
	twoSpecs      = "  ks: {purpose: jwt, any_issuer: true, keys: [rsa-2048, p-256]}\n"
	withAlias     = "  ks: {purpose: jwt, any_issuer: true, keys: [rsa-2048], publish: {algorithms: [RS384]}}\n"
	staticKeyset  = "  ks: {purpose: jwt, any_issuer: true, mode: static, static: {rsa: {active: {label: a}}}}\n"
	encKeyset     = "  ks: {purpose: enc, keys: [rsa-2048], max_message_age: 1h}\n"
	another       = "  other: {purpose: raw, keys: [p-256]}\n"
)
