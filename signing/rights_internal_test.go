package signing

import (
	"context"
	"crypto"
	"testing"

	v1 "keysetd.example/api/v1"
)

// untouched is a key that nobody may ask.
type untouched struct{ *testing.T }

func (u untouched) Sign(context.Context, []byte, crypto.SignerOpts) ([]byte, error) {
	u.Error("the key was asked")
	return nil, nil
}

func (untouched) Unsupported(crypto.SignerOpts) bool { return false }

// No key signs what permit has not seen, whatever path forgets it.
func TestNothingIsSignedUnpermitted(t *testing.T) {
	a := &act{key: &activeKey{key: untouched{t}, opts: crypto.SHA256}}
	if _, err := a.sign(t.Context(), nil); reasonOf(err) != v1.Internal {
		t.Errorf("%v", err)
	}
}
