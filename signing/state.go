package signing

import (
	"cmp"
	"context"
	"crypto"
	"encoding/base64"
	"fmt"
	"slices"
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
	// Issuer that iss must equal, if claims carry one, unless AnyIssuer. Whoever is granted jwt
	// here speaks for the issuer, also as its sub: a token about the issuer itself is the issuer's
	// to make, and client assertions are made for other clients only. Where an authorization server
	// knows the issuer itself as a client with these keys, such a token authenticates it there.
	Issuer string
	// AnyIssuer lets claims carry any iss. Those whose iss and sub are the same are a client
	// assertion, which has to be granted as one beside jwt, and lives no longer than one.
	AnyIssuer bool
	// MaxTokenLifetime is how far ahead exp may lie; positive where tokens are signed.
	MaxTokenLifetime time.Duration
	// Guaranteed is how far ahead it may lie without a call to Outlive, since the key surely
	// stays published that long. Unset: MaxTokenLifetime.
	Guaranteed time.Duration
	// Outlive puts down that a generation has to stay published until exp (invariant 2). It is
	// called before a token that lives longer than Guaranteed is signed; where it fails nothing
	// is, and rotation.ErrNotLive means that it is too late for that generation. It must not wait
	// for what Swap's drained tells, nor for somebody who does. Required where MaxTokenLifetime is
	// longer than Guaranteed.
	Outlive func(ctx context.Context, generation int, exp time.Time) error
	// DefaultAlg is what a request without alg gets. Empty: the only algorithm there is, and
	// where there are several a request has to say alg or kid.
	DefaultAlg jose.SignatureAlgorithm
	// PublishAlgorithms are those that RSA keys sign under a kid of their own (jwks.KIDFor): not
	// those whose entries are published and not active.
	PublishAlgorithms []jose.SignatureAlgorithm
	// Header says what stands in the headers of tokens and assertions.
	Header HeaderSettings
	// Assertion says how client assertions look.
	Assertion AssertionSettings
	// Active are the keys of the active generation. Where several serve an algorithm the
	// first one does. Empty: the keyset is not ready.
	Active []ActiveKey
	// Coming are algorithms that cannot be had yet, and ComingKIDs the kids of keys that do not
	// sign yet, with those of their own for an algorithm; each with the instant from which on it
	// can be asked for, zero where that is not known.
	Coming     map[jose.SignatureAlgorithm]time.Time
	ComingKIDs map[string]time.Time
	// Revoked are the kids of keys that were revoked, with those of their own for an algorithm. No
	// key signs under one, whatever Active says (invariant 6).
	Revoked []string
	// Decrypters are the keys that decrypt, of purpose enc, in the order in which they are tried for
	// a message that names none: newest first. One that is active and decrypts makes the keyset ready.
	Decrypters []DecryptKey
	// Records are all keys of the keyset, in the order in which they are listed; each time it is
	// called the same. Nil: none are known. It is called for whoever asks for them, so that what a
	// thousand keysets' lists would weigh is not held by a State, and it must not block.
	Records func() []KeyRecord
	// Status is what GET shows. NewState fills in what it knows itself: name, purpose,
	// issuer, algorithms, ready. Coming and Revoked stand in it for the caller, too.
	Status v1.Keyset
}

// ActiveKey is a key that signs, with every algorithm of its spec.
type ActiveKey struct {
	KID  string
	Spec keyspec.Spec
	Key  Key
	// Public half of Key.
	Public crypto.PublicKey
	// Generation that it is of, for Outlive.
	Generation int
	// Chain of the key's certificate, in DER, its own first. Empty: it has none.
	Chain [][]byte
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
	header     HeaderSettings
	longest    int // header segment that is read, in characters
	assertion  AssertionSettings
	defaultAlg jose.SignatureAlgorithm
	keys       []*activeKey // those of defaultAlg first
	recipients []*recipient
	coming     map[jose.SignatureAlgorithm]time.Time
	comingKIDs map[string]time.Time
	revoked    []string // few, and looked at only when something is refused or the state has changed
	guaranteed time.Duration
	outlive    func(ctx context.Context, generation int, exp time.Time) error
	records    func() []KeyRecord
	status     v1.Keyset
}

// activeKey is a key under one algorithm, for which it may have a kid of its own.
type activeKey struct {
	alg        jose.SignatureAlgorithm
	kid        string
	opts       crypto.SignerOpts
	key        Key
	public     crypto.PublicKey
	chain      [][]byte
	generation int
	header     ownHeader
	signed     prometheus.Counter
}

// NewState checks the keysets and prepares what every request needs of them. Metrics are
// those of the Service that the State is for. What it is given must not be changed afterwards.
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
	if err := in.check(); err != nil {
		return nil, err
	}
	assertion := in.Assertion.withDefaults(in.MaxTokenLifetime)
	ks := &keyset{
		purpose: in.Purpose, rules: claimRules{in.Issuer, in.AnyIssuer, in.MaxTokenLifetime, assertion.MaxLifetime}, defaultAlg: in.DefaultAlg,
		header: in.Header, longest: minProtected, assertion: assertion,
		coming: in.Coming, comingKIDs: in.ComingKIDs, revoked: in.Revoked,
		guaranteed: cmp.Or(in.Guaranteed, in.MaxTokenLifetime), outlive: in.Outlive, records: in.Records,
		status: in.Status,
	}
	for _, k := range in.Active {
		if slices.Contains(in.Revoked, k.KID) {
			continue
		}
		if err := ks.add(k, in, m); err != nil {
			return nil, err
		}
	}
	var err error
	if ks.recipients, err = in.recipients(); err != nil {
		return nil, err
	}
	if algs := ks.algorithms(); ks.defaultAlg == "" && len(algs) == 1 {
		ks.defaultAlg = jose.SignatureAlgorithm(algs[0])
	}
	slices.SortStableFunc(ks.keys, func(a, b *activeKey) int { return rank(a, ks.defaultAlg) - rank(b, ks.defaultAlg) })
	ks.status.Name, ks.status.Purpose, ks.status.Issuer = in.Name, string(in.Purpose), in.Issuer
	if ks.status.Algorithms = ks.algorithms(); in.Purpose == PurposeEnc {
		ks.status.Algorithms = ks.offered()
	}
	ks.status.Ready = len(ks.status.Algorithms) > 0
	return ks, nil
}

func (in Keyset) check() error {
	switch in.Purpose {
	case PurposeJWT, PurposeAny:
		switch {
		case in.MaxTokenLifetime <= 0:
			return fmt.Errorf("purpose %s needs a max_token_lifetime longer than %v", in.Purpose, in.MaxTokenLifetime)
		case in.Guaranteed < 0:
			return fmt.Errorf("keys cannot be guaranteed to stay published for %v", in.Guaranteed)
		case in.Guaranteed > 0 && in.Guaranteed < in.MaxTokenLifetime && in.Outlive == nil:
			return fmt.Errorf("max_token_lifetime %v is longer than the %v for which keys surely stay published, and nothing makes them stay longer", in.MaxTokenLifetime, in.Guaranteed)
		}
	case PurposeRaw:
	case PurposeEnc, PurposeNone:
		if len(in.Active) > 0 {
			return fmt.Errorf("purpose %s cannot have %d keys that sign", in.Purpose, len(in.Active))
		}
	default:
		return fmt.Errorf("purpose %q is none of jwt, raw, any, enc", in.Purpose)
	}
	if err := in.Header.check(); err != nil {
		return err
	}
	return in.Assertion.check()
}

// add makes k sign with every algorithm that it can.
func (ks *keyset) add(k ActiveKey, in Keyset, m *Metrics) error {
	switch {
	case k.KID == "" || !utf8.ValidString(k.KID):
		return fmt.Errorf("kid %q of the %s key is empty or not UTF-8", k.KID, k.Spec)
	case len(jwa.ForSpec(k.Spec)) == 0:
		return fmt.Errorf("key %s: no algorithm is known for key spec %q", k.KID, k.Spec)
	case k.Key == nil:
		return fmt.Errorf("key %s has no handle", k.KID)
	case k.Public == nil:
		return fmt.Errorf("key %s has no public half", k.KID)
	}
	for _, alg := range jwa.ForSpec(k.Spec) {
		opts, err := jwa.Options(alg)
		if err != nil {
			return err
		}
		kid := jwks.KIDFor(k.KID, alg, in.PublishAlgorithms)
		if k.Key.Unsupported(opts) || slices.Contains(in.Revoked, kid) {
			continue
		}
		own := newOwnHeader(alg, kid, in.Header, k.Chain)
		ks.longest = max(ks.longest, minProtected+base64.RawURLEncoding.EncodedLen(len(own.tail)+in.Header.most()))
		ks.keys = append(ks.keys, &activeKey{
			alg: alg, kid: kid, opts: opts, key: k.Key, public: k.Public, chain: k.Chain, generation: k.Generation, header: own,
			signed: m.signatures.WithLabelValues(in.Name, string(alg)),
		})
	}
	return nil
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
