package signing_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/prometheus/client_golang/prometheus"

	v1 "keysetd.example/api/v1"
	"keysetd.example/internal/audit"
	"keysetd.example/internal/keyspec"
	"keysetd.example/internal/metric"
	"keysetd.example/signing/signingtest"
)

// spent is the sum of keysetd_decrypt_duration_seconds, of every outcome.
func spent(t *testing.T, from prometheus.Gatherer) time.Duration {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var sum float64
	for _, f := range families {
		for _, m := range f.Metric {
			if f.GetName() == "keysetd_decrypt_duration_seconds" {
				sum += m.Histogram.GetSampleSum()
			}
		}
	}
	return time.Duration(sum * float64(time.Second)).Round(time.Microsecond)
}

// However long the token takes over a message that fails, metrics say the same, and so do they over a key, which
// nobody can tell from one that is not.
func TestDurationsOfFailuresAreOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := signingtest.New(t, granted(quick))
		key := w.EncKeys[keyspec.P256]
		good := sealed(t, key.Public(), "", jose.ECDH_ES, jose.A128GCM)
		for _, took := range []time.Duration{0, 800 * time.Microsecond, 850 * time.Microsecond, 9 * time.Millisecond} {
			key.Hook(func(context.Context) { time.Sleep(took) })
			for name, req := range map[string]*v1.DecryptRequest{"message": {JWE: flipped(t, good, 4)}, "key": keyForm(t, good)} {
				before := spent(t, w.Registry)
				w.Service.Decrypt(t.Context(), caller, "enc", req)
				if got := spent(t, w.Registry) - before; got != metric.Grain {
					t.Errorf("%s over which the token took %v: %v", name, took, got)
				}
			}
		}
	})
}

// A caller that hangs up before it may be told what became of a message does not find out from metrics nor
// the audit log whether the token had answered by then.
func TestHangUpBeforeItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := signingtest.New(t, granted(quick))
		key := w.EncKeys[keyspec.P256]
		good := sealed(t, key.Public(), "", jose.ECDH_ES, jose.A128GCM)
		for name, req := range map[string]*v1.DecryptRequest{"message": {JWE: flipped(t, good, 4)}, "key": keyForm(t, good)} {
			for _, took := range []time.Duration{800 * time.Microsecond, 1200 * time.Microsecond} {
				key.Hook(func(ctx context.Context) {
					select {
					case <-time.After(took):
					case <-ctx.Done():
					}
				})
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				reply, err := w.Service.Decrypt(ctx, caller, "enc", req)
				cancel()
				expect(t, name, err, v1.DeadlineExceeded, "")
				if r := w.Audit.Last(); reply != nil || r.Outcome != audit.Failed || r.Reason != string(v1.DeadlineExceeded) {
					t.Errorf("%s over which the token took %v: %+v", name, took, r)
				}
			}
		}
		if got, want := counted(t, w.Registry)["ECDH-ES error"], uint64(4); got != want {
			t.Errorf("%d are counted as errors, want %d", got, want)
		}
	})
}
