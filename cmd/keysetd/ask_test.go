package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"

	v1 "keysetd.example/api/v1"
)

// What tests ask a running daemon, and the token past it.

func (d *daemon) tryCtl(args ...string) (stdout, stderr string, err error) {
	cmd := exec.Command(keysetctl, args...)
	cmd.Env = append(os.Environ(), "KEYSETD_SOCKET="+d.Socket)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	err = cmd.Run()
	return o.String(), e.String(), err
}

// refused runs keysetctl, which is to fail and to say all of this.
func (d *daemon) refused(args []string, says ...string) (stderr string) {
	d.t.Helper()
	out, stderr, err := d.tryCtl(args...)
	if err == nil {
		d.t.Fatalf("keysetctl %v was not refused:\n%s", args, out)
	}
	contains(d.t, fmt.Sprintf("keysetctl %v", args), stderr, says...)
	return stderr
}

// contains checks that a text says all of this.
func contains(t *testing.T, what, text string, says ...string) {
	t.Helper()
	for _, s := range says {
		if !strings.Contains(text, s) {
			t.Errorf("%s: it does not say %q:\n%s", what, s, text)
		}
	}
}

// state of a keyset as callers see it.
func (d *daemon) state(keyset string) (k v1.Keyset) {
	d.t.Helper()
	d.read("/v1/keysets/"+keyset, &k)
	return k
}

// history of a keyset, as far back as it is told.
func (d *daemon) history(keyset string) []v1.Event {
	d.t.Helper()
	var h v1.History
	d.read("/v1/keysets/"+keyset+"/history?limit=1000", &h)
	return h.Events
}

func (d *daemon) read(path string, into any) {
	d.t.Helper()
	status, reply := d.call("GET", path, "")
	b, err := json.Marshal(reply)
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil || status != http.StatusOK {
		d.t.Fatalf("GET %s: %d %v, %v", path, status, reply, err)
	}
}

// in returns the first generation in this state, or one without keys.
func in(k v1.Keyset, state string) v1.Generation {
	for _, g := range k.Generations {
		if g.State == state {
			return g
		}
	}
	return v1.Generation{State: "none"}
}

// kidOf is the kid of a generation's first key.
func kidOf(g v1.Generation) string {
	if len(g.Keys) == 0 {
		return ""
	}
	return g.Keys[0].KID
}

// token asks for a token that expires after so long.
func (d *daemon) token(keyset, alg string, life time.Duration) (status int, reply map[string]any) {
	d.t.Helper()
	return d.call("POST", "/v1/keysets/"+keyset+"/jwt", fmt.Sprintf(`{"alg":%q,"claims":{"exp":%d}}`, alg, time.Now().Add(life).Unix()))
}

// mustToken returns a token and its kid.
func (d *daemon) mustToken(keyset, alg string, life time.Duration) (token, kid string) {
	d.t.Helper()
	status, reply := d.token(keyset, alg, life)
	if status != http.StatusOK {
		d.t.Fatalf("a token of keyset %s by %s: %d %v\n%s", keyset, alg, status, reply, d.logged())
	}
	return reply["token"].(string), reply["kid"].(string)
}

// verifies checks a token by a page.
func verifies(t *testing.T, token string, page jose.JSONWebKeySet) {
	t.Helper()
	_, err := jwt.Parse(token, func(tok *jwt.Token) (any, error) {
		keys := page.Key(fmt.Sprint(tok.Header["kid"]))
		switch {
		case len(keys) != 1:
			return nil, fmt.Errorf("%d keys of kid %v in %v", len(keys), tok.Header["kid"], kids(page))
		case keys[0].Algorithm != "" && keys[0].Algorithm != tok.Method.Alg():
			return nil, fmt.Errorf("the key is for %s", keys[0].Algorithm)
		}
		return keys[0].Key, nil
	})
	if err != nil {
		t.Errorf("%s: %v", token, err)
	}
}

// privateKeys are the CKA_IDs of the private keys on the token, in hex, as OpenSC's tool sees them; but for
// those of the reserved keyset audit, which every installation has.
func (s *site) privateKeys() []string { return s.objects("privkey") }

func (s *site) objects(kind string) (ids []string) {
	s.t.Helper()
	out := s.tool("pkcs11-tool", "--module", softhsm, "--token-label", "e2e", "--login", "--pin", pin, "--list-objects", "--type", kind)
	label := "" // comes before the ID, if there is one
	for line := range strings.Lines(out) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch {
		case name == "label":
			label = value
		case name == "ID":
			if !strings.Contains(label, "/audit/") {
				ids = append(ids, strings.TrimSpace(value))
			}
			label = ""
		}
	}
	slices.Sort(ids)
	return ids
}
