package jwks_test

import (
	"bytes"
	"crypto"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
	"pgregory.net/rapid"

	"keysetd.example/internal/jwa"
	"keysetd.example/internal/keyspec"
	"keysetd.example/jwks"
	"keysetd.example/jwks/x5c"
)

// published is the public side of this run's key of a spec, named by its thumbprint.
func published(t testing.TB, spec keyspec.Spec, withChain bool) jwks.Key {
	t.Helper()
	signer := key(t, spec)
	kid, err := jwks.KeyID(signer.Public())
	if err != nil {
		t.Fatal(err)
	}
	k := jwks.Key{KID: kid, Public: signer.Public(), Use: jwks.Signature}
	if withChain {
		k.Chain, err = x5c.SelfSigned(x5c.Request{
			Subject:    x5c.Subject{Organization: "Example", Country: "CH"},
			CommonName: x5c.CommonName("default", kid),
			NotBefore:  time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		}, signer)
		if err != nil {
			t.Fatal(err)
		}
	}
	return k
}

func publishedAll(t testing.TB) []jwks.Key {
	t.Helper()
	var keys []jwks.Key
	for _, spec := range keyspec.All() {
		keys = append(keys, published(t, spec, true))
	}
	return keys
}

// body is what the world gets of a page.
func body(t rapid.TB, page *jwks.Page) []byte {
	t.Helper()
	set, err := jwks.NewSet([]jwks.Keyset{{Name: "k", JWKS: page}})
	if err != nil {
		t.Fatal(err)
	}
	door := jwks.NewPages(func() bool { return true })
	door.Swap(set)
	rec := httptest.NewRecorder()
	door.ServeHTTP(rec, httptest.NewRequest("GET", "/keysets/k/jwks.json", nil))
	if rec.Code != http.StatusOK {
		t.Fatalf("status %d", rec.Code)
	}
	return rec.Body.Bytes()
}

func document(t testing.TB, keys []jwks.Key, opts jwks.Options) []byte {
	t.Helper()
	page, err := jwks.NewDocument(keys, opts)
	if err != nil {
		t.Fatal(err)
	}
	return body(t, page)
}

func TestDocumentReadByGoJose(t *testing.T) {
	keys := publishedAll(t)
	for _, x5t := range []bool{false, true} {
		doc := document(t, keys, jwks.Options{X5T: x5t, MaxAge: time.Minute})
		var set jose.JSONWebKeySet
		if err := json.Unmarshal(doc, &set); err != nil {
			t.Fatal(err)
		}
		if len(set.Keys) != len(keys) {
			t.Fatalf("%d keys, want %d", len(set.Keys), len(keys))
		}
		for i, got := range set.Keys {
			want := keys[i]
			spec, err := keyspec.Of(want.Public)
			if err != nil {
				t.Fatal(err)
			}
			if !got.Valid() || !got.IsPublic() || !want.Public.(interface{ Equal(crypto.PublicKey) bool }).Equal(got.Key) {
				t.Errorf("%s: read as another key", spec)
			}
			alg := ""
			if !spec.RSA() {
				alg = string(jwa.ForSpec(spec)[0])
			}
			if got.KeyID != want.KID || got.Use != "sig" || got.Algorithm != alg {
				t.Errorf("%s: kid %q use %q alg %q", spec, got.KeyID, got.Use, got.Algorithm)
			}
			if len(got.Certificates) != 1 || !bytes.Equal(got.Certificates[0].Raw, want.Chain[0]) {
				t.Errorf("%s: x5c is not the chain", spec)
			}
			sum1, sum256 := sha1.Sum(want.Chain[0]), sha256.Sum256(want.Chain[0])
			if !bytes.Equal(got.CertificateThumbprintSHA256, sum256[:]) {
				t.Errorf("%s: x5t#S256 %x", spec, got.CertificateThumbprintSHA256)
			}
			if x5t != bytes.Equal(got.CertificateThumbprintSHA1, sum1[:]) {
				t.Errorf("%s: x5t %x, X5T: %v", spec, got.CertificateThumbprintSHA1, x5t)
			}
		}
	}
}

// Members of each entry, read without go-jose.
func TestDocumentMembers(t *testing.T) {
	for _, tc := range []struct {
		spec  keyspec.Spec
		chain bool
		opts  jwks.Options
		want  []string // for each entry, sorted
	}{
		{keyspec.RSA2048, false, jwks.Options{X5T: true}, []string{"e kid kty n use"}},
		{keyspec.RSA2048, true, jwks.Options{X5T: true}, []string{"e kid kty n use x5c x5t x5t#S256"}},
		{keyspec.RSA2048, true, jwks.Options{Algorithms: []jose.SignatureAlgorithm{jose.RS384}}, []string{"e kid kty n use x5c x5t#S256", "alg e kid kty n use x5c x5t#S256"}},
		{keyspec.P521, true, jwks.Options{X5T: true}, []string{"alg crv kid kty use x x5c x5t x5t#S256 y"}},
		{keyspec.Ed25519, false, jwks.Options{}, []string{"alg crv kid kty use x"}},
	} {
		tc.opts.MaxAge = time.Minute
		var set struct{ Keys []map[string]any }
		if err := json.Unmarshal(document(t, []jwks.Key{published(t, tc.spec, tc.chain)}, tc.opts), &set); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, entry := range set.Keys {
			got = append(got, strings.Join(slices.Sorted(maps.Keys(entry)), " "))
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s, chain %v: members %q, want %q", tc.spec, tc.chain, got, tc.want)
		}
	}
}

func TestDocumentExact(t *testing.T) {
	k := jwks.Key{KID: "static <1>", Public: rfc8037Key(t), Use: jwks.Signature}
	want := `{"keys":[{"use":"sig","kty":"OKP","kid":"static \u003c1\u003e","crv":"Ed25519","alg":"EdDSA","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`
	if got := document(t, []jwks.Key{k}, jwks.Options{MaxAge: time.Minute}); string(got) != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if got := document(t, nil, jwks.Options{MaxAge: time.Minute}); string(got) != `{"keys":[]}` {
		t.Errorf("no keys: %s", got)
	}
}

func TestDocumentRefuses(t *testing.T) {
	p256, ed := published(t, keyspec.P256, true), published(t, keyspec.Ed25519, true)
	rsaKey := published(t, keyspec.RSA2048, false)
	type test struct {
		keys []jwks.Key
		opts jwks.Options
		want string
	}
	tests := map[string]test{
		"the same key, two uses":  {[]jwks.Key{p256, with(p256, func(k *jwks.Key) { k.Use = jwks.Encryption })}, minute, "would stand in it twice"},
		"the same kid twice":      {[]jwks.Key{p256, with(ed, func(k *jwks.Key) { k.KID = p256.KID })}, minute, "would stand in it twice"},
		"the kid of an algorithm": {[]jwks.Key{with(p256, func(k *jwks.Key) { k.KID = rsaKey.KID + "-RS384" }), rsaKey}, jwks.Options{MaxAge: time.Minute, Algorithms: []jose.SignatureAlgorithm{jose.RS384}}, "-RS384\" would stand in it twice"},
		"an algorithm twice":      {[]jwks.Key{rsaKey}, jwks.Options{MaxAge: time.Minute, Algorithms: []jose.SignatureAlgorithm{jose.RS384, jose.RS384}}, "would stand in it twice"},
		"no kid":                  {[]jwks.Key{with(p256, func(k *jwks.Key) { k.KID = "" })}, minute, "kid is empty"},
		"no use":                  {[]jwks.Key{with(p256, func(k *jwks.Key) { k.Use = "" })}, minute, `use ""`},
		"another use":             {[]jwks.Key{with(p256, func(k *jwks.Key) { k.Use = "ver" })}, minute, `use "ver"`},
		"Ed25519 for encryption":  {[]jwks.Key{with(ed, func(k *jwks.Key) { k.Use = jwks.Encryption })}, minute, "nobody can encrypt to a key of spec ed25519"},
		"another key's chain":     {[]jwks.Key{with(p256, func(k *jwks.Key) { k.Chain = ed.Chain })}, minute, "for another key"},
		"a broken chain":          {[]jwks.Key{with(p256, func(k *jwks.Key) { k.Chain = [][]byte{{1}} })}, minute, "parsing certificate"},
		"no max-age":              {[]jwks.Key{p256}, jwks.Options{}, "shorter than 1s"},
		"a short max-age":         {[]jwks.Key{p256}, jwks.Options{MaxAge: time.Second - 1}, "shorter than 1s"},
	}
	for name, pub := range notPublished(t) {
		tests[name] = test{[]jwks.Key{{KID: "k", Public: pub, Use: jwks.Signature}}, minute, ""}
	}
	for name, tc := range tests {
		if page, err := jwks.NewDocument(tc.keys, tc.opts); page != nil || err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, tc.want)
		}
	}
}

// Whatever the keys: the same bytes each time, entries in the order given, nothing private.
func TestDocumentProperties(t *testing.T) {
	pool := publishedAll(t)
	rapid.Check(t, func(t *rapid.T) {
		keys := slices.Clone(rapid.Permutation(pool).Draw(t, "keys"))[:rapid.IntRange(0, len(pool)).Draw(t, "n")]
		for i := range keys {
			keys[i].KID = rapid.StringN(0, 8, -1).Draw(t, "name") + "/" + keys[i].KID
			if rapid.Bool().Draw(t, "no chain") {
				keys[i].Chain = nil
			}
		}
		opts := jwks.Options{
			Algorithms: rapid.SliceOfDistinct(rapid.SampledFrom(jwa.All()), rapid.ID).Draw(t, "algorithms"),
			X5T:        rapid.Bool().Draw(t, "x5t"), MaxAge: time.Minute,
		}
		first, err := jwks.NewDocument(keys, opts)
		if err != nil {
			t.Fatal(err)
		}
		second, err := jwks.NewDocument(keys, opts)
		if err != nil {
			t.Fatal(err)
		}
		doc := body(t, first)
		if !bytes.Equal(doc, body(t, second)) {
			t.Fatal("the same keys gave other bytes")
		}
		var want, got []string
		for _, k := range keys {
			spec, err := keyspec.Of(k.Public)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range jwks.Entries(k.KID, spec, opts.Algorithms) {
				want = append(want, e.KID)
			}
		}
		var set struct{ Keys []map[string]any }
		if err := json.Unmarshal(doc, &set); err != nil {
			t.Fatal(err)
		}
		for _, entry := range set.Keys {
			got = append(got, entry["kid"].(string))
			for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv", "key_ops"} {
				if _, ok := entry[private]; ok {
					t.Fatalf("entry %v has the member %q", entry["kid"], private)
				}
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("kids %q, want %q", got, want)
		}
	})
}

// Tokens of every algorithm are verified by golang-jwt with what it finds in the document, under
// the kid that KIDFor gives, with and without entries for each algorithm.
func TestDocumentVerifiesTokens(t *testing.T) {
	keys := publishedAll(t)
	for _, algs := range [][]jose.SignatureAlgorithm{nil, jwa.All()} {
		doc := document(t, keys, jwks.Options{Algorithms: algs, MaxAge: time.Minute})
		var set jose.JSONWebKeySet
		if err := json.Unmarshal(doc, &set); err != nil {
			t.Fatal(err)
		}
		for i, spec := range keyspec.All() {
			for _, alg := range jwa.ForSpec(spec) {
				token := jwt.NewWithClaims(jwt.GetSigningMethod(string(alg)), jwt.MapClaims{"sub": "someone"})
				token.Header["kid"] = jwks.KIDFor(keys[i].KID, alg, algs)
				signed, err := token.SignedString(key(t, spec))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := jwt.Parse(signed, func(token *jwt.Token) (any, error) {
					found := set.Key(token.Header["kid"].(string))
					if len(found) != 1 || found[0].Algorithm != "" && found[0].Algorithm != token.Method.Alg() {
						return nil, jwt.ErrTokenUnverifiable
					}
					return found[0].Key, nil
				}); err != nil {
					t.Errorf("%s with %s, algorithms %v: %v", alg, spec, algs, err)
				}
			}
		}
	}
}

// x5c is base64 with padding and not base64url (RFC 7517 §4.7).
func TestDocumentX5CEncoding(t *testing.T) {
	k := published(t, keyspec.P256, true)
	doc := document(t, []jwks.Key{k}, jwks.Options{MaxAge: time.Minute})
	if want := `"x5c":["` + base64.StdEncoding.EncodeToString(k.Chain[0]) + `"]`; !strings.Contains(string(doc), want) {
		t.Errorf("%s\ndoes not contain %s", doc, want)
	}
}

// A key of two generations stands once, where it came first.
func TestDocumentSameKeyTwice(t *testing.T) {
	p256, ed, rsaKey := published(t, keyspec.P256, true), published(t, keyspec.Ed25519, false), published(t, keyspec.RSA2048, true)
	opts := jwks.Options{Algorithms: []jose.SignatureAlgorithm{jose.RS384}, MaxAge: time.Minute}
	once := document(t, []jwks.Key{p256, rsaKey, ed}, opts)
	later := rsaKey
	later.Chain = nil
	if twice := document(t, []jwks.Key{p256, rsaKey, p256, later, ed, ed}, opts); !bytes.Equal(once, twice) {
		t.Errorf("%s\nwant\n%s", twice, once)
	}
}
