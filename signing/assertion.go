package signing

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json/jsontext"

	v1 "keysetd.example/api/v1"
	"keysetd.example/signing/policy"
)

// ClientAssertionType is the client_assertion_type that goes with a client assertion (RFC 7523 §2.2).
const ClientAssertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// The values of typ that a client assertion may have.
const (
	assertionTypJWT = "JWT"
	// assertionTypOwn tells it from every other JWT (draft-ietf-oauth-rfc7523bis, after CVE-2025-27370).
	assertionTypOwn = "client-authentication+jwt"
)

// AssertionSettings say how a keyset's client assertions look. The zero value is typ JWT, aud a
// string, five minutes at most.
type AssertionSettings struct {
	// Typ is JWT or client-authentication+jwt. Empty: JWT. (HeaderSettings.Types is for tokens.)
	Typ string
	// AudienceArray makes aud an array of one string.
	AudienceArray bool
	// MaxLifetime is how long an assertion may live; no longer than MaxTokenLifetime in any
	// case. Unset: 5m.
	MaxLifetime time.Duration
}

const (
	defaultAssertionLifetime = time.Minute
	maxAssertionLifetime     = 5 * time.Minute
	// maxClientID and maxAudience bound what callers send, in bytes.
	maxClientID = 512
	maxAudience = 2 << 10
)

func (s AssertionSettings) check() error {
	switch {
	case s.Typ != "" && s.Typ != assertionTypJWT && s.Typ != assertionTypOwn:
		return fmt.Errorf("client assertions have typ %s or %s, not %q", assertionTypJWT, assertionTypOwn, s.Typ)
	case s.MaxLifetime < 0:
		return fmt.Errorf("client assertions cannot live for %v", s.MaxLifetime)
	}
	return nil
}

// withDefaults says what the fields mean that are unset, where tokens live for maxToken at most.
func (s AssertionSettings) withDefaults(maxToken time.Duration) AssertionSettings {
	s.Typ = cmp.Or(s.Typ, assertionTypJWT)
	s.MaxLifetime = min(cmp.Or(s.MaxLifetime, maxAssertionLifetime), maxToken)
	return s
}

// SignClientAssertion makes a JWT by which a client authenticates at a token endpoint (RFC 7523
// §3), as operation client-assertion.
func (s *Service) SignClientAssertion(ctx context.Context, caller policy.Caller, keyset string, req *v1.ClientAssertionRequest) (_ *v1.ClientAssertionReply, err error) {
	a := s.begin(caller, policy.ClientAssertion, keyset)
	defer s.finish(ctx, a, &err)
	reply, err := s.signAssertion(ctx, a, req)
	if err = s.end(ctx, a, err); err != nil {
		return nil, err
	}
	return reply, nil
}

func (s *Service) signAssertion(ctx context.Context, a *act, req *v1.ClientAssertionRequest) (*v1.ClientAssertionReply, error) {
	if err := a.authorise(jose.SignatureAlgorithm(req.Alg)); err != nil {
		return nil, err
	}
	ks, err := a.open(PurposeJWT, PurposeAny)
	if err != nil {
		return nil, err
	}
	header, r, err := a.composeAssertion(ks, req)
	if err != nil {
		return nil, err
	}
	if err := a.permit(r, 1); err != nil {
		return nil, err
	}
	if err := a.outlive(ctx, ks); err != nil {
		return nil, err
	}
	token, err := a.compact(ctx, header, r.Claims)
	if err != nil {
		return nil, err
	}
	return &v1.ClientAssertionReply{
		ClientAssertion: token, ClientAssertionType: ClientAssertionType,
		KID: a.key.kid, Alg: string(a.key.alg), ExpiresAt: time.Unix(a.facts.exp, 0).UTC(),
	}, nil
}

// composeAssertion judges the request, chooses the key, and returns the header of the assertion, and
// what the policy is to judge, with the claims.
func (a *act) composeAssertion(ks *keyset, req *v1.ClientAssertionRequest) (header jwsHeader, r policy.Request, err error) {
	lifetime, err := ks.assertion.judge(req)
	if err != nil {
		return header, r, err
	}
	if req.ClientID == ks.rules.issuer {
		// To whoever trusts the issuer it would be one of its tokens, and those are operation jwt's.
		return header, r, refuse(v1.BadRequest, "/client_id", "client_id %s is the keyset's own issuer; an assertion is made for a client", quote(req.ClientID))
	}
	if err := a.choose(ks, jose.SignatureAlgorithm(req.Alg), req.KID, "/kid"); err != nil {
		return header, r, err
	}
	claims := a.assert(req, ks.assertion, lifetime)
	header = a.key.header.with(askedHeader{typ: ks.assertion.Typ})
	return header, policy.Request{Typ: ks.assertion.Typ, ClientID: req.ClientID, Claims: claims, Header: header.raw}, nil
}

// judge decides whether a request can become an assertion, and returns how long it is to live.
func (s AssertionSettings) judge(req *v1.ClientAssertionRequest) (time.Duration, error) {
	switch {
	case req.ClientID == "":
		return 0, refuse(v1.BadRequest, "/client_id", "client_id is missing; give the id that the authorization server knows the client by")
	case len(req.ClientID) > maxClientID:
		return 0, refuse(v1.BadRequest, "/client_id", "client_id is %d bytes long; at most %d are signed", len(req.ClientID), maxClientID)
	case strings.ContainsFunc(req.ClientID, func(r rune) bool { return r < ' ' || r > '~' }):
		return 0, refuse(v1.BadRequest, "/client_id", "client_id has a character that no client id has (RFC 6749 appendix A.1); they are those of ASCII, controls excepted")
	case req.Audience == "":
		return 0, refuse(v1.BadRequest, "/audience", "audience is missing; give the authorization server's issuer, or its token endpoint where it wants that")
	case len(req.Audience) > maxAudience:
		return 0, refuse(v1.BadRequest, "/audience", "audience is %d bytes long; at most %d are signed", len(req.Audience), maxAudience)
	case !utf8.ValidString(req.Audience) || strings.ContainsFunc(req.Audience, unicode.IsControl):
		return 0, refuse(v1.BadRequest, "/audience", "audience must be UTF-8 without control characters")
	case req.Lifetime == "":
		return s.within(min(defaultAssertionLifetime, s.MaxLifetime.Truncate(time.Second)))
	}
	lifetime, err := time.ParseDuration(req.Lifetime)
	if err != nil || lifetime%time.Second != 0 || lifetime < time.Second {
		return 0, refuse(v1.BadRequest, "/lifetime", "lifetime %s is not a duration in whole seconds, as 60s is", quote(req.Lifetime))
	}
	return s.within(lifetime)
}

func (s AssertionSettings) within(lifetime time.Duration) (time.Duration, error) {
	if lifetime < time.Second || lifetime > s.MaxLifetime {
		return 0, refuse(v1.LifetimeTooLong, "/lifetime", "a lifetime of %v is longer than the %v that the keyset's client assertions live at most", max(lifetime, time.Second), s.MaxLifetime)
	}
	return lifetime, nil
}

// assert composes the claims (RFC 7523 §3, RFC 7519 §4.1). The keyset's issuer does not apply:
// who issues an assertion is the client. There is no nbf, lest a server whose clock is behind
// refuse it.
func (a *act) assert(req *v1.ClientAssertionRequest, s AssertionSettings, lifetime time.Duration) []byte {
	var random [16]byte
	rand.Read(random[:])
	iat := a.start.Unix()
	a.facts = claimFacts{exp: iat + int64(lifetime/time.Second), jti: base64.RawURLEncoding.EncodeToString(random[:])}

	client, _ := jsontext.AppendQuote(nil, req.ClientID) // judge saw that both are UTF-8
	audience, _ := jsontext.AppendQuote(nil, req.Audience)
	if s.AudienceArray {
		audience = append(append([]byte{'['}, audience...), ']')
	}
	b := append([]byte(`{"iss":`), client...)
	b = append(append(b, `,"sub":`...), client...)
	b = append(append(b, `,"aud":`...), audience...)
	b = strconv.AppendInt(append(b, `,"exp":`...), a.facts.exp, 10)
	b = strconv.AppendInt(append(b, `,"iat":`...), iat, 10)
	return append(b, `,"jti":"`+a.facts.jti+`"}`...)
}
