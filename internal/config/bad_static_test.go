package config

import (
	"fmt"
	"strings"
	"testing"
)

func TestBadStatic(t *testing.T) {
	good := strings.Replace(goodStatic, "    certificate: {}\n", "", 1)
	file := chainPEM(t, rsaKey(t))
	for _, tc := range []struct{ old, new, want string }{
		// Static keys.
		{"ed25519: {previous: {id: \"ED\"}}", "rsa-2048: {}", "12:7: keysets.a.static: has a name that is none; a name must be one of rsa, p-256, p-384, p-521, ed25519"},
		{"ed25519: {previous: {id: \"ED\"}}", "p-384:", "12:7: keysets.a.static.p-384: has no value; give it one or leave it out"},
		{"ed25519: {previous: {id: \"ED\"}}", "p-384: {}", "12:7: keysets.a.static.p-384: names no key; give active, previous or both"},
		{"ed25519: {previous: {id: \"ED\"}}", "p-384: my-key", "12:14: keysets.a.static.p-384: must have fields: active, previous"},
		{"ed25519: {previous: {id: \"ED\"}}", "p-384: {next: {label: k}}", "12:15: keysets.a.static.p-384.next: is not a field; the fields here are active, previous"},
		{"{label: my-ec}", "my-ec", "11:23: keysets.a.static.p-256.active: must have fields: label, id, kid, chain"},
		{"{label: my-ec}", "{}", "11:15: keysets.a.static.p-256.active: does not say which key; give its label (CKA_LABEL), its id (CKA_ID) or both"},
		{"{label: my-ec}", "{kid: k}", "11:15: keysets.a.static.p-256.active: does not say which key; give its label (CKA_LABEL), its id (CKA_ID) or both"},
		{"{label: my-ec}", "{label: " + strings.Repeat("l", 65536) + "}", "11:24: keysets.a.static.p-256.active.label: is longer than the 65535 bytes that a key's label may have"},
		{"{label: my-ec}", "{id: " + strings.Repeat("fe", 65536) + "}", "11:24: keysets.a.static.p-256.active.id: is longer than the 65535 bytes that a key's CKA_ID may have"},
		{"{label: my-ec}", "{id: 0102}", `11:28: keysets.a.static.p-256.active.id: must be an even number of hex digits, in quotes, as in "0a1b"`},
		{"{label: my-ec}", `{id: "0a1"}`, `11:28: keysets.a.static.p-256.active.id: must be an even number of hex digits, in quotes, as in "0a1b"`},
		{"{label: my-ec}", `{id: "0x0a"}`, `11:28: keysets.a.static.p-256.active.id: must be an even number of hex digits, in quotes, as in "0a1b"`},
		{"kid: other", `kid: "a b"`, "20:35: keysets.b.static.rsa.active.kid: must be 1 to 128 printable ASCII characters without space, quotes and backslash"},
		{"kid: other", `kid: a"b`, "20:35: keysets.b.static.rsa.active.kid: must be 1 to 128 printable ASCII characters without space, quotes and backslash"},
		{"kid: other", `kid: a'b`, "20:35: keysets.b.static.rsa.active.kid: must be 1 to 128 printable ASCII characters without space, quotes and backslash"},
		{"kid: other", `kid: 'a\b'`, "20:35: keysets.b.static.rsa.active.kid: must be 1 to 128 printable ASCII characters without space, quotes and backslash"},
		{"kid: other", `kid: ü`, "20:35: keysets.b.static.rsa.active.kid: must be 1 to 128 printable ASCII characters without space, quotes and backslash"},
		{"kid: other", "kid: " + strings.Repeat("k", 129), "20:35: keysets.b.static.rsa.active.kid: must be 1 to 128 printable ASCII characters without space, quotes and backslash"},
		{"      rsa: {active: {label: open, kid: other}}\n      p-521: {active: {id: ff}}\n", "      rsa: {previous: {label: open}}\n", "19:5: keysets.b.static: has previous keys only; name at least one that is active"},
		{"    static:\n      rsa: {active: {label: open, kid: other}}\n      p-521: {active: {id: ff}}\n", "", "16:3: keysets.b.static: names no key; name them by type, as in rsa: {active: {label: LABEL}}"},

		// What does not apply to them.
		{"    default_algorithm: RS384\n", "    keys: [p-256]\n", "13:5: keysets.a.keys: does not apply to mode static, whose keys stand under static; leave it out"},
		{"lead: 1d", "period: manual", "15:16: keysets.a.rotation.period: does not apply to mode static, whose keys change when this file does; leave it out"},
		{"    default_algorithm: RS384\n", "    certificate: {issuer: none}\n", "13:5: keysets.a.certificate: does not apply to mode static, whose certificates stand under static, each as the chain of its key; leave it out"},

		// Algorithms: only active keys sign.
		{"default_algorithm: RS384", "default_algorithm: EdDSA", "13:5: keysets.a.default_algorithm: EdDSA needs a key that static does not name; static: [active rsa, p-256] sign with RS256, RS384, RS512, PS256, PS384, PS512, ES256"},
		{"        active: {label: my-rsa, id: \"0a1b\", kid: main, chain: c.pem}\n        previous: {label: old-rsa, kid: was}\n", "        previous: {label: old-rsa, kid: was}\n", "12:5: keysets.a.default_algorithm: RS384 needs a key that static does not name; static: [active p-256] sign with ES256"},
		{"        active: {label: my-rsa, id: \"0a1b\", kid: main, chain: c.pem}\n        previous: {label: old-rsa, kid: was}\n      p-256: {active: {label: my-ec}}\n      ed25519: {previous: {id: \"ED\"}}\n    default_algorithm: RS384\n",
			"        previous: {label: old-rsa, kid: was}\n      p-256: {active: {label: my-ec}}\n", "11:15: keysets.a.publish.algorithms: is for RSA keys, and static names none: [active p-256]"},
		{"[RS256, ES256]", "[EdDSA]", "29:69: callers.svc.algorithms[0]: no keyset that is granted has a key for EdDSA; they sign with RS256, RS384, RS512, PS256, PS384, PS512, ES256"},
		{"keysets: [a, c]", "keysets: [c, b]", "29:69: callers.svc.algorithms[0]: no keyset that is granted has a key for RS256; they sign with none, for their purpose is enc"},

		// Twice.
		{"label: old-rsa", `label: my-rsa, id: "0A1B"`, "10:9: keysets.a.static.rsa.previous: names the same key as keysets.a.static.rsa.active; a key stands in one place only, and a label that several keys have goes with their ids"},
		{"label: old-rsa", "label: my-rsa", "10:9: keysets.a.static.rsa.previous: names the same key as keysets.a.static.rsa.active; a key stands in one place only, and a label that several keys have goes with their ids"},
		{"label: old-rsa", "id: 0a1B", "10:9: keysets.a.static.rsa.previous: names the same key as keysets.a.static.rsa.active; a key stands in one place only, and a label that several keys have goes with their ids"},
		{"label: my-ec", "label: old-rsa, id: 99", "11:44: keysets.a.static.p-256.active.id: must be an even number of hex digits, in quotes, as in \"0a1b\""},
		{"label: my-ec", `label: old-rsa, id: "99"`, "11:15: keysets.a.static.p-256.active: names the same key as keysets.a.static.rsa.previous; a key stands in one place only, and a label that several keys have goes with their ids"},
		{"id: ff", "id: ED, label: any", "21:15: keysets.b.static.p-521.active: names the same key as keysets.a.static.ed25519.previous; a key stands in one place only, and a label that several keys have goes with their ids"},
		{"kid: was", "kid: main", "10:36: keysets.a.static.rsa.previous.kid: is also the kid of keysets.a.static.rsa.active; every key needs a kid of its own"},
		{"kid: other", "kid: was", "20:35: keysets.b.static.rsa.active.kid: is also the kid of keysets.a.static.rsa.previous; every key needs a kid of its own"},
		{"label: my-ec", "label: my-ec, kid: main-PS512", "11:38: keysets.a.static.p-256.active.kid: is also the kid that keysets.a.static.rsa.active has for one of its algorithms (KID-ALG); every key needs a kid of its own"},
		{"kid: main", "kid: other-RS256", "20:35: keysets.b.static.rsa.active.kid: with -RS256, the kid that the key has for that algorithm, it is the kid of keysets.a.static.rsa.active; every key needs a kid of its own"},

		// Keysets that decrypt.
		{"    max_message_age: 8d\n", "", "23:3: keysets.c: max_message_age is missing; say how old a message may be that is to be decrypted"},
		{"    max_message_age: 8d\n", "    max_message_age: 8d\n    issuer: i\n", "28:5: keysets.c.issuer: does not apply to purpose enc, which signs nothing; leave it out"},
		{"    max_message_age: 8d\n", "    max_message_age: 8d\n    any_issuer: false\n", "28:5: keysets.c.any_issuer: does not apply to purpose enc, which signs nothing; leave it out"},
		{"    max_message_age: 8d\n", "    max_message_age: 8d\n    max_token_lifetime: 1h\n", "28:5: keysets.c.max_token_lifetime: does not apply to purpose enc, which signs nothing; leave it out"},
		{"    max_message_age: 8d\n", "    max_message_age: 8d\n    default_algorithm: RS256\n", "28:5: keysets.c.default_algorithm: does not apply to purpose enc, which signs nothing; leave it out"},
		{"    max_message_age: 8d\n", "    max_message_age: 8d\n    publish: {algorithms: [RS256]}\n", "28:15: keysets.c.publish.algorithms: does not apply to purpose enc, which signs nothing; leave it out"},
		{"    max_message_age: 8d\n", "    max_message_age: 8d\n    certificate: {issuer: self}\n", "28:19: keysets.c.certificate.issuer: self does not apply to purpose enc, whose keys cannot sign; write ca or none"},
		{"period: 30d,", "period: 30d, lead: 1d,", "26:29: keysets.c.rotation.lead: does not apply to purpose enc, whose keys are published when they become active; leave it out"},
		{"    max_message_age: 1h\n", "    max_message_age: 1h\n    rotation: {lead: 1h}\n", "23:16: keysets.b.rotation.lead: does not apply to purpose enc, whose keys are published when they become active; leave it out"},
		{"    purpose: jwt\n", "    purpose: jwt\n    max_message_age: 1h\n", "5:5: keysets.a.max_message_age: is for purpose enc only, whose keys decrypt messages; leave it out"},
		{"[rsa-2048, p-256]", "[rsa-2048, ed25519]", "25:22: keysets.c.keys[1]: an Ed25519 key only signs; for purpose enc take RSA keys and those on P-256, P-384 and P-521"},
		{"p-521: {active", "ed25519: {previous", "21:7: keysets.b.static.ed25519: an Ed25519 key only signs; for purpose enc take RSA keys and those on P-256, P-384 and P-521"},
		{"retain: 30d", "retain: 8d, clock_skew: 5m", "26:29: keyset c: retain 8d is shorter than max_age 5m plus clock_skew 5m plus verifier_cache 0s plus max_message_age 8d"},
		{"period: 30d, retain: 30d", "period: 1d", "27:5: keyset c: retain 24h is shorter than max_age 5m plus clock_skew 30s plus verifier_cache 0s plus max_message_age 8d"},
	} {
		name := strings.ReplaceAll(fmt.Sprintf("%.30q becomes %.60q", tc.old, tc.new), "/", "|")
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(good, tc.old, tc.new, 1)
			if text == good {
				t.Fatal("nothing was changed")
			}
			_, err := parseStatic(t, text, file)
			if want := "/etc/keysetd/k.yaml:" + tc.want; err == nil || err.Error() != want {
				t.Errorf("\n got %v\nwant %s", err, want)
			}
		})
	}
	for _, good := range []struct{ old, new string }{
		{"ed25519: {previous", "ed25519: {active"},
		{"    max_message_age: 8d\n", "    max_message_age: 8d\n    certificate: {issuer: none}\n"},
		{"label: old-rsa", `label: my-rsa, id: "0a1c"`},       // told apart by id
		{"kid: other", "kid: my-ec-RS256-RS256"},              // looks like an alias and is none
		{"label: my-ec", "label: my-ec, kid: 'was:RS256!~#'"}, // printable
	} {
		text := strings.Replace(strings.Replace(goodStatic, "    certificate: {}\n", "", 1), good.old, good.new, 1)
		if _, err := parseStatic(t, text, file); err != nil {
			t.Errorf("%s: %v", good.new, err)
		}
	}
}

// The same label on two tokens is two keys.
func TestStaticOnTwoTokens(t *testing.T) {
	mustParse(t, `
tokens: {x: {module: m.so, label: x, pin: {file: p}}, y: {module: m.so, label: y, pin: {file: p}}}
keysets:
  a: {purpose: raw, mode: static, token: x, static: {rsa: {active: {label: k}}}}
  b: {purpose: raw, mode: static, token: y, static: {rsa: {active: {label: k}}}}
`)
}
