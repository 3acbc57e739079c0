package ceremony

import (
	"bytes"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/cryptosigner"

	"keysetd.example/internal/jwa"
	"keysetd.example/internal/keyspec"
)

// document is a Record or an Import.
type document interface {
	Text() string
	public() (crypto.PublicKey, error)
}

// encode is the document's one form: that is signed and compared, byte for byte.
func encode(d document) ([]byte, error) {
	b, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode the record: %w", err)
	}
	return append(b, '\n'), nil
}

// seal signs text as a compact JWS (RFC 7515 §7.1) that carries text itself, and the public key as jwk. The
// signature has been verified.
func seal(text []byte, spec keyspec.Spec, format string, key crypto.Signer) ([]byte, error) {
	alg := jwa.ForSpec(spec)[0]
	opts := (&jose.SignerOptions{EmbedJWK: true}).WithType(jose.ContentType(format + "+jws"))
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: cryptosigner.Opaque(key)}, opts)
	if err != nil {
		return nil, fmt.Errorf("prepare to sign the record: %w", err)
	}
	jws, err := s.Sign(text)
	if err != nil {
		return nil, fmt.Errorf("sign the record: %w", err)
	}
	compact, err := jws.CompactSerialize()
	if err != nil {
		return nil, fmt.Errorf("sign the record: %w", err)
	}
	if err := unseal([]byte(compact), text, spec, format, key.Public()); err != nil {
		return nil, err
	}
	return []byte(compact + "\n"), nil
}

// unseal checks that sealed is pub's signature over text.
func unseal(sealed, text []byte, spec keyspec.Spec, format string, pub crypto.PublicKey) error {
	algs := jwa.ForSpec(spec)
	jws, err := jose.ParseSignedCompact(strings.TrimSpace(string(sealed)), algs[:min(1, len(algs))])
	if err != nil {
		return fmt.Errorf("read the signature: %w", err)
	}
	payload, err := jws.Verify(pub)
	if err != nil {
		return fmt.Errorf("the signature is not the key's: %w", err)
	}
	if typ := jws.Signatures[0].Protected.ExtraHeaders[jose.HeaderType]; typ != format+"+jws" {
		return fmt.Errorf("the signature is of the type %v and not %s+jws", typ, format)
	}
	if !bytes.Equal(payload, text) {
		return errors.New("the text is not the one that was signed")
	}
	return nil
}

// read reads a document of dir into d, which has format's Statement in s, and checks it: that it says what was
// signed, and that text for people says the same.
func read(dir, base, format string, d document, s *Statement) (crypto.PublicKey, error) {
	text, err := readFile(filepath.Join(dir, base+".json"))
	if err != nil {
		return nil, err
	}
	wrong := func(err error) error { return fmt.Errorf("%s: %w", filepath.Join(dir, base+".json"), err) }
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(d); err != nil {
		return nil, wrong(err)
	}
	if s.Format != format {
		return nil, wrong(fmt.Errorf("its format is %q, and this version reads %q", s.Format, format))
	}
	pub, err := d.public()
	if err != nil {
		return nil, wrong(err)
	}
	sealed, err := readFile(filepath.Join(dir, base+".jws"))
	if err != nil {
		return nil, err
	}
	if err := unseal(sealed, text, s.Key.Spec, format, pub); err != nil {
		return nil, wrong(err)
	}
	shown, err := readFile(filepath.Join(dir, base+".txt"))
	if err != nil {
		return nil, err
	}
	if string(shown) != d.Text() {
		return nil, fmt.Errorf("%s does not say what %s.json says", filepath.Join(dir, base+".txt"), base)
	}
	return pub, nil
}

// maxFile bounds what is read of a ceremony's directory, in bytes.
const maxFile = 1 << 20

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the ceremony's files: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read the ceremony's files: %w", err)
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("%s is longer than %d bytes", path, maxFile)
	}
	return b, nil
}
