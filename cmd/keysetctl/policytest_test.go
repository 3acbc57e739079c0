package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	v1 "keysetd.example/api/v1"
)

func TestPolicyTest(t *testing.T) {
	serve(t)
	uid, gid := fmt.Sprint(os.Getuid()), fmt.Sprint(os.Getgid())
	exp := time.Now().Add(time.Minute).Unix()
	for line, want := range map[string]string{ // what is printed, or after "!" the error
		"--uid " + uid + " --gid " + gid + " --operation jwt --keyset default":                                                      "granted by caller test",
		"--uid " + uid + " --gid " + gid + " --operation admin":                                                                     "granted by caller test",
		"--user root --operation read --keyset default":                                                                             "granted ",
		"--uid " + uid + " --gid 0 --operation client-assertion --keyset default --client-id a --audience https://as --lifetime 9s": "granted by caller test",
		"--uid " + uid + " --gid 0 --operation client-assertion --keyset default --client-id a":                                     "!not granted: bad_request: audience is missing",
		"--uid " + uid + " --gid 0 --operation sign --keyset default":                                                               "!not granted: purpose_mismatch: keyset default has purpose jwt",
		"--uid 4711 --gid 4711 --operation jwt --keyset default":                                                                    "!not granted: uid 4711 is not granted operation jwt on keyset default",
		"--uid " + uid + " --gid 0 --operation jwt --keyset default --claims " + fmt.Sprintf(`{"exp":%d}`, exp):                     "granted by caller test",
	} {
		for _, form := range []string{"", "--json "} {
			out, err := ctl(t, "", strings.Fields(form+"policy test "+line)...)
			refusal, refused := strings.CutPrefix(want, "!")
			if refused {
				if err == nil || exitCode(err) != 1 || !strings.HasPrefix(err.Error(), refusal) {
					t.Errorf("%s%s: %v, want %s", form, line, err, refusal)
				}
				if form != "" && !strings.Contains(out, `"granted": false`) || form == "" && out != "" {
					t.Errorf("%s%s: printed %q", form, line, out)
				}
				continue
			}
			if err != nil || form == "" && !strings.HasPrefix(out, want) || form != "" && !strings.Contains(out, `"granted": true`) {
				t.Errorf("%s%s: %q, %v; want %s", form, line, out, err, want)
			}
		}
	}
}

// A usage error names what is missing, and no more; a number that is none is not cut down to one.
func TestPolicyTestUsage(t *testing.T) {
	const nobody = "4294967294"
	for line, want := range map[string]string{
		"":                                "missing: --uid or --user, --operation, --keyset; the usage is: ",
		"--uid 1":                         "missing: --operation, --keyset; the usage is: ",
		"--operation jwt --keyset k":      "missing: --uid or --user; the usage is: ",
		"--uid 0 --gid 0 --operation jwt": "missing: --keyset; the usage is: ",
		"--operation admin":               "missing: --uid or --user; the usage is: ",
		"--uid 0 --user root --operation jwt --keyset k":                 "--uid and --user exclude each other",
		"--user no-such-user-here --operation jwt --keyset k":            "--user no-such-user-here: this system's user database has no such user",
		"--uid " + nobody + " --operation jwt --keyset k":                "missing: --gid; this system's user database has no uid " + nobody,
		"--uid 0 --gid 0 --groups 4294967296 --operation jwt --keyset k": "--groups: 4294967296 is no number of a group",
		"--uid 0 --gid 0 --operation jwt --keyset k --claims {":          "--claims is not JSON",
	} {
		_, err := ctl(t, "", strings.Fields("policy test "+line)...)
		if err == nil || exitCode(err) != 2 || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", line, err, want)
		}
	}
}

// When to ask again is said once, and rounded up.
func TestWhenIsSaidOnce(t *testing.T) {
	for _, test := range []struct {
		e    v1.Error
		want string
	}{
		{v1.Error{Detail: "slow down; ask again in 2s", RetryAfterMillis: 2000}, "slow down; ask again in 2s"},
		{v1.Error{Detail: "not yet; ask again from 2026-01-01T00:00:00Z on", RetryAfterMillis: 2000}, "not yet; ask again from 2026-01-01T00:00:00Z on"},
		{v1.Error{Detail: "not yet", RetryAfterMillis: 1001}, "not yet; again in 2s"},
		{v1.Error{Detail: "not yet", RetryAfterMillis: 3600_000 + 1}, "not yet; again in 1h1m"},
		{v1.Error{Detail: "not yet", RetryAfterMillis: 24*3600_000 + 1}, "not yet; again in 1d1h"},
		{v1.Error{Detail: "not yet", RetryAfterMillis: 999}, "not yet"},
	} {
		test.e.Reason = v1.NotYet
		if got := oneLine(&test.e); got != "keysetctl: not_yet: "+test.want {
			t.Errorf("%s, want %s", got, test.want)
		}
	}
}
