package signing

import (
	"context"
	"crypto"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"
	"github.com/prometheus/client_golang/prometheus"

	v1 "keysetd.example/api/v1"
	"keysetd.example/internal/jwa"
	"keysetd.example/internal/keyspec"
	"keysetd.example/jwks"
	"keysetd.example/signing/policy"
)

// Purpose is what a keyset signs.
type Purpose string

// The purposes.
const (
	PurposeJWT Purpose = "jwt" // tokens, whose claims are judged
	PurposeRaw Purpose = "raw" // payloads and digests
	PurposeAny Purpose = "any" // both
	PurposeEnc Purpose = "enc" // nothing: it decrypts
	// PurposeNone is for a keyset that the configuration no longer has: published as it was
	// stored, and without keys that sign.
	PurposeNone Purpose = "none"
)

// Key signs what package hsm signs: a digest, or for EdDSA the message. An ECDSA
// signature is r‖s (RFC 7518 §3.4). Errors wrap the sentinels of package hsm.
type Key interface {
	Sign(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error)
	// Unsupported tells whether the token is known not to sign this way with this key: the
	// algorithm is then not offered.
	Unsupported(opts crypto.SignerOpts) bool
}

// Keyset is what a State is told of one keyset.
type Keyset struct {
	Name    string
	Purpose Purpose
	// Issuer that iss must equal, if claims carry one, unless AnyIssuer.
	Issuer    string
	AnyIssuer bool
	// MaxTokenLifetime is how far ahead exp may lie; positive where tokens are signed.
	MaxTokenLifetime time.Duration
	// DefaultAlg is what a request without alg gets. Empty: the only algorithm there is, and
	// where there are several a request has to say alg or kid.
	DefaultAlg jose.SignatureAlgorithm
	// PublishAlgorithms are those under which RSA keys have a kid of their own (jwks.KIDFor).
	PublishAlgorithms []jose.SignatureAlgorithm
	// Active are the keys of the active generation. Where several serve an algorithm the
	// first one does. Empty: the keyset is not ready.
	Active []ActiveKey
	// Status is what GET shows. NewState fills in what it knows itself: name, purpose,
	// issuer, algorithms, ready.
	Status v1.Keyset
}

// ActiveKey is a key that signs, with every algorithm of its spec.
type ActiveKey struct {
	KID  string
	Spec keyspec.Spec
	Key  Key
}

// State is an immutable snapshot of everything that a request is judged by: policy,
// keysets, keys. A request uses one State from its beginning to its end.
type State struct {
	policy  *policy.Policy
	keysets map[string]*keyset
	names   []string // sorted
}

type keyset struct {
	purpose    Purpose
	rules      claimRules
	defaultAlg jose.SignatureAlgorithm
	keys       []*activeKey // those of defaultAlg first
	status     v1.Keyset
}

// activeKey is a key under one algorithm, for which it may have a kid of its own.
type activeKey struct {
	alg    jose.SignatureAlgorithm
	kid    string
	opts   crypto.SignerOpts
	key    Key
	header string // the protected header for typ JWT, encoded
	signed prometheus.Counter
}

// NewState checks the keysets and prepares what every request needs of them. Metrics are
// those of the Service that the State is for.
func NewState(p *policy.Policy, keysets []Keyset, m *Metrics) (*State, error) {
	s := &State{policy: p, keysets: map[string]*keyset{}}
	for _, in := range keysets {
		if _, twice := s.keysets[in.Name]; twice {
			return nil, fmt.Errorf("keyset %s is given twice", in.Name)
		}
		ks, err := newKeyset(in, m)
		if err != nil {
			return nil, fmt.Errorf("keyset %s: %w", in.Name, err)
		}
		s.keysets[in.Name] = ks
		s.names = append(s.names, in.Name)
	}
	slices.Sort(s.names)
	return s, nil
}

func newKeyset(in Keyset, m *Metrics) (*keyset, error) {
	switch in.Purpose {
	case PurposeJWT, PurposeAny:
		if in.MaxTokenLifetime <= 0 {
			return nil, fmt.Errorf("purpose %s needs a max_token_lifetime longer than %v", in.Purpose, in.MaxTokenLifetime)
		}
	case PurposeRaw:
	case PurposeEnc, PurposeNone:
		if len(in.Active) > 0 {
			return nil, fmt.Errorf("purpose %s cannot have %d keys that sign", in.Purpose, len(in.Active))
		}
	default:
		return nil, fmt.Errorf("purpose %q is none of jwt, raw, any, enc", in.Purpose)
	}
	ks := &keyset{
		purpose:    in.Purpose,
		rules:      claimRules{in.Issuer, in.AnyIssuer, in.MaxTokenLifetime},
		defaultAlg: in.DefaultAlg,
		status:     in.Status,
	}
	for _, k := range in.Active {
		switch {
		case k.KID == "" || !utf8.ValidString(k.KID):
			return nil, fmt.Errorf("kid %q of the %s key is empty or not UTF-8", k.KID, k.Spec)
		case len(jwa.ForSpec(k.Spec)) == 0:
			return nil, fmt.Errorf("key %s: no algorithm is known for key spec %q", k.KID, k.Spec)
		case k.Key == nil:
			return nil, fmt.Errorf("key %s has no handle", k.KID)
		}
		for _, alg := range jwa.ForSpec(k.Spec) {
			opts, err := jwa.Options(alg)
			if err != nil {
				return nil, err
			}
			if k.Key.Unsupported(opts) {
				continue
			}
			kid := jwks.KIDFor(k.KID, alg, in.PublishAlgorithms)
			ks.keys = append(ks.keys, &activeKey{
				alg: alg, kid: kid, opts: opts, key: k.Key,
				header: protected(alg, kid, defaultTyp),
				signed: m.signatures.WithLabelValues(in.Name, string(alg)),
			})
		}
	}
	if algs := ks.algorithms(); ks.defaultAlg == "" && len(algs) == 1 {
		ks.defaultAlg = jose.SignatureAlgorithm(algs[0])
	}
	slices.SortStableFunc(ks.keys, func(a, b *activeKey) int { return rank(a, ks.defaultAlg) - rank(b, ks.defaultAlg) })
	ks.status.Name, ks.status.Purpose, ks.status.Issuer = in.Name, string(in.Purpose), in.Issuer
	ks.status.Algorithms = ks.algorithms()
	ks.status.Ready = len(ks.keys) > 0
	return ks, nil
}

func rank(k *activeKey, first jose.SignatureAlgorithm) int {
	if k.alg == first {
		return 0
	}
	return 1
}

// algorithms that can be asked for, the default first.
func (ks *keyset) algorithms() []string {
	algs := []string{}
	for _, k := range ks.keys {
		if !slices.Contains(algs, string(k.alg)) {
			algs = append(algs, string(k.alg))
		}
	}
	return algs
}

// choose returns the key for alg and kid, either of which may be empty. kidField is
// where the request carries kid.
func (ks *keyset) choose(alg jose.SignatureAlgorithm, kid, kidField string) (*activeKey, error) {
	if len(ks.keys) == 0 {
		return nil, refuse(v1.NotReady, "", "the keyset has no key that may sign yet; GET /v1/keysets/NAME tells why")
	}
	if alg == "" && kid == "" {
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
	if current == nil {
		return nil, refuse(v1.AlgorithmUnavailable, "/alg", "the keyset has no active key for %s; it has %s", quote(string(alg)), strings.Join(ks.algorithms(), ", "))
	}
	return nil, refuse(v1.KidNotActive, kidField, "the key %s does not sign, or no longer; for %s it is %q now", quote(kid), current.alg, current.kid)
}
