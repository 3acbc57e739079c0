package rotation

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"keysetd.example/hsm"
	"keysetd.example/internal/keyspec"
)

// Policy is what the configuration says of a keyset's rotation, defaults filled in.
type Policy struct {
	// Specs of the keys in each generation, in the order of the configuration; none where the
	// keyset is static.
	Specs []keyspec.Spec
	// Token that the next generation is made on, or that the static keys are on.
	Token string
	// Usage of the keys: Sign, or Decrypt for a keyset that decrypts, which EC keys do by Derive.
	Usage hsm.Usage
	// Static are the administrator's keys. Nil: the keyset is dynamic.
	Static []StaticKey
	// Period is how long a generation is active. Manual: until an operator rotates.
	Period time.Duration
	Manual bool
	// Jitter is how much longer a generation is active whose activation no calendar gave: the first
	// one, and one that came late. It spreads keysets that would rotate at once. Unset: 0.
	Jitter time.Duration
	// Lead is how long a generation must have been published before it may sign. Unset: Period.
	Lead time.Duration
	// Retain is how long it stays published after it signed last, at least. Unset: Period.
	Retain time.Duration
	// RetainUntilRevoked keeps retired generations until an operator revokes them.
	RetainUntilRevoked bool
	// ClockSkew is how far the clocks of verifiers may be off. Unset: a tenth of Lead, at most 30 s.
	ClockSkew time.Duration
	// VerifierCache is how much longer than max-age verifiers keep a JWKS. Unset: 0.
	VerifierCache time.Duration
	// MaxAge of the JWKS page (RFC 9111 §5.2.2.1). Unset: half of what Lead leaves after
	// ClockSkew and VerifierCache, at most 5 minutes.
	MaxAge time.Duration
	// MaxTokenLifetime is how far ahead the exp of a token may lie. Unset: Period or Retain less
	// ClockSkew, whichever is shorter. Longer than Retain less ClockSkew it takes a watermark
	// for each generation.
	MaxTokenLifetime time.Duration
	// MaxMessageAge is how old a message may be that a keyset decrypts. Required there.
	MaxMessageAge time.Duration
	// Algorithms for which RSA keys have a kid of their own.
	Algorithms []jose.SignatureAlgorithm
	// MaxFreeze is how long a freeze may last. Unset: 7 days.
	MaxFreeze time.Duration
	// External: certificate chains are handed in from outside (Manager.SetChain), and a generation
	// waits for them: it may sign once every verifier can have the page with the chain of each of its keys.
	External bool
	// RequireChain: a key signs only while it has a chain that is valid, and a generation waits for those too.
	RequireChain bool
	// ManualPerDay and ManualBurst limit rotations by hand. Unset: 5 and 5 (Auth0's).
	ManualPerDay, ManualBurst int
}

// The defaults where a keyset says nothing (PingFederate's period).
const (
	DefaultPeriod       = 12 * time.Hour
	defaultManualWindow = 12 * time.Hour // lead and retain where the period is manual
	maxDefaultSkew      = 30 * time.Second
	maxDefaultMaxAge    = 5 * time.Minute
	defaultMaxFreeze    = 7 * 24 * time.Hour
	defaultManual       = 5
	maxJitter           = time.Hour
)

// WithDefaults returns p with every unset (zero) duration and limit filled in.
func (p Policy) WithDefaults() Policy {
	window := p.Period
	switch {
	case p.Manual, p.static():
		window = defaultManualWindow
	case p.Period == 0:
		p.Period = DefaultPeriod
		window = p.Period
	}
	if p.Lead == 0 && !p.Encrypts() {
		p.Lead = window
	}
	if p.Retain == 0 && !p.RetainUntilRevoked {
		p.Retain = window
	}
	if p.ClockSkew == 0 {
		p.ClockSkew = min(cmp.Or(p.Lead, window)/10, maxDefaultSkew)
	}
	if p.MaxAge == 0 {
		room := p.Lead - p.ClockSkew - p.VerifierCache
		if p.Encrypts() { // a lead is nothing to it: what it publishes is active
			room = window - p.ClockSkew - p.VerifierCache
		}
		p.MaxAge = min(room/2, maxDefaultMaxAge).Truncate(time.Second)
	}
	if p.MaxTokenLifetime == 0 && !p.Encrypts() {
		p.MaxTokenLifetime = window
		if !p.RetainUntilRevoked {
			p.MaxTokenLifetime = max(0, min(window, p.Retain-p.ClockSkew))
		}
	}
	p.MaxFreeze = cmp.Or(p.MaxFreeze, defaultMaxFreeze)
	p.ManualPerDay, p.ManualBurst = cmp.Or(p.ManualPerDay, defaultManual), cmp.Or(p.ManualBurst, defaultManual)
	return p
}

// Spread returns p with the Jitter of the keyset of this name: at most a tenth of the period
// and an hour, always the same.
func (p Policy) Spread(keyset string) Policy {
	h := fnv.New64a()
	h.Write([]byte(keyset))
	if most := min(p.Period/10, maxJitter); most > 0 && !p.Manual && !p.static() {
		p.Jitter = time.Duration(h.Sum64() % uint64(most)).Truncate(time.Millisecond)
	}
	return p
}

// static reports whether the administrator names the keys.
func (p Policy) static() bool { return p.Static != nil }

// Encrypts reports whether others encrypt to the keyset's keys, so that it decrypts.
func (p Policy) Encrypts() bool { return p.Usage == hsm.Decrypt }

// awaitsChain reports whether a generation is to be known with its chains before it signs.
func (p Policy) awaitsChain() bool {
	return (p.External || p.RequireChain) && !p.static() && !p.Encrypts()
}

// usage is what a key of this spec is made for.
func (p Policy) usage(spec keyspec.Spec) hsm.Usage {
	if p.Encrypts() && !spec.RSA() {
		return hsm.Derive
	}
	return p.Usage
}

// guaranteed is how long a token may live without a watermark, as its key surely stays
// published for that long; or how old a message may be that is decrypted.
func (p Policy) guaranteed() time.Duration {
	switch {
	case p.Encrypts():
		return p.MaxMessageAge
	case p.RetainUntilRevoked:
		return p.MaxTokenLifetime
	}
	return min(p.MaxTokenLifetime, p.Retain-p.ClockSkew)
}

// Validate tells the first relation that does not hold, with both values. Defaults are
// filled in.
func (p Policy) Validate() error {
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"period", p.Period}, {"lead", p.Lead}, {"retain", p.Retain}, {"clock_skew", p.ClockSkew}, {"verifier_cache", p.VerifierCache},
		{"max_token_lifetime", p.MaxTokenLifetime}, {"max_message_age", p.MaxMessageAge}, {"max_freeze", p.MaxFreeze},
	} {
		if d.value < 0 {
			return fmt.Errorf("%s %s is negative", d.name, short(d.value))
		}
	}
	switch {
	case !p.RetainUntilRevoked && p.Retain <= p.ClockSkew:
		return fmt.Errorf("retain %s is not longer than clock_skew %s", short(p.Retain), short(p.ClockSkew))
	case len(p.Specs) == 0 && !p.static():
		return fmt.Errorf("keys is empty; name at least one key spec")
	case !slices.ContainsFunc(p.Static, func(s StaticKey) bool { return s.Active != nil }) && p.static():
		return fmt.Errorf("static names no active key; name at least one")
	case !p.Manual && !p.static() && p.Lead > p.Period:
		return fmt.Errorf("lead %s is longer than period %s", short(p.Lead), short(p.Period))
	case p.MaxAge < time.Second && !p.Encrypts() && p.Lead <= p.ClockSkew+p.VerifierCache:
		return fmt.Errorf("lead %s is not longer than clock_skew %s plus verifier_cache %s", short(p.Lead), short(p.ClockSkew), short(p.VerifierCache))
	case p.MaxAge < time.Second:
		return fmt.Errorf("max_age %s is shorter than 1s, which is the unit of Cache-Control; give a longer lead than %s", short(p.MaxAge), short(p.Lead))
	case p.External && p.static():
		return fmt.Errorf("a static keyset has no external certificates; name each key's chain in the configuration")
	case (p.External || p.RequireChain) && p.Encrypts():
		return fmt.Errorf("keys that decrypt cannot sign a request for a certificate, so they have none from outside and x5c cannot be required")
	case p.ManualPerDay < 1 || p.ManualBurst < 1:
		return fmt.Errorf("manual rotations are limited to %d a day with a burst of %d; both are at least 1", p.ManualPerDay, p.ManualBurst)
	case p.Encrypts():
		return p.validateEncryption()
	case p.Lead <= p.MaxAge+p.ClockSkew+p.VerifierCache:
		if p.VerifierCache > 0 {
			return fmt.Errorf("lead %s is not longer than max_age %s plus clock_skew %s plus verifier_cache %s", short(p.Lead), short(p.MaxAge), short(p.ClockSkew), short(p.VerifierCache))
		}
		return fmt.Errorf("lead %s is not longer than max_age %s plus clock_skew %s", short(p.Lead), short(p.MaxAge), short(p.ClockSkew))
	}
	return nil
}

func (p Policy) validateEncryption() error {
	switch {
	case p.MaxMessageAge == 0:
		return fmt.Errorf("max_message_age is missing; say how old a message may be that is to be decrypted")
	case !p.RetainUntilRevoked && p.Retain < p.MaxAge+p.ClockSkew+p.VerifierCache+p.MaxMessageAge:
		return fmt.Errorf("retain %s is shorter than max_age %s plus clock_skew %s plus verifier_cache %s plus max_message_age %s",
			short(p.Retain), short(p.MaxAge), short(p.ClockSkew), short(p.VerifierCache), short(p.MaxMessageAge))
	}
	return nil
}

// short writes a duration as people write it in the configuration: 5m and not 5m0s, 7d and not 168h.
func short(d time.Duration) string {
	if day := 24 * time.Hour; d >= 2*day && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
