package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"keysetd.example/hsm"
	"keysetd.example/internal/version"
	"keysetd.example/rotation"
	"keysetd.example/signing"
	"keysetd.example/signing/door"
)

// metrics are those of every part; each part has its own, and this is where they meet.
type metrics struct {
	hsm      *hsm.Metrics
	rotation *rotation.Metrics
	signing  *signing.Metrics
	door     *door.Metrics
}

func newMetrics() metrics {
	return metrics{hsm.NewMetrics(), rotation.NewMetrics(), signing.NewMetrics(), door.NewMetrics()}
}

// registry holds everything that /metrics shows.
func (m metrics) registry(ts tokens) (*prometheus.Registry, error) {
	r := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "keysetd_build_info",
		Help:        "Always 1; the labels tell which build this is.",
		ConstLabels: prometheus.Labels{"version": version.String(), "goversion": version.Go()},
	})
	build.Set(1)
	errs := []error{
		r.Register(build),
		r.Register(collectors.NewGoCollector()),
		r.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})),
		r.Register(m.hsm),
		m.rotation.Register(r),
		m.signing.Register(r),
		m.door.Register(r),
	}
	for name, t := range ts {
		errs = append(errs, prometheus.WrapRegistererWith(prometheus.Labels{"token": name}, r).Register(
			collectors.NewProcessCollector(collectors.ProcessCollectorOpts{
				Namespace: "keysetd_worker",
				PidFn: func() (int, error) {
					if pid := t.Status().WorkerPID; pid != 0 {
						return pid, nil
					}
					return 0, fmt.Errorf("token %s has no worker now", name)
				},
			})))
	}
	return r, errors.Join(errs...)
}

// metricsHandler serves the page for Prometheus.
func metricsHandler(r *prometheus.Registry, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(r, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(log.Handler(), slog.LevelError),
		MaxRequestsInFlight: 4,
		EnableOpenMetrics:   true,
	}))
	return mux
}
