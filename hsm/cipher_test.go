package hsm

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	"testing"
	"testing/synctest"

	"keysetd.example/hsm/wire"
)

// What the token is sent is the ciphertext, or something of its kind.
func TestFitting(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	pub := &key.PublicKey
	below := new(big.Int).Sub(pub.N, big.NewInt(1)).Bytes()
	for _, c := range []struct {
		name string
		c    []byte
		fits bool
	}{
		{"zero", make([]byte, 256), true}, {"the largest", below, true}, {"the modulus", pub.N.Bytes(), false},
		{"too large", bytes.Repeat([]byte{0xff}, 256), false}, {"empty", nil, false},
		{"short", make([]byte, 255), false}, {"long", make([]byte, 257), false},
	} {
		was := bytes.Clone(c.c)
		one, fits := fitting(pub, c.c)
		two, _ := fitting(pub, c.c)
		if fits != c.fits || fits != bytes.Equal(one, c.c) || fits != bytes.Equal(one, two) {
			t.Errorf("%s: fits %v, %x", c.name, fits, one)
		}
		if len(one) != 256 || new(big.Int).SetBytes(one).Cmp(pub.N) >= 0 {
			t.Errorf("%s: %x is sent", c.name, one)
		}
		if one[0] ^= 1; !bytes.Equal(c.c, was) {
			t.Errorf("%s: shares memory with what was given", c.name)
		}
	}
}

// A plaintext that nobody waits for any more is zeroed.
func TestPlaintextThatNobodyTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		token := &Token{metrics: NewMetrics().of("t"), cfg: Config{Name: "t"}}
		token.cfg.Limits, _ = Limits{}.complete()
		token.state.Store(&state{})
		e := &epoch{token: token}
		e.ctx, e.end = context.WithCancelCause(t.Context())
		ctx, cancel := context.WithCancel(t.Context())
		plaintext, answer := []byte("plaintext"), make(chan struct{})
		go func() { synctest.Wait(); cancel() }()
		_, err := call(ctx, e, wire.OpDecrypt, token.metrics.wait, func(wire.Timing) {}, func(context.Context) (wire.Decrypted, wire.Timing, error) {
			<-answer
			return wire.Decrypted{Plaintext: plaintext, OK: true}, wire.Timing{}, nil
		})
		if err == nil {
			t.Fatal("it did not give up")
		}
		close(answer)
		synctest.Wait()
		if !bytes.Equal(plaintext, make([]byte, len(plaintext))) {
			t.Errorf("%q is left", plaintext)
		}
	})
}
