package audit

import (
	"errors"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// counts are what the metrics show.
type counts struct {
	failures atomic.Uint64 // writes that failed
	sealed   atomic.Int64  // when the last checkpoint was written, Unix time; 0: none since the start
}

// Register adds the log's metrics to r.
func (l *Log) Register(r prometheus.Registerer) error {
	return errors.Join(
		r.Register(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "keysetd_audit_errors_total",
			Help: "Writes to the audit log that failed; nothing that was in them was signed.",
		}, func() float64 { return float64(l.failures.Load()) })),
		r.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "keysetd_audit_last_checkpoint_timestamp_seconds",
			Help: "When the last checkpoint of the audit log was written, Unix time; 0: none since the start.",
		}, func() float64 { return float64(l.sealed.Load()) })),
	)
}
