package main

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "keysetd.example/api/v1"
	"keysetd.example/internal/keyspec"
	"keysetd.example/signing/signingtest"
)

// TestRevoke: the keyset is found by the kid, and all that was said arrives.
func TestRevoke(t *testing.T) {
	w, _ := serve(t)
	all := w.Keysets() // which share their keys
	one := all[0]
	one.Status.Revoked = []v1.RevokedKey{{KID: "-gone"}}
	w.Service.Swap(w.StateOf(t, slices.Replace(slices.Clone(all), 0, 3, one), signingtest.All(uint32(os.Getuid()))))
	kid := w.KIDs[keyspec.RSA2048]
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--reason", "a leak", "--", kid}, "revoke default {Act:{By:" + by() + " Why:a leak KID:" + kid + "} All:false Through:0 AcceptUnpublished:false KeepObject:false}"},
		{[]string{"--reason", "r", "--accept-unpublished", "--", kid + "-RS384"}, "revoke default {Act:{By:" + by() + " Why:r KID:" + kid + "-RS384} All:false Through:0 AcceptUnpublished:true KeepObject:false}"},
		{[]string{"--reason", "r", "--keep-object", "--", "-gone"}, "revoke default {Act:{By:" + by() + " Why:r KID:-gone} All:false Through:0 AcceptUnpublished:false KeepObject:true}"},
		{[]string{"other", "--reason", "r", "--keyset", "enc"}, "revoke enc {Act:{By:" + by() + " Why:r KID:other} All:false Through:0 AcceptUnpublished:false KeepObject:false}"},
		{[]string{"--all", "--reason", "r", "--keyset", "default"}, "revoke default {Act:{By:" + by() + " Why:r KID:} All:true Through:1 AcceptUnpublished:false KeepObject:false}"},
	} {
		mustCtl(t, "", append([]string{"revoke"}, test.args...)...)
		asked(t, w, test.want)
	}

	w.Service.Swap(w.StateOf(t, all, signingtest.All(uint32(os.Getuid()))))
	before := len(w.Operator.Calls())
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--reason", "r", "--", kid}, 1, "is in the keysets any, default, raw; name the one that is meant with --keyset"},
		{[]string{"--reason", "r", "--", kid + "-ES256"}, 1, "no keyset that you may read has a key " + kid + "-ES256"},
		{[]string{"--reason", "r", "--", kid + "x"}, 1, "no keyset that you may read"},
		{[]string{"--", kid}, 2, "--reason is missing"},
		{[]string{"--reason", "r"}, 2, "which key?"},
		{[]string{"--all", "--reason", "r"}, 2, "name it with --keyset"},
		{[]string{"--all", "--keyset", "raw", "--reason", "r", "--", kid}, 2, "leave out the kid"},
		{[]string{"--reason", "r", "--", kid, kid}, 2, "2 arguments do not fit"},
		{[]string{"-xyz", "--reason", "r"}, 2, "a kid that begins with - goes last, behind --"},
	} {
		_, err := ctl(t, "", append([]string{"revoke"}, test.args...)...)
		if err == nil || exitCode(err) != test.code || !strings.Contains(oneLine(err), test.want) {
			t.Errorf("%q: %v, want %d %s", test.args, err, test.code, test.want)
		}
	}
	if n := len(w.Operator.Calls()) - before; n != 0 {
		t.Errorf("%d acts were done", n)
	}
}

func TestPrintRevoked(t *testing.T) {
	for name, test := range map[string]struct {
		reply v1.ActReply
		want  string
	}{
		"the next one signs": {
			v1.ActReply{
				Keyset:        v1.Keyset{Name: "default", Ready: true, Generations: []v1.Generation{{Number: 2, State: "active", Since: noon}}},
				Revoked:       []v1.RevokedKey{{KID: "k", At: noon, By: "uid 0", Reason: "a leak"}},
				AcceptedUntil: noon.Add(330 * time.Second), RefusedUntil: noon.Add(time.Minute),
			},
			`key k: revoked now (2026-11-21T12:00:00Z) by uid 0: a leak; its object on the token goes too
cached pages may still show a revoked key as good; the last one ends in 5m30s (2026-11-21T12:05:30Z)
cached pages may lack the key that signs now, and who holds one refuses it; the last one ends in 1m0s (2026-11-21T12:01:00Z)
keyset default: generation 2 is active, since now (2026-11-21T12:00:00Z)
`,
		},
		"none signs, and long ago": {
			v1.ActReply{
				Keyset:        v1.Keyset{Name: "default", Problem: "generation 2 may sign from 15:00"},
				Revoked:       []v1.RevokedKey{{KID: "k", At: noon.Add(-time.Hour), By: "uid 0", Reason: "a leak", Kept: true}},
				AcceptedUntil: noon.Add(-time.Minute),
			},
			`key k: revoked 1h0m ago (2026-11-21T11:00:00Z) by uid 0: a leak; its object is left on the token
no cached page shows a revoked key as good
keyset default: no generation is active
keyset default: generation 2 may sign from 15:00
`,
		},
	} {
		var out bytes.Buffer
		if err := printRevoked(&out, &test.reply, noon); err != nil || out.String() != test.want {
			t.Errorf("%s: %v\n%s\nwant\n%s", name, err, out.String(), test.want)
		}
	}
}
