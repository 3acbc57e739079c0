package keysetdtest

import "slices"

// Issuer of the tokens of keyset default.
const Issuer = "https://issuer.test.example"

// The keysets of a daemon unless options say otherwise. Each has a P-256 key, which signs
// with ES256, and decrypts with ECDH-ES.
const (
	Default = "default" // signs tokens of Issuer
	Raw     = "raw"     // signs payloads and digests; its keys have certificates
	Enc     = "enc"     // decrypts
)

// soon lets Rotate work all the time: these are the shortest that keysetd takes. The clock
// rotates nothing while a test runs.
const soon = `
rotation: {period: 1d, lead: 1100ms, clock_skew: 1ms, manual_per_day: 86400, manual_burst: 86400}
publish: {max_age: 1s}
`

// Option changes a daemon before it starts.
type Option func(*settings)

type settings struct {
	module  string
	keysets []keyset
}

type keyset struct{ name, yaml string }

func newSettings(options []Option) settings {
	s := settings{keysets: standard("p-256")}
	for _, option := range options {
		option(&s)
	}
	return s
}

func standard(keys string) []keyset {
	keys = "\nkeys: [" + keys + "]"
	return []keyset{
		{Default, "purpose: jwt\nissuer: " + Issuer + keys + soon},
		{Raw, "purpose: raw\ncertificate: {issuer: self, subject: {organization: keysetdtest, country: CH}}" + keys + soon},
		{Enc, "purpose: enc\nmax_message_age: 1h" + keys + "\nrotation: {period: 1d, manual_per_day: 86400, manual_burst: 86400}\npublish: {max_age: 1s}"},
	}
}

// WithRSA gives the keysets default, raw and enc an RSA-2048 key each beside the P-256 key. With two
// algorithms there is no default one, so requests name theirs. It takes a second or two: such keys
// take long to make.
func WithRSA() Option {
	return func(s *settings) {
		for _, k := range standard("rsa-2048, p-256") {
			s.set(k)
		}
	}
}

// WithKeyset adds a keyset, or replaces the one of that name. yaml is what stands below its name in
// keysetd.yaml, as lines or in braces:
//
//	keysetdtest.WithKeyset("partner", "{purpose: jwt, any_issuer: true, keys: [ed25519]}")
//
// Rotate works if its lead is as short as a test can wait: 1100ms with a clock_skew of 1ms and a
// max_age of 1s.
func WithKeyset(name, yaml string) Option {
	return func(s *settings) { s.set(keyset{name, yaml}) }
}

// WithModule names SoftHSM's library where it is in none of the usual places.
func WithModule(path string) Option {
	return func(s *settings) { s.module = path }
}

func (s *settings) set(k keyset) {
	if i := slices.IndexFunc(s.keysets, func(other keyset) bool { return other.name == k.name }); i >= 0 {
		s.keysets[i] = k
		return
	}
	s.keysets = append(s.keysets, k)
}
