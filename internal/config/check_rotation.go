package config

import (
	"strings"
	"time"
)

// maxManual is how many rotations by hand may be allowed: one each second.
const maxManual = 86400

func (k *Keyset) checkRotation(src *source, keyset path, name string) error {
	at := keyset.join("rotation")
	if k.Publish.MaxAge%time.Second != 0 {
		return src.fail(keyset.join("publish").join("max_age"), "must be whole seconds, the unit of Cache-Control")
	}
	for _, f := range []struct {
		name  string
		value int
	}{{"manual_per_day", k.Rotation.ManualPerDay}, {"manual_burst", k.Rotation.ManualBurst}} {
		if src.has(at.join(f.name)) && (f.value < 1 || f.value > maxManual) {
			return src.fail(at.join(f.name), "must be from 1 to %d", maxManual)
		}
	}
	if err := k.Policy(name).Validate(); err != nil {
		return src.failAt(src.nearest(culprit(src, keyset, err)), root, "keyset %s: %v", name, err)
	}
	return nil
}

// culprit is the field that an error about the relations of several is told at: the first that
// it names and that is given.
func culprit(src *source, keyset path, err error) path {
	for _, f := range []path{
		"rotation/lead", "rotation/retain", "publish/max_age", "max_message_age", "rotation/period", "rotation/clock_skew", "rotation/verifier_cache",
	} {
		at := keyset.join(string(f))
		if name := f[strings.LastIndex(string(f), "/")+1:]; src.has(at) && strings.Contains(err.Error(), string(name)+" ") {
			return at
		}
	}
	return keyset.join("rotation")
}
