package hsm

import (
	"strings"
	"testing"
	"time"

	"keysetd.example/hsm/wire"
)

func TestLimits(t *testing.T) {
	l, err := Limits{Generate: time.Hour}.complete()
	if err != nil {
		t.Fatal(err)
	}
	for op, want := range map[wire.Op]time.Duration{
		wire.OpOpen: time.Minute, wire.OpLogin: time.Minute, wire.OpList: time.Minute, wire.OpGenerate: time.Hour,
		wire.OpSign: 10 * time.Second, wire.OpDestroy: time.Minute, wire.OpClose: time.Second,
	} {
		if got := l.of(op); got != want {
			t.Errorf("%s: %v, want %v", op, got, want)
		}
	}
	if _, err := (Limits{Sign: -time.Second}).complete(); err == nil || !strings.Contains(err.Error(), "sign") || !strings.Contains(err.Error(), "-1s") {
		t.Errorf("a negative limit: %v", err)
	}
}
