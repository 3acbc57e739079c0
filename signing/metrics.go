package signing

import (
	"cmp"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/prometheus/client_golang/prometheus"

	v1 "keysetd.example/api/v1"
	"keysetd.example/internal/jwa"
	"keysetd.example/internal/metric"
)

// outcome of a request, as metrics and the audit log tell it.
type outcome string

const (
	ok      outcome = "ok"
	refused outcome = "refused" // the caller's to mend
	failed  outcome = "error"   // the operator's to mend, or time's
)

func outcomeOf(reason v1.Reason) outcome {
	switch reason {
	case "":
		return ok
	case v1.NotReady, v1.Unavailable, v1.Overloaded, v1.DeadlineExceeded, v1.AuditFailed, v1.Internal:
		return failed
	}
	return refused
}

// noAlg labels requests that ended before it was known which algorithm they were for.
const noAlg = "none"

// Metrics of the service.
type Metrics struct {
	duration   *prometheus.HistogramVec
	signatures *prometheus.CounterVec

	decryptDuration *prometheus.HistogramVec
	decryptions     *prometheus.CounterVec

	// observers are looked up once: a lookup by label costs more than an observation.
	observers map[jose.SignatureAlgorithm]map[outcome]prometheus.Observer
}

// NewMetrics returns metrics that nobody has registered yet.
func NewMetrics() *Metrics {
	m := &Metrics{
		duration: prometheus.NewHistogramVec(metric.Seconds("keysetd_sign_duration_seconds",
			"Time of a signing request in the service, from its arrival until its reply is ready, audit included."), []string{"alg", "outcome"}),
		signatures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "keysetd_signatures_total",
			Help: "Signatures handed out.",
		}, []string{"keyset", "alg"}),
		decryptDuration: prometheus.NewHistogramVec(metric.Seconds("keysetd_decrypt_duration_seconds",
			"Time of a decryption request in the service, from its arrival until its reply is ready, audit included. What failed is told after 10 ms or their next doubling, so that its time does not tell why."), []string{"alg", "outcome"}),
		decryptions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "keysetd_decryptions_total",
			Help: "Messages and keys handed out decrypted.",
		}, []string{"keyset", "alg"}),
		observers: map[jose.SignatureAlgorithm]map[outcome]prometheus.Observer{},
	}
	for _, alg := range append(jwa.All(), noAlg) {
		m.observers[alg] = map[outcome]prometheus.Observer{}
		for _, o := range []outcome{ok, refused, failed} {
			m.observers[alg][o] = m.duration.WithLabelValues(string(alg), string(o))
		}
	}
	return m
}

// Register adds the metrics to a registry.
func (m *Metrics) Register(r prometheus.Registerer) error {
	for _, c := range []prometheus.Collector{m.duration, m.signatures, m.decryptDuration, m.decryptions} {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}

func (m *Metrics) observe(alg jose.SignatureAlgorithm, o outcome, took time.Duration) {
	if alg == "" {
		alg = noAlg
	}
	m.observers[alg][o].Observe(took.Seconds())
}

// decrypted counts an act of operation decrypt. Its labels are looked up each time, which is little
// beside what the token does.
func (m *Metrics) decrypted(a *act, o outcome, took time.Duration) {
	alg := cmp.Or(string(a.keyAlg), noAlg)
	m.decryptDuration.WithLabelValues(alg, string(o)).Observe(took.Seconds())
	if o == ok {
		m.decryptions.WithLabelValues(a.keyset, alg).Inc()
	}
}
