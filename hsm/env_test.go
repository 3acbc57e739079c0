package hsm

import (
	"slices"
	"testing"
)

func TestEnvironment(t *testing.T) {
	daemons := []string{"PATH=/bin", "KEYSETD_PIN=1234", "LD_PRELOAD=x.so", "SOFTHSM2_CONF=/a", "NFAST_HOME=/n", "NFASTX=1", "AWS_SECRET_ACCESS_KEY=s", "odd"}
	got := environment(daemons, map[string]string{"SOFTHSM2_CONF": "/b", "EXTRA": "1"})
	want := []string{"PATH=/bin", "NFAST_HOME=/n", "EXTRA=1", "SOFTHSM2_CONF=/b"}
	if !slices.Equal(got, want) {
		t.Errorf("environment %q, want %q", got, want)
	}
}
