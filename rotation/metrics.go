package rotation

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are computed from the Manager's snapshot when they are read.
type Metrics struct {
	snapshot    atomic.Pointer[func() *Snapshot]
	generations *prometheus.Desc
	next        *prometheus.Desc
	lost        *prometheus.Desc
	missing     *prometheus.Desc
}

// NewMetrics returns metrics for one Manager, in which they are set.
func NewMetrics() *Metrics {
	return &Metrics{
		generations: prometheus.NewDesc("keysetd_generations",
			"Live generations of a keyset by state.", []string{"keyset", "state"}, nil),
		next: prometheus.NewDesc("keysetd_next_rotation_timestamp_seconds",
			"When the active generation is due to be replaced, in Unix time; absent where that is by hand.", []string{"keyset"}, nil),
		lost: prometheus.NewDesc("keysetd_keys_lost",
			"Keys of a keyset's live generations that are not on their token although it is there.", []string{"keyset"}, nil),
		missing: prometheus.NewDesc("keysetd_certificates_missing",
			"Keys of a keyset for which somebody should get a certificate: they wait for it, or theirs ends soon, or is no longer valid.", []string{"keyset"}, nil),
	}
}

// Register registers them.
func (m *Metrics) Register(r prometheus.Registerer) error { return r.Register(m) }

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.generations
	ch <- m.next
	ch <- m.lost
	ch <- m.missing
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	snapshot := m.snapshot.Load()
	if snapshot == nil {
		return
	}
	for name, k := range (*snapshot)().Keysets {
		count, lost := map[State]int{}, 0
		for _, g := range k.Document.Generations {
			count[g.State]++
			lost += len(g.lost())
		}
		ch <- prometheus.MustNewConstMetric(m.lost, prometheus.GaugeValue, float64(lost), name)
		ch <- prometheus.MustNewConstMetric(m.missing, prometheus.GaugeValue, float64(len(k.Missing)), name)
		for _, s := range []State{Pending, Active, Retired} {
			ch <- prometheus.MustNewConstMetric(m.generations, prometheus.GaugeValue, float64(count[s]), name, string(s))
		}
		if at := k.NextRotation(); !at.IsZero() {
			seconds := float64(at.UnixMilli()) / 1000
			ch <- prometheus.MustNewConstMetric(m.next, prometheus.GaugeValue, seconds, name)
		}
	}
}
