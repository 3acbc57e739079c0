package signing

import (
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	v1 "keysetd.example/api/v1"
)

// choose returns the key for alg and kid, either of which may be empty. kidField is
// where the request carries kid. now is for saying how long to wait for what is coming.
func (ks *keyset) choose(alg jose.SignatureAlgorithm, kid, kidField string, now time.Time) (*activeKey, error) {
	if alg == "" && kid == "" && len(ks.keys) > 0 {
		if alg = ks.defaultAlg; alg == "" {
			return nil, refuse(v1.BadRequest, "/alg", "the keyset names no default algorithm; give alg, one of %s", strings.Join(ks.algorithms(), ", "))
		}
	}
	var current *activeKey
	for _, k := range ks.keys {
		if alg != "" && k.alg != alg {
			continue
		}
		if kid == "" || k.kid == kid {
			return k, nil
		}
		if current == nil {
			current = k
		}
	}
	if kid != "" && slices.Contains(ks.revoked, kid) {
		return nil, wasRevoked(kid, kidField)
	}
	if at, coming := ks.comingKIDs[kid]; coming {
		return nil, later(at, now, v1.KidNotActive, kidField, "the key "+quote(kid)+" does not sign yet")
	}
	if len(ks.keys) == 0 {
		return nil, ks.notReady(alg, now)
	}
	if current != nil {
		return nil, refuse(v1.KidNotActive, kidField, "the key %s does not sign, or no longer; for %s it is %q now", quote(kid), current.alg, current.kid)
	}
	has := "; it has " + strings.Join(ks.algorithms(), ", ")
	if at, coming := ks.coming[alg]; coming {
		return nil, later(at, now, v1.AlgorithmUnavailable, "/alg", "the keyset has no active key for "+string(alg)+" yet"+has)
	}
	return nil, refuse(v1.AlgorithmUnavailable, "/alg", "the keyset has no active key for %s%s", quote(string(alg)), has)
}

// notReady refuses what nothing can sign now; it names when alg can be had, or else when anything can.
func (ks *keyset) notReady(alg jose.SignatureAlgorithm, now time.Time) *v1.Error {
	detail := "the keyset has no key that may sign yet; `keysetctl status " + ks.status.Name + "` tells why"
	if alg == "" {
		alg = ks.defaultAlg
	}
	first := ks.coming[alg]
	if first.IsZero() {
		for _, at := range ks.comingKIDs {
			first = earlier(first, at)
		}
		for _, at := range ks.coming {
			first = earlier(first, at)
		}
	}
	if first.IsZero() {
		return refuse(v1.NotReady, "", "%s", detail)
	}
	return later(first, now, v1.NotReady, "", detail)
}

// earlier of two instants, of which the zero one counts as unknown.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// later refuses what can be had from at on. The text and RetryAfterMillis agree on when: the next
// whole second, so that whoever waits for either has waited long enough.
func later(at, now time.Time, reason v1.Reason, field, what string) *v1.Error {
	when := "from when on is not known yet"
	if !at.IsZero() {
		at = wholeSecond(at)
		when = "ask again from " + stamp(at) + " on"
	}
	e := refuse(reason, field, "%s; %s", what, when)
	e.RetryAfterMillis = retryAfter(now, at)
	return e
}

func wasRevoked(kid, field string) *v1.Error {
	return refuse(v1.KidNotActive, field, "the key %s was revoked, and signs nothing any more", quote(kid))
}
