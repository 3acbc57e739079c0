package rotation

import (
	"testing"

	"pgregory.net/rapid"

	"keysetd.example/internal/keyspec"
)

func TestLabelRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Label{
			Installation: rapid.StringMatching(`[0-9a-f]{32}`).Draw(t, "installation"),
			Keyset:       rapid.StringMatching(`[^/]+`).Draw(t, "keyset"),
			Generation:   rapid.IntRange(1, 1<<40).Draw(t, "generation"),
			Spec:         rapid.SampledFrom(keyspec.All()).Draw(t, "spec"),
		}
		if got, err := ParseLabel(want.String()); err != nil || got != want {
			t.Errorf("%q is read as %+v, %v", want, got, err)
		}
	})
}

func TestParseLabelRefuses(t *testing.T) {
	for _, s := range []string{
		"", "keysetd", "keysetd/i/k/1", "keysetd/i/k/1/p-256/x", "other/i/k/1/p-256", "keysetd//k/1/p-256",
		"keysetd/i//1/p-256", "keysetd/i/k/0/p-256", "keysetd/i/k/-1/p-256", "keysetd/i/k/01/p-256", "keysetd/i/k/+1/p-256", "keysetd/i/k/1/dsa",
	} {
		if l, err := ParseLabel(s); err == nil {
			t.Errorf("%q is read as %+v", s, l)
		}
	}
}
