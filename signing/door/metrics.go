package door

import (
	"github.com/prometheus/client_golang/prometheus"

	v1 "keysetd.example/api/v1"
	"keysetd.example/signing/policy"
)

// Metrics of the door.
type Metrics struct {
	requests *prometheus.CounterVec
}

// NewMetrics returns metrics that nobody has registered yet.
func NewMetrics() *Metrics {
	return &Metrics{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "keysetd_requests_total",
		Help: `Requests answered on the local socket; code is "ok" or the reason word of the error.`,
	}, []string{"door", "operation", "code"})}
}

// Register adds the metrics to a registry.
func (m *Metrics) Register(r prometheus.Registerer) error { return r.Register(m.requests) }

// answered counts a request over HTTP; e is nil where it succeeded, and operation is
// empty where the path named none.
func (m *Metrics) answered(operation policy.Operation, e *v1.Error) {
	code := "ok"
	if e != nil {
		code = string(e.Reason)
	}
	if operation == "" {
		operation = "none"
	}
	m.requests.WithLabelValues("http", string(operation), code).Inc()
}
