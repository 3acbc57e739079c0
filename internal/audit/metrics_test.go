package audit

import (
	"crypto/ecdsa"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestMetrics(t *testing.T) {
	d := &disk{room: -1}
	l, err := openWith(filepath.Join(t.TempDir(), "audit.jsonl"), Options{Sealer: &signer{keys: []*ecdsa.PrivateKey{newKey()}}}, func(string) (file, error) { return d, nil })
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := prometheus.NewRegistry()
	if err := l.Register(r); err != nil {
		t.Fatal(err)
	}
	expect := func(failures, least, most float64) {
		t.Helper()
		families, err := r.Gather()
		if err != nil || len(families) != 2 {
			t.Fatal(families, err)
		}
		got, sealed := families[0].Metric[0].GetCounter().GetValue(), families[1].Metric[0].GetGauge().GetValue()
		if got != failures || sealed < least || sealed > most {
			t.Errorf("%v failures, want %v; a checkpoint at %v, want %v to %v", got, failures, sealed, least, most)
		}
	}
	mustAppend(t, l, "a")
	expect(0, 0, 0)
	begun := time.Now().Unix()
	if err := l.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect(0, float64(begun), float64(time.Now().Unix()))
	d.set(func() { d.room = 0 })
	if err := l.Append(t.Context(), record("b")); err == nil {
		t.Error("written on a full disk")
	}
	d.set(func() { d.room = -1 })
	expect(1, float64(begun), float64(time.Now().Unix()))
}
