package daemon

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"keysetd.example/hsm"
	"keysetd.example/hsm/wire"
	"keysetd.example/rotation/store"
)

// TestOutageProvesNothing: that a token is away says nothing of a key on it (invariant 5).
func TestOutageProvesNothing(t *testing.T) {
	for err, want := range map[error]bool{
		hsm.ErrUnavailable: true, hsm.ErrOverloaded: true, hsm.ErrClosed: true, context.Canceled: true, context.DeadlineExceeded: true,
		hsm.ErrBadSignature: false, hsm.ErrKeyNotFound: false, hsm.ErrTemplate: false, hsm.ErrUnsupported: false, hsm.ErrWrongKey: false,
		&wire.Error{Code: 0x63, Function: "C_SignInit"}: false,
	} {
		if got := isOutage(fmt.Errorf("token hsm: %w", err)); got != want {
			t.Errorf("%v is an outage: %v", err, got)
		}
	}
	if isOutage(nil) {
		t.Error("nil is an outage")
	}
}

func TestWhoseStore(t *testing.T) {
	const one, other, planted = "11111111111111111111111111111111", "22222222222222222222222222222222", "33333333333333333333333333333333"
	path := filepath.Join(t.TempDir(), "state.db")
	if _, err := store.WriteRevocations(store.RevocationsPath(path), other, nil); err != nil {
		t.Fatal(err)
	}
	key := func(installation, keyset string, private bool) hsm.Object {
		return hsm.Object{Label: "keysetd/" + installation + "/" + keyset + "/1/p-256", Private: private, Public: true}
	}
	mine := []hsm.Object{key(one, "b", true), key(one, "a", true), key(one, "a", true), {Label: "backup", Private: true}, key("short", "a", true), key(planted, "a", false)}
	both := append([]hsm.Object{key(other, "c", true)}, mine...)
	for _, c := range []struct {
		objects     []hsm.Object
		asked, want string
		says        []string
	}{
		{mine, "", one, nil},
		{mine, one, one, nil},
		{mine, other, "", []string{other, "no token holds a private key of it", one + " (3 keys, of keysets a, b)"}},
		{mine, planted, "", []string{planted}},
		{both, "", "", []string{"several installations", one + " (3 keys, of keysets a, b) and " + other + " (1 keys, of keysets c)", "revoked.json is of " + other, "--installation"}},
		{both, other, other, nil},
		{[]hsm.Object{key(planted, "a", false)}, "", "", []string{"nothing to recover", "keysetd init"}},
		{nil, one, "", []string{"nothing to recover"}},
	} {
		got, err := whoseStore(map[string][]hsm.Object{"hsm": c.objects, "empty": nil}, c.asked, path)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("asked for %q among %d: %q, %v", c.asked, len(c.objects), got, err)
		}
		for _, s := range c.says {
			if err != nil && !strings.Contains(err.Error(), s) {
				t.Errorf("%v does not say %q", err, s)
			}
		}
	}
}
