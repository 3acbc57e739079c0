package rotation

import (
	"fmt"
	"strings"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/internal/keyspec"
)

// Policy is what the configuration says of a keyset's rotation, defaults filled in.
type Policy struct {
	// Specs of the keys in each generation, in the order of the configuration.
	Specs []keyspec.Spec
	// Token that the next generation is made on.
	Token string
	// Usage of the keys.
	Usage hsm.Usage
	// Period is how long a generation is active. Manual: until an operator rotates.
	Period time.Duration
	Manual bool
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
	// ClockSkew, whichever is shorter.
	MaxTokenLifetime time.Duration
}

// The defaults where a keyset says nothing (PingFederate's period).
const (
	DefaultPeriod       = 12 * time.Hour
	defaultManualWindow = 12 * time.Hour // lead and retain where the period is manual
	maxDefaultSkew      = 30 * time.Second
	maxDefaultMaxAge    = 5 * time.Minute
)

// WithDefaults returns p with every unset (zero) duration filled in.
func (p Policy) WithDefaults() Policy {
	window := p.Period
	switch {
	case p.Manual:
		window = defaultManualWindow
	case p.Period == 0:
		p.Period = DefaultPeriod
		window = p.Period
	}
	if p.Lead == 0 {
		p.Lead = window
	}
	if p.Retain == 0 && !p.RetainUntilRevoked {
		p.Retain = window
	}
	if p.ClockSkew == 0 {
		p.ClockSkew = min(p.Lead/10, maxDefaultSkew)
	}
	if p.MaxAge == 0 {
		p.MaxAge = min((p.Lead-p.ClockSkew-p.VerifierCache)/2, maxDefaultMaxAge).Truncate(time.Second)
	}
	if p.MaxTokenLifetime == 0 {
		p.MaxTokenLifetime = window
		if !p.RetainUntilRevoked {
			p.MaxTokenLifetime = min(window, p.Retain-p.ClockSkew)
		}
	}
	return p
}

// Validate tells the first relation that does not hold, with both values. Defaults are
// filled in.
func (p Policy) Validate() error {
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"period", p.Period}, {"lead", p.Lead}, {"retain", p.Retain}, {"clock_skew", p.ClockSkew},
		{"verifier_cache", p.VerifierCache}, {"max_token_lifetime", p.MaxTokenLifetime},
	} {
		if d.value < 0 {
			return fmt.Errorf("%s %s is negative", d.name, short(d.value))
		}
	}
	switch {
	case len(p.Specs) == 0:
		return fmt.Errorf("keys is empty; name at least one key spec")
	case !p.Manual && p.Lead > p.Period:
		return fmt.Errorf("lead %s is longer than period %s", short(p.Lead), short(p.Period))
	case p.MaxAge < time.Second:
		return fmt.Errorf("max_age %s is shorter than 1s, which is the unit of Cache-Control; give a longer lead than %s", short(p.MaxAge), short(p.Lead))
	case p.Lead <= p.MaxAge+p.ClockSkew+p.VerifierCache:
		if p.VerifierCache > 0 {
			return fmt.Errorf("lead %s is not longer than max_age %s plus clock_skew %s plus verifier_cache %s", short(p.Lead), short(p.MaxAge), short(p.ClockSkew), short(p.VerifierCache))
		}
		return fmt.Errorf("lead %s is not longer than max_age %s plus clock_skew %s", short(p.Lead), short(p.MaxAge), short(p.ClockSkew))
	case !p.RetainUntilRevoked && p.Retain < p.MaxTokenLifetime+p.ClockSkew:
		return fmt.Errorf("retain %s is shorter than max_token_lifetime %s plus clock_skew %s", short(p.Retain), short(p.MaxTokenLifetime), short(p.ClockSkew))
	}
	return nil
}

// short writes a duration as people write it in the configuration: 5m and not 5m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
