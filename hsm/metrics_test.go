package hsm_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"keysetd.example/hsm"
	"keysetd.example/hsm/hsmtest/memory"
	"keysetd.example/internal/keyspec"
)

// series are all of a registry's, as name{labels}, with their value or count.
func series(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				if l.GetValue() != "" {
					labels = append(labels, fmt.Sprintf("%s=%s", l.GetName(), l.GetValue()))
				}
			}
			v := m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			all[f.GetName()+"{"+strings.Join(labels, ",")+"}"] = v
		}
	}
	return all
}

func TestMetrics(t *testing.T) {
	m := memory.New("t", "1234")
	cfg := m.Config()
	cfg.Metrics = hsm.NewMetrics()
	reg := prometheus.NewRegistry()
	reg.MustRegister(cfg.Metrics)
	check := func(want map[string]float64) {
		t.Helper()
		got := series(t, reg)
		for name, v := range want {
			if g, ok := got[name]; !ok || g != v {
				t.Errorf("%s = %v (present: %v), want %v", name, g, ok, v)
			}
		}
	}
	token := ready(t, cfg)
	check(map[string]float64{
		"keysetd_token_up{token=t}":                                                        1,
		"keysetd_worker_restarts_total{token=t}":                                           0,
		"keysetd_session_wait_seconds{token=t}":                                            0,
		"keysetd_queue_length{token=t}":                                                    0,
		"keysetd_unkillable_workers{token=t}":                                              0,
		"keysetd_epochs_total{cause=worker_died,token=t}":                                  0,
		"keysetd_epochs_total{cause=device,token=t}":                                       0,
		"keysetd_token_operation_duration_seconds{mechanism=ECDSA,operation=sign,token=t}": 0,
		"keysetd_token_operation_duration_seconds{operation=login,token=t}":                1,
	})
	key := generate(t, token, keyspec.P256)
	for range 2 {
		if err := sign(t, within(t, 10*time.Second), key); err != nil {
			t.Fatal(err)
		}
	}
	m.Drop()
	for m.Started() < 2 { // a signature of the first epoch would count twice
		runtime.Gosched()
	}
	if err := sign(t, within(t, 10*time.Second), key); err != nil {
		t.Fatal(err)
	}
	check(map[string]float64{
		"keysetd_token_up{token=t}":                                                                      1,
		"keysetd_worker_restarts_total{token=t}":                                                         1,
		"keysetd_session_wait_seconds{token=t}":                                                          4, // with the new key's trial
		"keysetd_token_operation_duration_seconds{mechanism=ECDSA,operation=sign,token=t}":               4,
		"keysetd_token_operation_duration_seconds{mechanism=EC_KEY_PAIR_GEN,operation=generate,token=t}": 1,
	})
	closeToken(t, token)
	check(map[string]float64{
		"keysetd_token_up{token=t}":                       0,
		"keysetd_epochs_total{cause=worker_died,token=t}": 1,
		"keysetd_epochs_total{cause=closed,token=t}":      1,
		"keysetd_epochs_total{cause=device,token=t}":      0,
	})
}
