package daemon

import (
	"testing"

	"keysetd.example/rotation"
)

// TestInitialised: a keyset is, once it can be used and what is to follow is there too, where
// that is for keysetd to make.
func TestInitialised(t *testing.T) {
	const p, a = rotation.Pending, rotation.Active
	manual := "  ks: {purpose: raw, keys: [rsa-2048], rotation: {period: manual}}\n"
	for name, c := range map[string]struct {
		keysets string
		active  []string // keys
		pending []string
		want    bool
	}{
		"dynamic":                    {signingKeyset, []string{"one:rsa-2048"}, []string{"two:rsa-2048"}, true},
		"dynamic, the first only":    {signingKeyset, []string{"one:rsa-2048"}, nil, false},
		"dynamic, nothing active":    {signingKeyset, nil, []string{"one:rsa-2048"}, false},
		"manual":                     {manual, []string{"one:rsa-2048"}, []string{"two:rsa-2048"}, true},
		"manual, the first only":     {manual, []string{"one:rsa-2048"}, nil, false},
		"for encryption":             {encKeyset, []string{"enc one:rsa-2048"}, []string{"enc two:rsa-2048"}, true},
		"for encryption, first only": {encKeyset, []string{"enc one:rsa-2048"}, nil, false},
		"static":                     {staticKeyset, []string{"mine:rsa-2048"}, nil, true},
		"static, not adopted":        {staticKeyset, nil, nil, false},
	} {
		s := newStage(t, c.keysets)
		var d rotation.Document
		if c.active != nil {
			d.Generations = append(d.Generations, s.generation(1, a, c.active...))
		}
		if c.pending != nil {
			d.Generations = append(d.Generations, s.generation(2, p, c.pending...))
		}
		if got := initialised(snapshot(s.view(d))); got != c.want {
			t.Errorf("%s: initialised says %t", name, got)
		}
	}
}
