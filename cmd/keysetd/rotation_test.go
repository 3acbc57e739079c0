package main_test

import (
	"crypto"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
)

// TestLive rotates every eight seconds under four callers for a minute, before a verifier that
// believes its copy of the page for exactly as long as it is told: no caller is refused,
// and no token fails to verify, neither when it is received nor as long as it is valid.
func TestLive(t *testing.T) {
	t.Parallel()
	const (
		long  = time.Minute
		skew  = 800 * time.Millisecond         // a tenth of the lead, by default
		life  = 8*time.Second - skew           // retain less that
		pace  = 50 * time.Millisecond          // of each caller
		least = 4 * int(long/(4*pace)) * 3 / 4 // tokens, or the machine was too busy to show anything
	)
	s := newSite(t)
	s.configure(`
  default:
    purpose: jwt
    keys: [p-256]
    any_issuer: true
    rotation: {period: 8s}
    publish: {max_age: 2s}
`)
	s.mustKeysetd("init", "-c", s.path("keysetd.yaml"))
	d := s.serve()
	v := &verifier{url: "http://" + d.Public + "/keysets/default/jwks.json"}
	// What was signed by which key is looked at again when it expires.
	type signature struct {
		exp int64
		kid string
	}
	var (
		mu      sync.Mutex
		pending = map[signature]crypto.PublicKey{}
		seen    = map[string]bool{}
		signed  atomic.Int64
		callers sync.WaitGroup
	)
	caller := func() {
		c := d.client()
		defer c.CloseIdleConnections()
		for begun, n := time.Now(), 0; time.Since(begun) < long && !t.Failed(); n++ {
			time.Sleep(time.Until(begun.Add(time.Duration(n) * pace)))
			exp := time.Now().Add(life).Unix()
			token, err := askToken(c, fmt.Sprintf(`{"claims":{"exp":%d}}`, exp))
			if err != nil {
				t.Errorf("refused: %v", err)
				return
			}
			kid, key, err := v.verify(token)
			if err != nil {
				t.Errorf("%v after it began: %v", time.Since(begun), err)
				return
			}
			mu.Lock()
			pending[signature{exp, kid}], seen[kid] = key, true
			mu.Unlock()
			signed.Add(1)
		}
	}
	for range 4 {
		callers.Go(caller)
	}
	over := make(chan struct{})
	go func() { callers.Wait(); close(over) }()
	judged, late := 0, 0
	for left := 1; left > 0; {
		time.Sleep(50 * time.Millisecond)
		mu.Lock()
		left = len(pending)
		var due []signature
		for one := range pending {
			if !time.Now().Before(time.Unix(one.exp, 0)) {
				due = append(due, one)
			}
		}
		for _, one := range due {
			key := pending[one]
			delete(pending, one)
			page, err := v.page()
			switch {
			case time.Since(time.Unix(one.exp, 0)) > skew:
				late++ // this says nothing any more: no verifier's clock is so far behind
			case err != nil:
				t.Errorf("at the end of a token: %v", err)
			default:
				judged++
				if keys := page.Key(one.kid); len(keys) != 1 || !equal(keys[0].Key, key) {
					t.Errorf("a token of %s is valid until %d and the verifier's page has %v", one.kid, one.exp, kids(page))
				}
			}
		}
		mu.Unlock()
		select {
		case <-over:
		default:
			left = 1
		}
	}
	if got := len(seen) - 1; got < 6 {
		t.Errorf("%d rotations in %v, want 6 at least", got, long)
	}
	if signed.Load() < int64(least) || judged < 10*late || judged < 60 {
		t.Errorf("%d tokens were signed, and by second and key %d looked at when they expired and %d too late; this shows too little", signed.Load(), judged, late)
	}
	t.Logf("%d tokens by %d keys; %d pages fetched", signed.Load(), len(seen), v.fetched)
}

// askToken asks for a token of keyset default.
func askToken(c *http.Client, body string) (string, error) {
	resp, err := c.Post("http://localhost/v1/keysets/default/jwt", "application/json", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var reply map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&reply); err != nil || resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s %v %w", resp.Status, reply, err)
	}
	return reply["token"].(string), nil
}

// verifier has a copy of a page and fetches it again when the copy is stale, and for no other reason.
type verifier struct {
	url string

	mu      sync.Mutex
	set     jose.JSONWebKeySet
	until   time.Time
	fetched int
}

// page is what the verifier goes by now.
func (v *verifier) page() (jose.JSONWebKeySet, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if time.Now().Before(v.until) {
		return v.set, nil
	}
	resp, err := http.Get(v.url)
	if err != nil {
		return v.set, err
	}
	defer resp.Body.Close()
	var set jose.JSONWebKeySet
	if err := json.NewDecoder(resp.Body).Decode(&set); err != nil {
		return v.set, err
	}
	v.set, v.until, v.fetched = set, time.Now().Add(maxAge(resp)), v.fetched+1
	return v.set, nil
}

// maxAge of an answer (RFC 9111 §5.2.2.1); 0 where it has none.
func maxAge(resp *http.Response) time.Duration {
	var seconds int
	fmt.Sscanf(resp.Header.Get("Cache-Control"), "public, max-age=%d", &seconds)
	return time.Duration(seconds) * time.Second
}

// verify checks a token by the page, and returns by which key it is good.
func (v *verifier) verify(token string) (kid string, key crypto.PublicKey, err error) {
	page, err := v.page()
	if err != nil {
		return "", nil, err
	}
	_, err = jwt.Parse(token, func(tok *jwt.Token) (any, error) {
		kid = fmt.Sprint(tok.Header["kid"])
		keys := page.Key(kid)
		if len(keys) != 1 {
			return nil, fmt.Errorf("kid %s is not on the verifier's page, which has %v", kid, kids(page))
		}
		key = keys[0].Key
		return key, nil
	}, jwt.WithValidMethods([]string{"ES256"}), jwt.WithExpirationRequired())
	return kid, key, err
}

func equal(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// TestOneKeyManyAlgorithms: an RSA key stands on the page once more for each algorithm under a kid of
// its own, and a token carries the kid of its algorithm; one that is new is pending first.
func TestOneKeyManyAlgorithms(t *testing.T) {
	t.Parallel()
	const published = `
  default:
    purpose: jwt
    any_issuer: true
    keys: [rsa-2048]
    rotation: {period: 1h, lead: 3s, retain: 3s, clock_skew: 300ms}
    publish: {max_age: 1s, algorithms: [RS256, PS256, RS384]}
    max_token_lifetime: 2700ms
`
	const life = 2500 * time.Millisecond
	s, d := begin(t, published)
	k := d.state("default")
	active, pending := kidOf(in(k, "active")), kidOf(in(k, "pending"))
	want := []string{}
	for _, kid := range []string{active, pending} {
		want = append(want, kid, kid+"-RS256", kid+"-PS256", kid+"-RS384")
	}
	page := d.jwks("default")
	if got := kids(page); !slices.Equal(got, want) {
		t.Fatalf("the page has\n%v\nwant\n%v", got, want)
	}
	for _, entry := range page.Keys {
		_, alg, _ := strings.Cut(entry.KeyID[len(active):], "-")
		if entry.Algorithm != alg || !equal(entry.Key, page.Key(entry.KeyID[:len(active)])[0].Key) {
			t.Errorf("%s: alg %q", entry.KeyID, entry.Algorithm)
		}
	}
	for alg, kid := range map[string]string{
		"RS256": active + "-RS256", "PS256": active + "-PS256", "RS384": active + "-RS384", "RS512": active, "PS384": active,
	} {
		token, got := d.mustToken("default", alg, life)
		if got != kid {
			t.Errorf("%s is signed as %s, want %s", alg, got, kid)
		}
		verifies(t, token, page)
	}
	if status, reply := d.call("POST", "/v1/keysets/default/jwt", fmt.Sprintf(`{"kid":%q,"alg":"RS384","claims":{"exp":%d}}`, active+"-RS256", time.Now().Unix()+2)); status == http.StatusOK {
		t.Errorf("RS384 under the kid for RS256: %v", reply)
	}

	// One more, and one less.
	s.configure(strings.Replace(published, "[RS256, PS256, RS384]", "[RS256, PS256, PS512]", 1))
	contains(t, "reload", d.ctl("reload"), "PS512", "RS384", "takes effect in ")
	was := time.Now()
	eventually(t, 2*time.Second, "RS384 is signed under the key's own kid, and stays on the page", func() bool {
		_, kid := d.mustToken("default", "RS384", life)
		return kid == active && slices.Contains(kids(d.jwks("default")), active+"-RS384")
	})
	eventually(t, 20*time.Second, "PS512 has a kid of its own", func() bool {
		before := d.jwks("default")
		token, kid := d.mustToken("default", "PS512", life)
		verifies(t, token, before)
		if kid != active && time.Since(was) < 3*time.Second {
			t.Fatalf("signed as %s %v after the reload; lead is 3s", kid, time.Since(was))
		}
		return kid == active+"-PS512"
	})
	eventually(t, 20*time.Second, "RS384 leaves the page", func() bool {
		return !slices.Contains(kids(d.jwks("default")), active+"-RS384")
	})
	if gone := time.Since(was); gone < 3*time.Second {
		t.Errorf("RS384 left the page after %v; retain is 3s", gone)
	}
	token, _ := d.mustToken("default", "RS384", life)
	verifies(t, token, d.jwks("default"))

	// Revoked by any of its kids, it is gone under all.
	d.ctl("revoke", active+"-PS256", "--reason", "r", "--accept-unpublished")
	for _, kid := range kids(d.jwks("default")) {
		if strings.HasPrefix(kid, active) {
			t.Errorf("the page has %s, whose key is revoked", kid)
		}
	}
}
