package signingtest

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/prometheus/client_golang/prometheus"

	v1 "keysetd.example/api/v1"
	"keysetd.example/internal/keyspec"
	"keysetd.example/jwks"
	"keysetd.example/signing"
	"keysetd.example/signing/policy"
)

// Issuer of the keyset "default".
const Issuer = "https://issuer.example"

// World is a service with these keysets, those that sign with a key of every spec but the larger RSA:
//
//	default  purpose jwt, issuer Issuer, ES256 by default
//	raw      purpose raw, no default
//	any      purpose any, any issuer, RS384 published under a kid of its own
//	enc      purpose enc, with the active keys EncKeys
//	empty    purpose jwt, no key yet
type World struct {
	Service *signing.Service
	Audit   *Audit
	Keys    map[keyspec.Spec]*Key
	KIDs    map[keyspec.Spec]string
	// EncKeys decrypt, RSA-2048 and P-256, under the kids "enc-rsa-2048" and "enc-p-256".
	EncKeys  map[keyspec.Spec]*EncKey
	Metrics  *signing.Metrics
	Registry *prometheus.Registry

	// Operator takes the operators' acts.
	Operator *Operator

	// Listed are the keys that "default" and "enc" list.
	Listed []signing.KeyRecord

	// FoundSerial is what the token "main" shows as refused.
	FoundSerial string
	// Accepted are the serial numbers that were accepted.
	Accepted []string
	// Retried are the tokens for which one more login was allowed.
	Retried []string

	config signing.Config
}

// Specs of the keys that a World has.
var Specs = []keyspec.Spec{keyspec.RSA2048, keyspec.P256, keyspec.P384, keyspec.P521, keyspec.Ed25519}

// EncSpecs are the specs of the keys that decrypt.
var EncSpecs = []keyspec.Spec{keyspec.RSA2048, keyspec.P256}

// All is a rule that grants a uid everything.
func All(uid uint32) policy.Rule {
	return policy.Rule{
		Name: "test", UID: new(uid), Keysets: []string{policy.All},
		Operations: []policy.Operation{policy.All}, Algorithms: []jose.SignatureAlgorithm{policy.All}, ClientIDs: []string{policy.All},
	}
}

// New makes a World that grants what rules say.
func New(t testing.TB, rules ...policy.Rule) *World {
	t.Helper()
	w := &World{
		Audit: new(Audit), Keys: map[keyspec.Spec]*Key{}, KIDs: map[keyspec.Spec]string{}, EncKeys: map[keyspec.Spec]*EncKey{},
		Metrics: signing.NewMetrics(), Registry: prometheus.NewRegistry(), Operator: new(Operator),
	}
	if err := w.Metrics.Register(w.Registry); err != nil {
		t.Fatal(err)
	}
	for _, spec := range Specs {
		w.Keys[spec] = NewKey(t, spec)
		kid, err := jwks.KeyID(w.Keys[spec].Public)
		if err != nil {
			t.Fatal(err)
		}
		w.KIDs[spec] = kid
	}
	for _, spec := range EncSpecs {
		w.EncKeys[spec] = NewEncKey(t, spec)
	}
	w.config = signing.Config{
		Auditor: w.Audit, Metrics: w.Metrics, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Tokens: func() []v1.Token {
			return []v1.Token{{Name: "main", Up: true, Label: "keysetd", Serial: "0123", FoundSerial: w.FoundSerial}}
		},
	}
	w.config.RetryPIN = func(_ context.Context, token string) error {
		w.Retried = append(w.Retried, token)
		return nil
	}
	w.config.AcceptSerial = func(_ context.Context, _, serial string) error {
		w.Accepted = append(w.Accepted, serial)
		return nil
	}
	w.config.Operator, w.config.Reload = w.Operator, w.Operator.Reload
	w.Service = signing.New(w.config, w.State(t, rules...))
	return w
}

// State makes a state of the World's keys with other rules, for Swap.
func (w *World) State(t testing.TB, rules ...policy.Rule) *signing.State {
	t.Helper()
	return w.StateOf(t, w.Keysets(), rules...)
}

// StateOf makes a state of other keysets.
func (w *World) StateOf(t testing.TB, keysets []signing.Keyset, rules ...policy.Rule) *signing.State {
	t.Helper()
	p, err := policy.New(rules, policy.Options{OverflowUID: 65534, DaemonUID: 65533})
	if err != nil {
		t.Fatal(err)
	}
	state, err := signing.NewState(p, keysets, w.Metrics)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// Keysets are the World's.
func (w *World) Keysets() []signing.Keyset {
	var active []signing.ActiveKey
	status := v1.Keyset{Mode: "dynamic", NextRotation: time.Now().Add(time.Hour)}
	g := v1.Generation{Number: 1, State: "active", Since: time.Now().Add(-time.Hour), Until: status.NextRotation}
	for _, spec := range Specs {
		active = append(active, signing.ActiveKey{KID: w.KIDs[spec], Spec: spec, Key: w.Keys[spec], Public: w.Keys[spec].Public})
		g.Keys = append(g.Keys, v1.Key{KID: w.KIDs[spec], Spec: string(spec), Token: "main", ID: "00ff", Algorithms: []string{}})
	}
	status.Generations = []v1.Generation{g}
	var decrypting []signing.DecryptKey
	for _, spec := range EncSpecs {
		decrypting = append(decrypting, signing.DecryptKey{KID: "enc-" + string(spec), Spec: spec, Key: w.EncKeys[spec], Active: true})
	}
	return []signing.Keyset{
		{
			Name: "default", Purpose: signing.PurposeJWT, Issuer: Issuer, MaxTokenLifetime: time.Hour,
			DefaultAlg: jose.ES256, Active: active, Status: status, Records: w.records,
		},
		{Name: "raw", Purpose: signing.PurposeRaw, Active: active, Status: status},
		{
			Name: "any", Purpose: signing.PurposeAny, AnyIssuer: true, MaxTokenLifetime: time.Hour,
			PublishAlgorithms: []jose.SignatureAlgorithm{jose.RS384}, Active: slices.Clone(active), Status: status,
		},
		{Name: "enc", Purpose: signing.PurposeEnc, Decrypters: decrypting, Records: w.records},
		{Name: "empty", Purpose: signing.PurposeJWT, MaxTokenLifetime: time.Hour, DefaultAlg: jose.ES256},
	}
}
