package x5c_test

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"keysetd.example/internal/keyspec"
	"keysetd.example/jwks/x5c"
)

func TestEnds(t *testing.T) {
	root := newAuthority(t, "root", keyspec.P256, nil, nil)
	var dated [8][8][]byte // by first and last day
	for i := range 8 {
		for j := i + 1; j < 8; j++ {
			dated[i][j] = root.leaf(t, root.key.Public(), func(c *x509.Certificate) { c.NotBefore, c.NotAfter = day(i), day(j) }).Raw
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		var chain [][]byte
		first, last := 0, 7
		for range rapid.IntRange(1, 4).Draw(t, "certificates") {
			i := rapid.IntRange(0, 6).Draw(t, "first")
			j := rapid.IntRange(i+1, 7).Draw(t, "last")
			chain = append(chain, dated[i][j])
			first, last = max(first, i), min(last, j)
		}
		from, until, err := x5c.Ends(chain)
		switch {
		case first > last:
			if err == nil || !strings.Contains(err.Error(), "never valid together") || !strings.Contains(err.Error(), day(first).Format(time.RFC3339)) || !strings.Contains(err.Error(), day(last).Format(time.RFC3339)) {
				t.Fatalf("got %v", err)
			}
		case err != nil || !from.Equal(day(first)) || !until.Equal(day(last)):
			t.Fatalf("from %v until %v (%v), want days %d and %d", from, until, err, first, last)
		}
	})
	for _, chain := range [][][]byte{nil, {{1}}} {
		if _, _, err := x5c.Ends(chain); err == nil {
			t.Errorf("%v has an end", chain)
		}
	}
}
