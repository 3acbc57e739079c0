package hsm_test

import (
	"crypto"
	"testing"

	"keysetd.example/hsm/hsmtest/memory"
	"keysetd.example/internal/keyspec"
)

// maxAllocs is what one signature allocates on both ends together, with the in-memory token's
// own part: what is known of a key since its first use costs nothing afterwards.
const maxAllocs = 28

func TestSignAllocations(t *testing.T) {
	token := ready(t, memory.New("t", "1234").Config())
	key := generate(t, token, keyspec.Ed25519)
	message := random(crypto.Hash(0))
	n := testing.AllocsPerRun(200, func() {
		if _, err := key.Sign(t.Context(), message, crypto.Hash(0)); err != nil {
			t.Fatal(err)
		}
	})
	if t.Logf("%v allocations", n); n > maxAllocs {
		t.Errorf("%v allocations for a signature, want at most %d", n, maxAllocs)
	}
}
