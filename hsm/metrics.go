package hsm

import (
	"github.com/prometheus/client_golang/prometheus"

	"keysetd.example/hsm/wire"
	"keysetd.example/internal/keyspec"
	"keysetd.example/internal/metric"
)

// Metrics are those of all tokens of a daemon. It is a prometheus.Collector.
type Metrics struct {
	duration *prometheus.HistogramVec
	wait     *prometheus.HistogramVec
	up       *prometheus.GaugeVec
	restarts *prometheus.CounterVec
	epochs   *prometheus.CounterVec
	queue    *prometheus.GaugeVec
	stuck    *prometheus.GaugeVec
}

// NewMetrics returns metrics without a series: each Token adds its own when it starts.
func NewMetrics() *Metrics {
	return &Metrics{
		duration: prometheus.NewHistogramVec(metric.Seconds("keysetd_token_operation_duration_seconds",
			"Time inside the PKCS#11 module, failed operations included. Of operation decrypt it is rounded up to 10 ms or their next doubling: more would tell how a message failed; keysetd_decrypt_duration_seconds has those that succeed."), []string{"token", "operation", "mechanism"}),
		wait: prometheus.NewHistogramVec(metric.Seconds("keysetd_session_wait_seconds",
			"Time that a signature or a decryption waited for a session."), []string{"token"}),
		up: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "keysetd_token_up",
			Help: "1 while the token is logged in and answers, else 0."}, []string{"token"}),
		restarts: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "keysetd_worker_restarts_total",
			Help: "Worker processes started after the first."}, []string{"token"}),
		epochs: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "keysetd_epochs_total",
			Help: "Lives of workers that ended, those that never came to sign included, by cause."}, []string{"token", "cause"}),
		queue: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "keysetd_queue_length",
			Help: "Signatures and decryptions that wait for the token or for a session now."}, []string{"token"}),
		stuck: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "keysetd_unkillable_workers",
			Help: "Worker processes that were killed and do not end."}, []string{"token"}),
	}
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.collectors() {
		c.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.collectors() {
		c.Collect(ch)
	}
}

func (m *Metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.duration, m.wait, m.up, m.restarts, m.epochs, m.queue, m.stuck}
}

// tokenMetrics are one token's series, resolved once.
type tokenMetrics struct {
	use      [wire.ECDH1 + 1]prometheus.Observer // by wire.Mechanism
	generate map[keyspec.Spec]prometheus.Observer
	other    map[wire.Op]prometheus.Observer
	wait     prometheus.Observer
	up       prometheus.Gauge
	restarts prometheus.Counter
	epochs   map[cause]prometheus.Counter

	queue, unkillable prometheus.Gauge
}

func (m *Metrics) of(token string) *tokenMetrics {
	t := &tokenMetrics{
		generate: map[keyspec.Spec]prometheus.Observer{},
		other:    map[wire.Op]prometheus.Observer{},
		wait:     m.wait.WithLabelValues(token),
		up:       m.up.WithLabelValues(token),
		restarts: m.restarts.WithLabelValues(token),
		epochs:   map[cause]prometheus.Counter{},

		queue:      m.queue.WithLabelValues(token),
		unkillable: m.stuck.WithLabelValues(token),
	}
	for _, c := range causes {
		t.epochs[c] = m.epochs.WithLabelValues(token, string(c))
	}
	for mech := wire.RSAPKCS; mech <= wire.ECDH1; mech++ {
		if mech < wire.OAEPSHA1 {
			t.use[mech] = m.duration.WithLabelValues(token, wire.OpSign.String(), mech.String())
			continue
		}
		t.use[mech] = metric.SettledObserver{To: m.duration.WithLabelValues(token, wire.OpDecrypt.String(), mech.String())}
	}
	for _, s := range keyspec.All() {
		t.generate[s] = m.duration.WithLabelValues(token, wire.OpGenerate.String(), generator(s))
	}
	for _, op := range []wire.Op{wire.OpOpen, wire.OpLogin, wire.OpList, wire.OpDestroy} {
		t.other[op] = m.duration.WithLabelValues(token, op.String(), "")
	}
	return t
}

// generator is the CKM_ name, without its prefix, of the mechanism that makes such a key pair.
func generator(s keyspec.Spec) string {
	switch {
	case s.RSA():
		return "RSA_PKCS_KEY_PAIR_GEN"
	case s.Curve() != nil:
		return "EC_KEY_PAIR_GEN"
	}
	return "EC_EDWARDS_KEY_PAIR_GEN"
}
