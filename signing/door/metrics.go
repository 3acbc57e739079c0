package door

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	v1 "keysetd.example/api/v1"
	"keysetd.example/signing/policy"
)

// Metrics of the door.
type Metrics struct {
	requests *prometheus.CounterVec
	refused  *prometheus.CounterVec
}

// The languages, as metrics name them.
const (
	overHTTP = "http"
	overGRPC = "grpc"
)

// Why a connection was closed.
const (
	tooMany   = "too_many"  // its user, or all of its class, had as many as there may be
	displaced = "displaced" // it was idle, and another got its place
	abandoner = "abandoned" // it began requests over gRPC and did not wait for them
)

// NewMetrics returns metrics that nobody has registered yet.
func NewMetrics() *Metrics {
	m := &Metrics{
		prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "keysetd_requests_total",
			Help: `Requests answered on the local socket; code is "ok" or the reason word of the error.`,
		}, []string{"door", "operation", "code"}),
		prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "keysetd_connections_refused_total",
			Help: `Connections to the local socket that keysetd closed for a limit: "too_many" were open, "displaced" while idle by another one, "abandoned" for requests that were not waited for.`,
		}, []string{"limit"}),
	}
	for _, limit := range []string{tooMany, displaced, abandoner} {
		m.refused.WithLabelValues(limit)
	}
	return m
}

// Register adds the metrics to a registry.
func (m *Metrics) Register(r prometheus.Registerer) error {
	return errors.Join(r.Register(m.requests), r.Register(m.refused))
}

// answered counts a request; e is nil where it succeeded, and operation is
// empty where the path named none.
func (m *Metrics) answered(door string, operation policy.Operation, e *v1.Error) {
	code := "ok"
	if e != nil {
		code = string(e.Reason)
	}
	if operation == "" {
		operation = "none"
	}
	m.requests.WithLabelValues(door, string(operation), code).Inc()
}
