package audit

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"
)

var full = Record{
	Time:      time.Date(2026, 11, 21, 21, 20, 0, 1200, time.FixedZone("CET", 3600)),
	Caller:    Caller{UID: 0, GID: 1001, PID: 4242, Exe: "/usr/bin/o\"p"},
	Operation: "jwt", Keyset: "default", KID: "k-1", Alg: "ES256", Digest: []byte{0xfb, 0xff, 0},
	JTI: "x\n{\u2028\u0085}\xff\x7f", Exp: 1795292400, Outcome: Failed, Reason: "unavailable: the token",
}

func TestLine(t *testing.T) {
	for _, tc := range []struct {
		name string
		r    Record
		want string
	}{
		{"all fields", full, `{"time":"2026-11-21T20:20:00.000001200Z","caller":{"uid":0,"gid":1001,"pid":4242,"exe":"/usr/bin/o\"p"},` +
			`"operation":"jwt","keyset":"default","kid":"k-1","alg":"ES256","digest":"-_8A","jti":"x\u000a{\u2028\u0085}` + "\ufffd" + `\u007f","exp":1795292400,` +
			`"outcome":"failed","reason":"unavailable: the token"}` + "\n"},
		{"few fields", Record{Time: time.Unix(0, 0), Operation: "read", Outcome: Refused},
			`{"time":"1970-01-01T00:00:00.000000000Z","caller":{"uid":0,"gid":0,"pid":0},"operation":"read","outcome":"refused"}` + "\n"},
	} {
		if got := string(tc.r.appendLine(nil)); got != tc.want {
			t.Errorf("%s:\n got %s\nwant %s", tc.name, got, tc.want)
		}
	}
}

func TestLongStringsAreCut(t *testing.T) {
	for _, s := range []string{strings.Repeat("a", 5000), strings.Repeat("a", maxString-1) + "é" + "zz", strings.Repeat("é", 600)} {
		r := Record{JTI: s, Outcome: Granted}
		var back Record
		if err := json.Unmarshal(r.appendLine(nil), &back); err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(back.JTI, "…") || len(back.JTI) > maxString+len("…") || !utf8.ValidString(back.JTI) ||
			strings.ContainsRune(back.JTI, utf8.RuneError) || !strings.HasPrefix(s, strings.TrimSuffix(back.JTI, "…")) {
			t.Errorf("%.20s… became %d bytes: %q", s, len(back.JTI), back.JTI[len(back.JTI)-10:])
		}
	}
	whole := strings.Repeat("a", maxString)
	if got := (&Record{JTI: whole}).appendLine(nil); !bytes.Contains(got, []byte(`"`+whole+`"`)) {
		t.Error("a string of just the limit was cut")
	}
}

// Whatever the strings are, a record is one line, is JSON, and reads back as it was.
func TestLineReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := func(name string) string {
			return rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })).Draw(t, name)
		}
		r := Record{
			Time:      time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "s"), rapid.Int64Range(0, 999999999).Draw(t, "ns")).UTC(),
			Caller:    Caller{UID: rapid.Uint32().Draw(t, "uid"), GID: rapid.Uint32().Draw(t, "gid"), PID: rapid.Int32().Draw(t, "pid"), Exe: text("exe")},
			Operation: text("operation"), Keyset: text("keyset"), KID: text("kid"), Alg: text("alg"),
			Digest: rapid.SliceOf(rapid.Byte()).Draw(t, "digest"), JTI: text("jti"), Exp: rapid.Int64().Draw(t, "exp"),
			Outcome: Outcome(text("outcome")), Reason: text("reason"),
		}
		line := r.appendLine(nil)
		if bytes.IndexByte(line, '\n') != len(line)-1 || !utf8.Valid(line) {
			t.Fatalf("not one line: %q", line)
		}
		var got, want Record
		d := json.NewDecoder(bytes.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&got); err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		std, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(std, &want); err != nil {
			t.Fatal(err)
		}
		a, _ := json.Marshal(got)
		b, _ := json.Marshal(want)
		if !bytes.Equal(a, b) && len(line) < maxString {
			t.Fatalf("got %s\nwant %s", a, b)
		}
	})
}
