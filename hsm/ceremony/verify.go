package ceremony

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"

	"keysetd.example/hsm"
	"keysetd.example/internal/keyspec"
)

// Ceremony is what a directory was found to hold.
type Ceremony struct {
	Record Record
	Import *Import // nil: none yet, or none needed
}

// Verify checks the files of a ceremony: the signatures of the CA's key over record and addendum, that these say
// what the files hold, and that the certificates are the CA's. Dates are checked as of when it was done; Expired
// tells of now. Who replaces all files and signs them with a key of his own is found by the fingerprint on the printed
// record, or by VerifyOnToken.
func Verify(dir string) (c Ceremony, err error) {
	pub, err := read(dir, recordBase, recordFormat, &c.Record, &c.Record.Statement)
	if err != nil {
		return c, err
	}
	switch r := c.Record; {
	case r.Certificate != nil && r.Request == nil:
		err = verifyChain(dir, certificateFile, pub, r.Statement, []Certificate{*r.Certificate})
	case r.Request != nil && r.Certificate == nil:
		err = verifyRequest(dir, pub, *r.Request)
	default:
		err = errors.New("the record tells of neither a certificate nor a request, or of both")
	}
	if err != nil {
		return c, err
	}
	if _, err := os.Lstat(filepath.Join(dir, importBase+".json")); errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(filepath.Join(dir, chainFile)); err == nil {
			return c, fmt.Errorf("%s has no addendum %s.json that tells of it", filepath.Join(dir, chainFile), importBase)
		}
		return c, nil
	}
	c.Import = new(Import)
	return c, c.verifyImport(dir, pub)
}

func (c Ceremony) verifyImport(dir string, pub crypto.PublicKey) error {
	signer, err := read(dir, importBase, importFormat, c.Import, &c.Import.Statement)
	if err != nil {
		return err
	}
	if !samePublic(signer, pub) || c.Import.Key.Label != c.Record.Key.Label || c.Import.Key.ID != c.Record.Key.ID {
		return errors.New("the addendum is about another key than the record")
	}
	sum, err := fileSum(filepath.Join(dir, recordBase+".json"))
	if err != nil {
		return err
	}
	if sum != c.Import.RecordSHA256 {
		return fmt.Errorf("the addendum belongs to the record with the SHA-256 %s, and this one has %s", c.Import.RecordSHA256, sum)
	}
	return verifyChain(dir, chainFile, pub, c.Import.Statement, c.Import.Chain)
}

// verifyChain checks that a file holds the certificates that the record tells of, and no other.
func verifyChain(dir, name string, pub crypto.PublicKey, s Statement, want []Certificate) error {
	path := filepath.Join(dir, name)
	text, err := readFile(path)
	if err != nil {
		return err
	}
	chain, err := decodePEM(certificateBlock, text)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	var found []Certificate
	for _, der := range chain {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		found = append(found, newCertificate(cert))
	}
	if !reflect.DeepEqual(found, want) {
		return fmt.Errorf("%s does not hold what the record tells of", path)
	}
	if _, err := checkCA(chain, pub, s.When); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func verifyRequest(dir string, pub crypto.PublicKey, want Request) error {
	path := filepath.Join(dir, requestFile)
	text, err := readFile(path)
	if err != nil {
		return err
	}
	blocks, err := decodePEM(requestBlock, text)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if len(blocks) != 1 || sum256(blocks[0]) != want.SHA256 {
		return fmt.Errorf("%s does not hold what the record tells of", path)
	}
	csr, err := parseRequest(blocks[0], pub)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if csr.Subject.String() != want.Subject {
		return fmt.Errorf("%s is for %s, and the record says %s", path, csr.Subject, want.Subject)
	}
	return nil
}

// VerifyOnToken checks besides that the token is the one of the record, and that the CA's key is on it, has the
// attributes that it had, and signs.
func VerifyOnToken(ctx context.Context, p Place, dir string) (Ceremony, error) {
	c, err := Verify(dir)
	if err != nil {
		return c, err
	}
	pub, err := c.Record.public()
	if err != nil {
		return c, err
	}
	ref, err := c.Record.ref()
	if err != nil {
		return c, err
	}
	var o hsm.Object
	info, err := look(ctx, p, func(t *hsm.Token, objects []hsm.Object) (err error) {
		o, err = examine(ctx, t, objects, ref, pub)
		return err
	})
	if err != nil {
		return c, err
	}
	if info.Serial != c.Record.Token.Serial {
		return c, fmt.Errorf("token %s has the serial number %q, and the CA was made on %q", p.Token.Name, info.Serial, c.Record.Token.Serial)
	}
	if !reflect.DeepEqual(o.Attributes, c.Record.Key.Attributes) {
		return c, fmt.Errorf("the key %q has other attributes than when it was made: compare `pkcs11-tool --list-objects` with the record", ref.Label)
	}
	return c, nil
}

func specOf(key crypto.Signer) (keyspec.Spec, error) { return keyspec.Of(key.Public()) }
