package config

import (
	"fmt"
	"strings"
	"testing"

	"keysetd.example/signing/policy"
)

// A configuration with everything that the bad ones change, one field on a line.
const good = `token:
  module: m.so
  label: l
  pin: {file: pin}
listen:
  public: 127.0.0.1:0
keysets:
  default:
    purpose: jwt
    issuer: https://issuer.example
    keys: [rsa-2048, p-256]
    rotation:
      period: 12h
callers:
  svc:
    uid: 1001
    keysets: [default]
    operations: [jwt]
    algorithms: [ES256]
`

func TestBad(t *testing.T) {
	for _, tc := range []struct{ old, new, want string }{
		// The document.
		{good, "", "1:1: is empty; see the example configuration"},
		{good, "# only a comment\n", "1:1: is empty; see the example configuration"},
		{good, "---\n", "1:1: is empty; see the example configuration"},
		{good, "1234\n", "1:1: must have fields: token, tokens, store, audit, listen, public_url, certificate_authorities, keysets, callers"},
		{good, "- token\n", "1:1: must have fields: token, tokens, store, audit, listen, public_url, certificate_authorities, keysets, callers"},
		{"callers:", "---\ncallers:", "14:1: begins a second document; a configuration is one"},
		{good, good + "---\n", "20:1: begins a second document; a configuration is one"},
		{good, good + "...\na: b\n", "21:1: begins a second document; a configuration is one"},
		{"label: l", "label: \xff", "3:1: is not UTF-8 text"},
		{"label: l", "label: &x l", "3:10: YAML anchors are not read; text that begins with & goes in quotes"},
		{"[ES256]", "*", `19:17: YAML aliases are not read; for all of something write "*" in quotes`},
		{"label: l", "<<: {label: l}", "3:3: YAML merge keys are not read; write the fields out"},
		{"label: l", "label: !!str l", "3:10: YAML tags are not read; text that begins with ! goes in quotes"},
		{"label: l", "? label\n  : l", `3:3: keys marked by "?" are not read; write KEY: VALUE`},
		{"token:", "%YAML 1.2\n---\ntoken:", "1:1: YAML directives are not read; text that begins with % goes in quotes"},
		{"label: l", "label: @l", "3:10: text that begins with @ goes in quotes"},
		{"label: l", "label: a: b", `3:10: a ":" is out of place; text with ": " in it goes in quotes, and fields of one block begin in one column`},
		{"  label: l", "\tlabel: l", "3:1: a tab indents this line; YAML takes spaces only"},
		{"label: l", `label: "l`, "3:10: a quote is not closed"},
		{"[default]", "[default", `18:5: a "," or "]" is missing`},
		{"{file: pin}", "{file: pin", `5:1: a "," or "}" is missing`},
		{"label: l", "label: [[[[[[[[[l]]]]]]]]]", "3:18: brackets are nested deeper than any field is"},
		{"label: l", "label:\n  - - l", "4:5: no list has lists in it"},
		{good, strings.Repeat("#", maxSize+1), "1:1: is larger than the 4 MiB that a configuration may have"},

		// Fields and types.
		{"label:", "lable:", "3:3: token.lable: is not a field; the fields here are module, label, serial, uri, pin, sessions, verify_signatures, environment, accept_keys, limits, reserved"},
		{"label: l", "hunter2: l", "3:3: token: has a field that does not belong here; the fields are module, label, serial, uri, pin, sessions, verify_signatures, environment, accept_keys, limits, reserved"},
		{"label: l", "1: l", "3:3: token: has a field that does not belong here; the fields are module, label, serial, uri, pin, sessions, verify_signatures, environment, accept_keys, limits, reserved"},
		{"label: l", "label: l\n  label: l", "4:3: token.label: is given twice"},
		{"  svc:", "  default: {}\n  default: {}\n  svc:", "16:3: callers.default: is given twice"},
		{"  default:\n", "  default: {purpose: raw, keys: [p-256]}\n  default:\n", "9:3: keysets.default: is given twice"},
		{"label: l", "label: 17", "3:10: token.label: must be text; what looks like a number or a word of YAML goes in quotes"},
		{"label: l", "label: true", "3:10: token.label: must be text; what looks like a number or a word of YAML goes in quotes"},
		{"label: l", "label:", "3:3: token.label: has no value; give it one or leave it out"},
		{"label: l", `label: ""`, "3:10: token.label: is empty; give it a value or leave it out"},
		{"label: l", `label: "a\nb"`, "3:10: token.label: has a line break or another control character in it"},
		{"label: l", "label: {a: b}", "3:10: token.label: must be text; what looks like a number or a word of YAML goes in quotes"},
		{"uid: 1001", `uid: "1001"`, "16:10: callers.svc.uid: must be a whole number"},
		{"uid: 1001", "uid: -1", "16:10: callers.svc.uid: is out of range, or not in plain decimal digits"},
		{"uid: 1001", "uid: 01001", "16:10: callers.svc.uid: is out of range, or not in plain decimal digits"},
		{"uid: 1001", "uid: 4294967296", "16:10: callers.svc.uid: is out of range, or not in plain decimal digits"},
		{"uid: 1001", "uid: 1e3", "16:10: callers.svc.uid: must be a whole number"},
		{"purpose: jwt", "any_issuer: yes", "9:17: keysets.default.any_issuer: must be true or false"},
		{"[rsa-2048, p-256]", "p-256", "11:11: keysets.default.keys: must be a list, as in [a, b]"},
		{"[rsa-2048, p-256]", "[]", "11:5: keysets.default.keys: is an empty list; name something or leave it out"},
		{"[rsa-2048, p-256]", "[p-256, rsa-1024]", "11:19: keysets.default.keys[1]: must be one of rsa-2048, rsa-3072, rsa-4096, p-256, p-384, p-521, ed25519"},
		{"[rsa-2048, p-256]", "[p-256, p-256]", "11:19: keysets.default.keys[1]: is the same as keysets.default.keys[0]"},
		{"rotation:\n      period: 12h", "rotation: 12h", "12:15: keysets.default.rotation: must have fields: period, lead, retain, clock_skew, verifier_cache, max_freeze, manual_per_day, manual_burst"},
		{"callers:", "callers: x\nx:", "14:10: callers: must be entries of the form NAME: VALUE"},
		{"  svc:", "  a/b:", `15:3: callers: has a name that is none; a name is of letters, digits, "." "_" "-", beginning with a letter or digit, at most 63`},
		{"  default:", "  1:", "8:3: keysets: has a name that is not text; put it in quotes"},
		{"label: l", "label: l\n  environment: {A-B: c}", `4:17: token.environment: has a name that is none; a name is of letters, digits and "_", as environment variables have`},

		// The token.
		{"token:", "store: {}\ntokens:", "3:11: tokens.module: must have fields: module, label, serial, uri, pin, sessions, verify_signatures, environment, accept_keys, limits, reserved"},
		{"token:\n  module: m.so\n  label: l\n  pin: {file: pin}\n", "", "1:1: no token is given; describe one under token:"},
		{"listen:", "tokens: {}\nlisten:", "5:1: tokens: both token and tokens are given; use token for a single one, or tokens for several by name"},
		{"  module: m.so\n", "", "1:1: token: module is missing; give the path of the PKCS#11 library"},
		{"  label: l\n", "", "1:1: token: does not say which token; give its label, serial or uri"},
		{"label: l", "label: " + strings.Repeat("l", 33), "3:3: token.label: is longer than the 32 bytes that PKCS#11 has for a token's label"},
		{"label: l", `serial: "12345678901234567"`, "3:3: token.serial: is longer than the 16 bytes that PKCS#11 has for a serial number"},
		{"label: l", "label: l\n  uri: pkcs11:token=l", "4:3: token.uri: does not go with label or serial; name the token one way"},
		{"label: l", "uri: token=l", "3:3: token.uri: must begin with pkcs11: (RFC 7512)"},
		{"label: l", "uri: pkcs11:token=l?pin-value=1234", "3:3: token.uri: must not have pin-value, for a PIN must not stand in the configuration; use pin: {file: PATH}"},
		{"label: l", "uri: pkcs11:token=l?pin-source=file:/x", "3:3: token.uri: must not have pin-source; use pin: {file: PATH}"},
		{"label: l", "uri: pkcs11:token=l;slot-id=3", "3:3: token.uri: must not have slot-id, for slot numbers change; use token or serial"},
		{"label: l", "uri: pkcs11:token=l;x-vendor=3", `3:3: token.uri: has an attribute that does not belong there; before "?" go token, serial, manufacturer, model, after it module-path`},
		{"label: l", "uri: pkcs11:token=l;token=m", "3:3: token.uri: has token twice"},
		{"label: l", "uri: pkcs11:token=%zz", "3:3: token.uri: has a broken % escape in token"},
		{"label: l", "uri: pkcs11:token=", "3:3: token.uri: has an empty or unprintable token"},
		{"label: l", "uri: pkcs11:token=l?module-path=/m.so", "3:3: token.uri: module-path does not go with module; name the module once"},
		{"label: l", "uri: pkcs11:token=l?module-path=m.so", "3:3: token.uri: module-path must be an absolute path"},
		{"label: l", "uri: \"pkcs11:\"", "1:1: token: does not say which token; give its label, serial or uri"},
		{"label: l", "label: l\n  sessions: 0", "4:3: token.sessions: must be from 1 to 1024"},
		{"label: l", "label: l\n  verify_signatures: some", "4:22: token.verify_signatures: must be one of rsa, all, none"},

		// The PIN.
		{"{file: pin}", `"1234"`, "4:8: token.pin: a PIN must not stand in the configuration, where backups and people see it; put it in a file of mode 0600 and write {file: PATH}"},
		{"{file: pin}", "1234", "4:8: token.pin: a PIN must not stand in the configuration, where backups and people see it; put it in a file of mode 0600 and write {file: PATH}"},
		{"{file: pin}", "{hunter2}", "4:9: token.pin: has a field that does not belong here; the fields are file, credential, env; a PIN must not stand in the configuration, where backups and people see it; put it in a file of mode 0600 and write {file: PATH}"},
		{"{file: pin}", "{value: hunter}", "4:9: token.pin: has a field that does not belong here; the fields are file, credential, env; a PIN must not stand in the configuration, where backups and people see it; put it in a file of mode 0600 and write {file: PATH}"},
		{"listen:", "pin: \"1234\"\nlisten:", "5:1: pin: does not belong here, but under token; a PIN must not stand in the configuration, where backups and people see it; put it in a file of mode 0600 and write {file: PATH}"},
		{"  pin: {file: pin}\n", "", "1:1: token.pin: does not say where the PIN is; write {file: PATH} or {credential: NAME}"},
		{"{file: pin}", "{file: pin, credential: pin}", "4:3: token.pin: names several places; give one of file, credential, env"},
		{"{file: pin}", "{credential: ../pin}", `4:9: token.pin.credential: must be the name of a systemd credential: letters, digits, "." "_" "-"`},
		{"{file: pin}", "{env: PIN}", "4:9: token.pin.env: is only for keysetd dev, for the environment of a process is easily seen; use file or credential"},

		{"listen:", "tokn:\n  pin: \"1234\"\nlisten:", "5:1: tokn: is not a field; the fields here are token, tokens, store, audit, listen, public_url, certificate_authorities, keysets, callers"},
		{"issuer: https://issuer.example", "pin: 1234", "10:5: keysets.default.pin: does not belong here, but under token; a PIN must not stand in the configuration, where backups and people see it; put it in a file of mode 0600 and write {file: PATH}"},

		// Store, audit, listeners.
		{"listen:", "store: {path: x}\naudit: {path: ./x}\nlisten:", "6:9: audit.path: is the store's path; each needs a file of its own"},
		{"listen:", "audit: {sync: never}\nlisten:", "5:15: audit.sync: must be second or always"},
		{"listen:", "audit: {token: other}\nlisten:", "5:9: audit.token: is not the name of a token; the tokens are default"},
		{"listen:", "audit: {period: 59s}\nlisten:", "5:9: audit.period: must be at least 1m"},
		{"listen:", "audit: {key: p-257}\nlisten:", "5:14: audit.key: must be one of rsa-2048, rsa-3072, rsa-4096, p-256, p-384, p-521, ed25519"},
		{"127.0.0.1:0", ":8080", "6:3: listen.public: must be HOST:PORT, as in 127.0.0.1:8080 or 0.0.0.0:8080 for every interface, or off"},
		{"public: 127.0.0.1:0", "metrics: 127.0.0.1:70000", "6:3: listen.metrics: must be HOST:PORT, as in 127.0.0.1:8080 or 0.0.0.0:8080 for every interface, or off"},
		{"public: 127.0.0.1:0", "socket_mode: 0660", `6:16: listen.socket_mode: must be an octal file mode in quotes, as in "0660"`},
		{"public: 127.0.0.1:0", `socket_mode: "0999"`, `6:16: listen.socket_mode: must be an octal file mode in quotes, as in "0660"`},
		{"public: 127.0.0.1:0", `socket: "@keysetd"`, "6:3: listen.socket: must be a path; abstract sockets are open to every local user"},
		{"public: 127.0.0.1:0", "socket: /" + strings.Repeat("x", 107), "6:3: listen.socket: is 108 bytes long as an absolute path; a socket's path has at most 107"},
		{"listen:", "public_url: keys.example\nlisten:", "5:1: public_url: must be an http or https URL without user, query and fragment, as in https://keys.example"},
		{"listen:", "public_url: https://u:p@keys.example\nlisten:", "5:1: public_url: must be an http or https URL without user, query and fragment, as in https://keys.example"},

		// Keysets.
		{"    purpose: jwt\n", "", "8:3: keysets.default: purpose is missing; write jwt, raw, any or enc"},
		{"purpose: jwt", "purpose: jwtt", "9:14: keysets.default.purpose: must be one of jwt, raw, any, enc"},
		{"purpose: jwt", "purpose: raw", "10:5: keysets.default.issuer: does not apply to purpose raw, which sees no claims; leave it out"},
		{"    issuer: https://issuer.example\n", "", "8:3: keysets.default: issuer is missing; give it, or any_issuer: true to let claims carry any iss"},
		{"https://issuer.example", `"://x"`, "10:5: keysets.default.issuer: must be a URI, since it has a colon (RFC 7519 §2), of at most 1024 bytes"},
		{"    keys: [rsa-2048, p-256]\n", "", "8:3: keysets.default: keys is missing; name at least one key spec, as in [rsa-2048, p-256]"},
		{"purpose: jwt", "purpose: jwt\n    mode: manual", "10:11: keysets.default.mode: must be dynamic or static"},
		{"purpose: jwt", "purpose: jwt\n    mode: static", "12:5: keysets.default.keys: does not apply to mode static, whose keys stand under static; leave it out"},
		{"purpose: jwt", "purpose: jwt\n    static: {rsa: {active: {label: l}}}", "10:5: keysets.default.static: is for mode static only; in mode dynamic keysetd makes the keys that keys asks for"},
		{"purpose: jwt", "purpose: jwt\n    token: other", "10:5: keysets.default.token: is not the name of a token; the tokens are default"},
		{"purpose: jwt", "purpose: jwt\n    max_message_age: 1h", "10:5: keysets.default.max_message_age: is for purpose enc only, whose keys decrypt messages; leave it out"},
		{"purpose: jwt", "purpose: jwt\n    default_algorithm: ES384", "10:5: keysets.default.default_algorithm: ES384 needs a key that keys does not name; keys: [rsa-2048, p-256] sign with RS256, RS384, RS512, PS256, PS384, PS512, ES256"},
		{"purpose: jwt", "purpose: jwt\n    publish: {algorithms: [RS256, ES256]}", "10:35: keysets.default.publish.algorithms[1]: ES256 is no RSA algorithm; every other key has one algorithm and is always published with it"},
		{"keys: [rsa-2048, p-256]", "keys: [p-256]\n    publish: {algorithms: [RS256]}", "12:15: keysets.default.publish.algorithms: is for RSA keys, and keys names none: [p-256]"},
		{"purpose: jwt", "purpose: jwt\n    publish: {max_age: 1500ms}", "10:15: keysets.default.publish.max_age: must be whole seconds, the unit of Cache-Control"},
		{"purpose: jwt", "purpose: jwt\n    certificate: {}", "10:5: keysets.default.certificate: issuer is missing; write self, ca, external or none"},
		{"purpose: jwt", "purpose: jwt\n    certificate: {issuer: ca, subject: {organization: E, country: CH}}", "10:5: keysets.default.certificate: ca is missing; name one of certificate_authorities"},
		{"purpose: jwt", "purpose: jwt\n    certificate: {issuer: external}", "10:5: keysets.default.certificate.subject: organization is missing; certificates with issuer external need it"},
		{"purpose: jwt", "purpose: jwt\n    certificate: {issuer: none, subject: {country: CH}}", "10:33: keysets.default.certificate.subject: does not apply to issuer none; leave it out"},
		{"purpose: jwt", "purpose: jwt\n    certificate: {issuer: self}", "10:5: keysets.default.certificate.subject: organization is missing; certificates with issuer self need it"},
		{"purpose: jwt", "purpose: jwt\n    certificate: {issuer: self, subject: {organization: E}}", "10:33: keysets.default.certificate.subject: country is missing; certificates with issuer self need it"},
		{"purpose: jwt", "purpose: jwt\n    certificate: {issuer: self, subject: {organization: E, country: Ch}}", "10:60: keysets.default.certificate.subject.country: must be two capital letters (ISO 3166), as in CH"},
		{"purpose: jwt", "purpose: jwt\n    certificate: {issuer: self, subject: {country: CH, organization: " + strings.Repeat("ü", 65) + "}}", "10:56: keysets.default.certificate.subject.organization: is longer than the 64 characters that a certificate has for it (RFC 5280 appendix A.1)"},
		{"  default:\n", "  audit:\n", "8:3: keysets.audit: is a reserved name, for the keys that sign the audit log's checkpoints; choose another"},

		// What tokens say of themselves.
		{"    purpose: jwt\n    issuer: https://issuer.example", "    purpose: raw\n    header: {kid: true}", "10:5: keysets.default.header: does not apply to purpose raw, which sees no claims; leave it out"},
		{"    purpose: jwt\n    issuer: https://issuer.example", "    purpose: raw\n    types: [JWT]", "10:5: keysets.default.types: does not apply to purpose raw, which sees no claims; leave it out"},
		{"    purpose: jwt\n    issuer: https://issuer.example", "    purpose: enc\n    client_assertion: {typ: JWT}", "10:5: keysets.default.client_assertion: does not apply to purpose enc, which signs nothing; leave it out"},
		{"purpose: jwt", "purpose: jwt\n    header: {kid: 1}", "10:19: keysets.default.header.kid: must be true or false"},
		{"purpose: jwt", "purpose: jwt\n    header: {x5c: true}", "10:14: keysets.default.header.x5c: the keys have no certificates; give them some, or leave it out"},
		{"purpose: jwt", "purpose: jwt\n    header: {x5t#S256: true}", "10:14: keysets.default.header.x5t#S256: the keys have no certificates; give them some, or leave it out"},
		{"purpose: jwt", "purpose: jwt\n    header: {jku: true}", "10:14: keysets.default.header.jku: needs public_url, of which verifiers read the JWKS; give that, or leave jku out"},
		{"purpose: jwt", "purpose: jwt\n    header: {allow: [a b]}", `10:22: keysets.default.header.allow[0]: must be the name of a header parameter: letters, digits, "#" "-" "." "_", at most 64`},
		{"purpose: jwt", "purpose: jwt\n    header: {allow: [typ]}", "10:22: keysets.default.header.allow[0]: typ is always the caller's to set; types says to what"},
		{"purpose: jwt", "purpose: jwt\n    header: {allow: [nonce, Nonce]}", "10:29: keysets.default.header.allow[1]: is given twice, in two spellings"},
		{"purpose: jwt", "purpose: jwt\n    types: [\"at+jwt; x=y\"]", "10:13: keysets.default.types[0]: must be a media type without parameters, as at+jwt, of at most 64 characters"},
		{"purpose: jwt", "purpose: jwt\n    types: [text/at+jwt]", "10:13: keysets.default.types[0]: must be a media type without parameters, as at+jwt, of at most 64 characters"},
		{"purpose: jwt", "purpose: jwt\n    client_assertion: {typ: at+jwt}", "10:29: keysets.default.client_assertion.typ: must be JWT or client-authentication+jwt"},
		{"purpose: jwt", "purpose: jwt\n    client_assertion: {audience: list}", "10:34: keysets.default.client_assertion.audience: must be string or array"},
		{"purpose: jwt", "purpose: jwt\n    max_token_lifetime: 1m\n    client_assertion: {max_lifetime: 2m}", "11:24: keysets.default.client_assertion.max_lifetime: 2m0s is longer than max_token_lifetime 1m0s"},

		// Rotation.
		{"period: 12h", "period: 12", "13:15: keysets.default.rotation.period: must be a duration with its unit, as in 90s, 12h, 0.5d, or manual"},
		{"period: 12h", "period: half a day", "13:15: keysets.default.rotation.period: must be a duration with its unit, as in 90s, 12h, 0.5d"},
		{"period: 12h", "clock_skew: 0s", "13:19: keysets.default.rotation.clock_skew: must be longer than 0; leave it out for the default"},
		{"period: 12h", "retain: 40000d", "13:15: keysets.default.rotation.retain: is longer than a hundred years"},
		{"period: 12h", "lead: 30s\n      clock_skew: 10s\n    publish: {max_age: 45s}", "13:7: keyset default: lead 30s is not longer than max_age 45s plus clock_skew 10s"},
		{"period: 12h", "retain: 5s\n      clock_skew: 10s\n    max_token_lifetime: 1s", "13:7: keyset default: retain 5s is not longer than clock_skew 10s"},
		{"period: 12h", "period: 1s", "12:5: keyset default: max_age 0s is shorter than 1s, which is the unit of Cache-Control; give a longer lead than 1s"},
		{"period: 12h", "max_freeze: forever", "13:19: keysets.default.rotation.max_freeze: must be a duration with its unit, as in 90s, 12h, 0.5d"},
		{"period: 12h", "manual_per_day: 0", "13:7: keysets.default.rotation.manual_per_day: must be from 1 to 86400"},
		{"period: 12h", "manual_burst: 86401", "13:7: keysets.default.rotation.manual_burst: must be from 1 to 86400"},
		{"period: 12h", "manual_burst: many", "13:21: keysets.default.rotation.manual_burst: must be a whole number"},
		{"period: 12h", "period: 20s\n      lead: 30s", "14:7: keyset default: lead 30s is longer than period 20s"},

		// Callers.
		{"    uid: 1001\n", "", "15:3: callers.svc: uid is missing; give uid, user, gid or group"},
		{"uid: 1001", "uid: 1001\n    user: token-service", "17:5: callers.svc.user: does not go with uid; name the user or the group one way"},
		{"uid: 1001", "gid: 1001\n    group: token-service", "17:5: callers.svc.group: does not go with gid; name the user or the group one way"},
		{"uid: 1001", "uid: 1001\n    gid: 1001", "17:5: callers.svc.gid: does not go with uid; name the user or the group one way"},
		{"uid: 1001", "user: nobody-here", "16:5: callers.svc.user: is not a user of this system; make the user first, or give its uid"},
		{"uid: 1001", "group: nobody-here", "16:5: callers.svc.group: is not a group of this system; make the group first, or give its gid"},
		{"uid: 1001", "uid: 4294967295", "16:5: callers.svc.uid: 4294967295 is no user's uid"},
		{"uid: 1001", "gid: 4294967295", "16:5: callers.svc.gid: 4294967295 is no group's gid"},
		{"    keysets: [default]\n", "", `15:3: callers.svc: keysets is missing; name some, or "*" for all`},
		{"[default]", "[default, other]", "17:24: callers.svc.keysets[1]: is not the name of a keyset; the keysets are default"},
		{"[default]", `[default, "*"]`, `17:24: callers.svc.keysets: has "*" beside others; "*" alone stands for all`},
		{"    operations: [jwt]\n", "", `15:3: callers.svc: operations is missing; name some of ` + join(policy.Operations()) + `, or "*" for all`},
		{"[jwt]", "[jwt, certificates]", "18:23: callers.svc.operations[1]: " + operationError("certificates")},
		{"[jwt]", "[jwr]", "18:18: callers.svc.operations[0]: " + operationError("jwr")},
		{"    algorithms: [ES256]\n", "", `15:3: callers.svc: algorithms is missing; name some, or "*" for all`},
		{"[jwt]", "[read]", "19:5: callers.svc.algorithms: does not apply, for none of the operations jwt, sign, client-assertion is granted; leave it out"},
		{"[jwt]\n    algorithms: [ES256]", "[read]\n    rate: 1", "19:5: callers.svc.rate: does not apply, for none of the operations jwt, sign, client-assertion, decrypt is granted; leave it out"},
		{"[jwt]\n    algorithms: [ES256]", "[read]\n    burst: 1", "19:5: callers.svc.burst: does not apply, for none of the operations jwt, sign, client-assertion, decrypt is granted; leave it out"},
		{"[jwt]\n    algorithms: [ES256]", "[read]\n    priority: 1", "19:5: callers.svc.priority: does not apply, for none of the operations jwt, sign, client-assertion, decrypt is granted; leave it out"},
		{"[jwt]", "[jwt, decrypt]", "18:23: callers.svc.operations[1]: no keyset that is granted is for decrypt, which takes one of purpose enc"},
		{"[jwt]", "[sign]\n    types: [JWT]", "19:5: callers.svc.types: does not apply, for none of the operations jwt, client-assertion is granted; leave it out"},
		{"[jwt]", "[sign]\n    audiences: [a]", "19:5: callers.svc.audiences: does not apply, for none of the operations jwt, client-assertion is granted; leave it out"},
		{"[jwt]", "[sign]\n    claims: 'true '", "19:5: callers.svc.claims: does not apply, for none of the operations jwt, client-assertion is granted; leave it out"},
		{"[jwt]", "[jwt]\n    client_ids: [a]", "19:5: callers.svc.client_ids: does not apply, for operation client-assertion is not granted; leave it out"},
		{"[jwt]", "[jwt, client-assertion]", `15:3: callers.svc: client_ids is missing; name those that assertions may be made for, or "*" for all`},
		{"[jwt]", `"*"`, `15:3: callers.svc: client_ids is missing; name those that assertions may be made for, or "*" for all`},
		{"[jwt]", "[jwt, sign]", "18:23: callers.svc.operations[1]: no keyset that is granted is for sign, which takes one of purpose raw or any"},
		{"[ES256]", "[ES256]\n  two:\n    gid: 7\n    keysets: [default]\n    operations: [sign]\n    algorithms: [ES256]", "23:18: callers.two.operations[0]: no keyset that is granted is for sign, which takes one of purpose raw or any"},
		{"purpose: jwt\n    issuer: https://issuer.example", "purpose: raw", "17:18: callers.svc.operations[0]: no keyset that is granted is for jwt, which takes one of purpose jwt or any"},
		{"purpose: jwt\n    issuer: https://issuer.example\n    keys: [rsa-2048, p-256]\n    rotation:\n      period: 12h\ncallers:\n  svc:\n    uid: 1001\n    keysets: [default]\n    operations: [jwt]", "purpose: raw\n    keys: [rsa-2048, p-256]\n    rotation:\n      period: 12h\ncallers:\n  svc:\n    uid: 1001\n    keysets: [default]\n    operations: [sign, client-assertion]\n    client_ids: [a]", "17:24: callers.svc.operations[1]: no keyset that is granted is for client-assertion, which takes one of purpose jwt or any"},
		{"purpose: jwt\n    issuer: https://issuer.example\n    keys: [rsa-2048, p-256]\n    rotation:\n      period: 12h\ncallers:\n  svc:\n    uid: 1001\n    keysets: [default]\n    operations: [jwt]", "purpose: any\n    issuer: https://issuer.example\n    keys: [rsa-2048, p-256]\n    rotation:\n      period: 12h\ncallers:\n  svc:\n    uid: 1001\n    keysets: [default]\n    operations: [jwt, sign]\n    types: [JWT]", "19:5: callers.svc.types: does not go with operation sign on keyset default, with which it could make any token; leave types out, or grant sign on other keysets, as a caller of its own"},
		{"purpose: jwt\n    issuer: https://issuer.example\n    keys: [rsa-2048, p-256]\n    rotation:\n      period: 12h\ncallers:\n  svc:\n    uid: 1001\n    keysets: [default]\n    operations: [jwt]", "purpose: any\n    issuer: https://issuer.example\n    keys: [rsa-2048, p-256]\n    rotation:\n      period: 12h\ncallers:\n  svc:\n    uid: 1001\n    keysets: [default]\n    operations: [jwt, sign]\n    audiences: [a]", "19:5: callers.svc.audiences: does not go with operation sign on keyset default, with which it could make any token; leave audiences out, or grant sign on other keysets, as a caller of its own"},
		{"purpose: jwt\n    issuer: https://issuer.example\n    keys: [rsa-2048, p-256]\n    rotation:\n      period: 12h\ncallers:\n  svc:\n    uid: 1001\n    keysets: [default]\n    operations: [jwt]", "purpose: any\n    issuer: https://issuer.example\n    keys: [rsa-2048, p-256]\n    rotation:\n      period: 12h\ncallers:\n  svc:\n    uid: 1001\n    keysets: [default]\n    operations: \"*\"\n    client_ids: \"*\"\n    claims: claims.a == 1", "20:5: callers.svc.claims: does not go with operation sign on keyset default, with which it could make any token; leave claims out, or grant sign on other keysets, as a caller of its own"},
		{"purpose: jwt\n    issuer: https://issuer.example\n    keys: [rsa-2048, p-256]\n    rotation:\n      period: 12h\ncallers:\n  svc:\n    uid: 1001\n    keysets: [default]\n    operations: [jwt]", "purpose: any\n    issuer: https://issuer.example\n    keys: [rsa-2048, p-256]\n    rotation:\n      period: 12h\ncallers:\n  svc:\n    uid: 1001\n    keysets: [default]\n    operations: [client-assertion, sign]\n    client_ids: [a]", `19:5: callers.svc.client_ids: does not go with operation sign on keyset default, with which it could make any token; write "*", or grant sign on other keysets, as a caller of its own`},
		{"purpose: jwt\n    issuer: https://issuer.example\n    keys: [rsa-2048, p-256]\n    rotation:\n      period: 12h\ncallers:\n  svc:\n    uid: 1001\n    keysets: [default]\n    operations: [jwt]", "purpose: any\n    issuer: https://issuer.example\n    keys: [rsa-2048, p-256]\n    rotation:\n      period: 12h\ncallers:\n  svc:\n    uid: 1001\n    keysets: [default]\n    operations: [jwt]\n    types: [JWT]\n    algorithms: [ES256]\n  two:\n    gid: 7\n    keysets: \"*\"\n    operations: [sign]", "19:5: callers.svc.types: does not go with operation sign on keyset default, which caller two grants gid 7, who may also be uid 1001, with which it could make any token; leave types out, or grant sign on other keysets, as a caller of its own"},
		{"    keys: [rsa-2048, p-256]\n    rotation:\n      period: 12h\ncallers:\n  svc:\n    uid: 1001\n    keysets: [default]\n    operations: [jwt]", "    types: [at+jwt, JWT]\n    keys: [rsa-2048, p-256]\n    rotation:\n      period: 12h\ncallers:\n  svc:\n    uid: 1001\n    keysets: [default]\n    operations: [jwt]\n    types: [application/AT+jwt, x+jwt]", "20:33: callers.svc.types[1]: is the typ of no token or assertion that is granted; see types and client_assertion of the keysets"},
		{"[jwt]", "[jwt]\n    types: [JWT, client-authentication+jwt]", "19:18: callers.svc.types[1]: is the typ of no token or assertion that is granted; see types and client_assertion of the keysets"},
		{"[jwt]", "[jwt, client-assertion]\n    client_ids: [a]\n    types: [at+jwt]", "20:5: callers.svc.types: leaves nothing of operation client-assertion, which is granted; add a typ of what that makes (see client_assertion of the keysets), or leave the operation out"},
		{"[jwt]", "[jwt]\n    claims: caller.name == 'x'", "19:5: callers.svc.claims: at character 7: caller has no name; it has uid, gid, pid, groups"},
		{"[jwt]", "[jwt]\n    claims: |\n      claims.a == 1 &&\n      \tclams.b == 2", "19:5: callers.svc.claims: at line 2, character 2: undeclared reference to 'clams' (did you mean 'claims'?)"},
		{"[jwt]", "[jwt]\n    claims: hunter2", `19:5: callers.svc.claims: looks at none of claims, header, caller and now; write what must be true, as in claims.scope == "read"`},
		{"[jwt]", "[jwt]\n    claims: \"claims.a ==\\x01 1\"", "19:13: callers.svc.claims: has a line break or another control character in it"},
		{"[jwt]", "[jwt]\n    types: [JWT, a b]", "19:18: callers.svc.types[1]: must be a media type without parameters, as at+jwt, of at most 64 characters"},
		{"[jwt]", "[jwt]\n    types: \"*\"", "19:12: callers.svc.types: must be a list, as in [a, b]"},
		{"[jwt]", "[jwt]\n    types: [\"*\"]", "19:13: callers.svc.types[0]: must be a media type without parameters, as at+jwt, of at most 64 characters"},
		{"[jwt]", "[jwt]\n    audiences: [a, \"*\"]", `19:20: callers.svc.audiences[1]: "*" does not stand for every audience; leave audiences out to grant every one`},
		{"[jwt]", "[jwt]\n    claims: true", "19:13: callers.svc.claims: must be text; what looks like a number or a word of YAML goes in quotes"},
		{"[jwt]", "[jwt]\n    rate: 100/s", "19:11: callers.svc.rate: must be from 0.001 to 1000000 a second, in decimal digits; leave it out for no limit"},
		{"[jwt]", "[jwt]\n    rate: 1_000", "19:11: callers.svc.rate: must be from 0.001 to 1000000 a second, in decimal digits; leave it out for no limit"},
		{"[jwt]", "[jwt]\n    rate: 1e3", "19:11: callers.svc.rate: must be from 0.001 to 1000000 a second, in decimal digits; leave it out for no limit"},
		{"[jwt]", "[jwt]\n    rate: -1", "19:11: callers.svc.rate: must be from 0.001 to 1000000 a second, in decimal digits; leave it out for no limit"},
		{"[jwt]", "[jwt]\n    rate: .inf", "19:11: callers.svc.rate: must be from 0.001 to 1000000 a second, in decimal digits; leave it out for no limit"},
		{"[jwt]", "[jwt]\n    rate: 0", "19:5: callers.svc.rate: must be from 0.001 to 1000000 a second, in decimal digits; leave it out for no limit"},
		{"[jwt]", "[jwt]\n    rate: 1000001", "19:5: callers.svc.rate: must be from 0.001 to 1000000 a second, in decimal digits; leave it out for no limit"},
		{"[jwt]", "[jwt]\n    burst: 1", "19:5: callers.svc.burst: goes with rate; give that, or leave burst out"},
		{"[jwt]", "[jwt]\n    rate: 1\n    burst: 0", "20:5: callers.svc.burst: must be from 1 to 1000000"},
		{"[jwt]", "[jwt]\n    rate: 1\n    burst: 1000001", "20:5: callers.svc.burst: must be from 1 to 1000000"},
		{"[jwt]", "[jwt]\n    priority: 10", "19:5: callers.svc.priority: must be from 0 to 9"},
		{"[jwt]", "[jwt]\n    priority: -1", "19:5: callers.svc.priority: must be from 0 to 9"},
		{"[ES256]", "[none]", "19:18: callers.svc.algorithms[0]: must be one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA"},
		{"[ES256]", "[ES384]", "19:18: callers.svc.algorithms[0]: no keyset that is granted has a key for ES384; they sign with RS256, RS384, RS512, PS256, PS384, PS512, ES256"},
	} {
		name := strings.ReplaceAll(fmt.Sprintf("%.30q becomes %.50q", tc.old, tc.new), "/", "|")
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(good, tc.old, tc.new, 1)
			if text == good {
				t.Fatal("nothing was changed")
			}
			_, err := Parse("k.yaml", []byte(text), testOptions)
			if want := "k.yaml:" + tc.want; err == nil || err.Error() != want {
				t.Errorf("\n got %v\nwant %s", err, want)
			}
		})
	}
	if _, err := Parse("k.yaml", []byte(good), testOptions); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

func operationError(word string) string {
	_, err := policy.ParseOperation(word)
	return err.Error()
}
