package ceremony

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"keysetd.example/hsm"
)

// TakeIn takes in the chain that the corporate root issued for the request in dir: PEM, the CA's own certificate first,
// each followed by the one that signed it; the root may be left out. It checks key, path, CA flags, path lengths
// and dates, and writes the chain and an addendum to the record, which the CA's key on the token signs.
func TakeIn(ctx context.Context, p Place, dir string, pemChain []byte, people People) (done Import, err error) {
	if err := errors.Join(people.check(), p.check()); err != nil {
		return done, err
	}
	var rec Record
	pub, err := read(dir, recordBase, recordFormat, &rec, &rec.Statement)
	if err != nil {
		return done, err
	}
	if rec.Request == nil {
		return done, fmt.Errorf("the CA of %s has a self-signed certificate and asked nobody for another", dir)
	}
	chain, err := decodePEM(certificateBlock, pemChain)
	if err != nil {
		return done, fmt.Errorf("the chain to import: %w", err)
	}
	certs, err := checkCA(chain, pub, p.Now)
	if err != nil {
		return done, err
	}
	f, err := open(dir, chainFile, importBase+".json", importBase+".txt", importBase+".jws")
	if err != nil {
		return done, err
	}
	ref, err := rec.ref()
	if err != nil {
		return done, err
	}
	var there hsm.Object
	info, err := look(ctx, p, func(t *hsm.Token, objects []hsm.Object) (err error) {
		there, err = examine(ctx, t, objects, ref, pub)
		return err
	})
	if err != nil {
		return done, err
	}
	if done.Statement, err = newStatement(importFormat, rec.Name, p, people, info, there); err != nil {
		return done, err
	}
	if done.RecordSHA256, err = fileSum(filepath.Join(dir, recordBase+".json")); err != nil {
		return done, fmt.Errorf("read the record: %w", err)
	}
	for _, cert := range certs {
		done.Chain = append(done.Chain, newCertificate(cert))
	}
	text, err := encode(done)
	if err != nil {
		return done, err
	}
	sealed, err := sealOnToken(ctx, p, info, there, text)
	if err != nil {
		return done, err
	}
	err = f.write(chainFile, encodePEM(certificateBlock, chain...), publicMode)
	if err == nil {
		err = f.writeDocument(importBase, text, sealed, done)
	}
	if err != nil {
		return done, errors.Join(err, f.undo())
	}
	return done, nil
}

// sealOnToken has the key o sign the addendum.
func sealOnToken(ctx context.Context, p Place, info hsm.Info, o hsm.Object, text []byte) (sealed []byte, err error) {
	s, err := login(ctx, p, info)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	pub, err := x509.ParsePKIXPublicKey(o.PublicKey)
	if err != nil {
		return nil, err
	}
	key, err := s.find(ctx, o, pub)
	if err != nil {
		return nil, err
	}
	spec, err := specOf(key)
	if err != nil {
		return nil, err
	}
	return seal(text, spec, importFormat, patient{key, ctx})
}

// Expired tells the first certificate that is not valid at now, "" if all are.
func (i Import) Expired(now time.Time) string { return expired(now, i.Chain...) }

// Expired tells whether the self-signed certificate is not valid at now, "" if it is.
func (r Record) Expired(now time.Time) string {
	if r.Certificate == nil {
		return ""
	}
	return expired(now, *r.Certificate)
}

func expired(now time.Time, certs ...Certificate) string {
	for _, c := range certs {
		if now.Before(c.NotBefore) || now.After(c.NotAfter) {
			return fmt.Sprintf("the certificate of %s is valid from %s to %s only", word(c.Subject), c.NotBefore.Format(time.RFC3339), c.NotAfter.Format(time.RFC3339))
		}
	}
	return ""
}
