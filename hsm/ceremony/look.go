package ceremony

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"keysetd.example/hsm"
)

// look logs in with a worker of package hsm and shows what is there to see, which is all the keys as
// that login found them.
func look(ctx context.Context, p Place, see func(*hsm.Token, []hsm.Object) error) (info hsm.Info, err error) {
	t, err := hsm.Start(p.Token)
	if err != nil {
		return info, err
	}
	defer func() { err = errors.Join(err, shut(t)) }()
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("it did not come up within %v", patience))
	defer cancel()
	if err := t.Attempt(ctx); err != nil {
		return info, err
	}
	objects, err := t.Objects(ctx, "")
	if err != nil {
		return info, err
	}
	return t.Status().Info, see(t, objects)
}

// free refuses a label or id that a key on the token has.
func free(objects []hsm.Object, id []byte, label string) error {
	for _, o := range objects {
		if o.Label == label || string(o.ID) == string(id) {
			return taken(true, fmt.Sprintf("a key (CKA_ID %x)", o.ID), label)
		}
	}
	return nil
}

// examine finds the one key with this id, label and public half, checks its attributes and has it sign.
func examine(ctx context.Context, t *hsm.Token, objects []hsm.Object, ref hsm.Ref, pub crypto.PublicKey) (hsm.Object, error) {
	o, err := hsm.Find(objects, ref, hsm.Sign, nil)
	if err != nil {
		return o, err
	}
	seen, err := x509.ParsePKIXPublicKey(o.PublicKey)
	if err != nil {
		return o, fmt.Errorf("read the public half of %q: %w", o.Label, err)
	}
	if !samePublic(seen, pub) {
		return o, fmt.Errorf("%w: the public half of %q", hsm.ErrWrongKey, o.Label)
	}
	key, err := t.Key(ref, pub)
	if err != nil {
		return o, err
	}
	ctx, cancel := context.WithTimeout(ctx, signingLimit)
	defer cancel()
	return o, key.Probe(ctx, crypto.SHA256)
}

// fileSum is the SHA-256 of a file, in hex.
func fileSum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
