package rotation

import (
	"crypto"
	"time"

	"keysetd.example/internal/keyspec"
)

// CertRequest asks for the certificate of a new key.
type CertRequest struct {
	Keyset     string
	Generation int
	Spec       keyspec.Spec
	KID        string
	Public     crypto.PublicKey
	// NotBefore is the key's creation less the clock skew, NotAfter beyond everything the
	// key may still verify.
	NotBefore, NotAfter time.Time
	// Signer signs with the new key itself. Its signatures are for this certificate only. Nil for a
	// key that decrypts.
	Signer crypto.Signer
}

const (
	// handLifetime is for keys whose end no schedule knows: rotated by hand, or retained
	// until revoked.
	handLifetime = 10 * 365 * 24 * time.Hour
	// outageMargin is how long an active key may have to stay on because its token is out
	// of reach and nothing can follow it.
	outageMargin = 30 * 24 * time.Hour
)

// CertificateLifetime is how long after its creation a key's certificate ends: the whole
// of lead, period and retain, the longest token and the longest freeze, and 30 days for an outage
// that keeps the key active. Where the period is manual or retain is until-revoked, 10 years.
func (p Policy) CertificateLifetime() time.Duration {
	if p.Manual || p.RetainUntilRevoked {
		return handLifetime
	}
	return p.Lead + p.Period + p.Jitter + p.Retain + p.MaxTokenLifetime + p.ClockSkew + p.MaxFreeze + outageMargin
}

// freshness is how long a page served under p may be used.
func (p Policy) freshness() Freshness {
	return Freshness{MaxAge: p.MaxAge, ClockSkew: p.ClockSkew, VerifierCache: p.VerifierCache}
}
