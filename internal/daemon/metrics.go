package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

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
func (m metrics) registry() (*prometheus.Registry, error) {
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
	return r, errors.Join(errs...)
}

// workerPrefix keeps the workers' families apart from the daemon's own.
const workerPrefix = "keysetd_worker_"

// workers gathers what the workers' own collectors say, as keysetd_worker_go_… and
// keysetd_worker_process_…{token}.
func (ts tokens) workers() prometheus.Gatherer {
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		names := sortedKeys(ts)
		answers := make([][]*dto.MetricFamily, len(names))
		var asking sync.WaitGroup
		for i, token := range names {
			asking.Go(func() {
				// keysetd_token_up and the log tell of a worker that does not answer.
				answers[i], _ = ts[token].WorkerMetrics(ctx)
			})
		}
		asking.Wait()
		byName := map[string]*dto.MetricFamily{}
		for i, token := range names {
			for _, f := range answers[i] {
				if strings.HasPrefix(f.GetName(), "process_network_") {
					continue // of the network namespace, which is the daemon's too
				}
				label(f, token)
				if same := byName[f.GetName()]; same != nil {
					same.Metric = append(same.Metric, f.Metric...)
				} else {
					byName[f.GetName()] = f
				}
			}
		}
		var all []*dto.MetricFamily
		for _, name := range sortedKeys(byName) {
			all = append(all, byName[name])
		}
		return all, nil
	})
}

// label names a worker's family as one of keysetd's, with the token in a label. Labels
// are sorted by their names.
func label(f *dto.MetricFamily, token string) {
	f.Name = new(workerPrefix + f.GetName())
	for _, m := range f.Metric {
		m.Label = append(m.Label, &dto.LabelPair{Name: new("token"), Value: &token})
		slices.SortFunc(m.Label, func(a, b *dto.LabelPair) int { return strings.Compare(a.GetName(), b.GetName()) })
	}
}

// newMetricsServer serves the page for Prometheus, and the one for people.
func newMetricsServer(r prometheus.Gatherer, status http.Handler, log *slog.Logger) *http.Server {
	mux := http.NewServeMux()
	mux.Handle("/", status)
	mux.Handle("GET /metrics", promhttp.HandlerFor(r, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(log.Handler(), slog.LevelError),
		MaxRequestsInFlight: 4,
		EnableOpenMetrics:   true,
	}))
	return &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      time.Minute, // scrapers give up before
		IdleTimeout:       5 * time.Minute,
		MaxHeaderBytes:    8 << 10,
	}
}
