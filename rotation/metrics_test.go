package rotation_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"keysetd.example/rotation"
)

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		manual := h.policy
		manual.Manual = true
		h.config.Keysets["by-hand"] = manual
		h.config.Metrics = rotation.NewMetrics()
		registry := prometheus.NewPedanticRegistry()
		if err := h.config.Metrics.Register(registry); err != nil {
			t.Fatal(err)
		}
		if n, err := testutil.GatherAndCount(registry); n != 0 || err != nil {
			t.Errorf("before Start: %d metrics, %v", n, err)
		}
		h.mustStart()
		defer h.stop()
		after(12*time.Hour + time.Minute) // from 2000-01-01 00:00 UTC
		pending, _ := h.keyset().Document.Pending()
		h.token.lose(pending.Keys[0])
		h.manager.Wake()
		synctest.Wait()
		err := testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP keysetd_certificates_missing Keys of a keyset for which somebody should get a certificate: they wait for it, or theirs ends soon, or is no longer valid.
# TYPE keysetd_certificates_missing gauge
keysetd_certificates_missing{keyset="by-hand"} 0
keysetd_certificates_missing{keyset="default"} 0
# HELP keysetd_generations Live generations of a keyset by state.
# TYPE keysetd_generations gauge
keysetd_generations{keyset="by-hand",state="active"} 1
keysetd_generations{keyset="by-hand",state="pending"} 1
keysetd_generations{keyset="by-hand",state="retired"} 0
keysetd_generations{keyset="default",state="active"} 1
keysetd_generations{keyset="default",state="pending"} 2
keysetd_generations{keyset="default",state="retired"} 1
# HELP keysetd_keys_lost Keys of a keyset's live generations that are not on their token although it is there.
# TYPE keysetd_keys_lost gauge
keysetd_keys_lost{keyset="by-hand"} 0
keysetd_keys_lost{keyset="default"} 1
# HELP keysetd_next_rotation_timestamp_seconds When the active generation is due to be replaced, in Unix time; absent where that is by hand.
# TYPE keysetd_next_rotation_timestamp_seconds gauge
keysetd_next_rotation_timestamp_seconds{keyset="default"} 9.467712e+08
`))
		if err != nil {
			t.Error(err)
		}
	})
}
