package wire

import (
	"context"
	"crypto/rand"
	"errors"
	"testing"
	"time"
)

// No copy of what was decrypted is anywhere in this process, which has both ends, once its receiver has
// cleared it: also where nobody waited for it any more, and where it is too long.
func TestNoCopyOfAPlaintextInTheProcess(t *testing.T) {
	mask, masked := make([]byte, 48), make([]byte, 48)
	rand.Read(mask)
	rand.Read(masked)
	plaintext := func(n int) []byte {
		p := make([]byte, max(n, len(mask)))
		for i := range mask {
			p[i] = mask[i] ^ masked[i]
		}
		return p
	}
	length, asked, answer := 0, make(chan struct{}, 1), make(chan struct{}, 1)
	c, _ := start(t, &backend{decrypt: func(DecryptRequest, *Timing) (Decrypted, error) {
		asked <- struct{}{}
		<-answer
		return Decrypted{plaintext(length), length <= MaxPlaintext}, nil
	}, sign: func(SignRequest, *Timing) ([]byte, error) { return nil, nil }})
	for _, tt := range []struct {
		name   string
		length int
		gaveUp bool
	}{{"taken", 48, false}, {"longest", MaxPlaintext, false}, {"given up", 48, true}, {"too long", MaxPlaintext + 1, false}} {
		length = tt.length
		ctx, cancel := context.WithCancel(t.Context())
		if tt.gaveUp {
			go func() { <-asked; cancel() }()
		} else {
			answer <- struct{}{}
		}
		d, _, err := c.Decrypt(ctx, DecryptRequest{Data: []byte("ciphertext")})
		if (err == nil) != (!tt.gaveUp && tt.length <= MaxPlaintext) || d.OK != (err == nil) {
			t.Errorf("%s: decrypted: %v, %v", tt.name, d.OK, err)
		}
		if d.OK && copies(t, mask, masked) == 0 {
			t.Fatal("this test does not find what is there")
		}
		clear(d.Plaintext)
		if tt.gaveUp {
			answer <- struct{}{}
		} else {
			<-asked
		}
		// Its reply is read when that of a later request is; the server may then still be clearing.
		if _, _, err := c.Sign(t.Context(), SignRequest{}); err != nil {
			t.Fatal(err)
		}
		n := -1
		for deadline := time.Now().Add(5 * time.Second); n != 0 && time.Now().Before(deadline); {
			n = copies(t, mask, masked)
		}
		if n != 0 {
			t.Errorf("%s: %d copies of the plaintext are in memory", tt.name, n)
		}
		cancel()
	}
}

// Refused or not, short or long, the reply is of one size.
func TestDecryptedIsOfOneSize(t *testing.T) {
	for _, d := range []Decrypted{{}, {OK: true}, {make([]byte, 32), true}, {make([]byte, MaxPlaintext), true}, {make([]byte, 32), false}} {
		b, err := d.encode()
		if err != nil || len(b) != decryptedLen {
			t.Fatalf("%d bytes, %v", len(b), err)
		}
		got, err := parseDecrypted(b)
		if err != nil || got.OK != d.OK || got.OK && len(got.Plaintext) != len(d.Plaintext) || !got.OK && len(got.Plaintext) != 0 {
			t.Errorf("%d bytes, %v became %d, %v, %v", len(d.Plaintext), d.OK, len(got.Plaintext), got.OK, err)
		}
	}
	long := append([]byte{1, 2, 1}, make([]byte, MaxPlaintext)...) // a length of MaxPlaintext + 1
	for _, body := range [][]byte{nil, {1}, make([]byte, decryptedLen-1), append([]byte{2}, make([]byte, decryptedLen-1)...), long} {
		if _, err := parseDecrypted(body); !errors.Is(err, ErrFrame) {
			t.Errorf("%d bytes: %v", len(body), err)
		}
	}
}
