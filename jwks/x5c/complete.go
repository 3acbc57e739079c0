package x5c

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Want says what an imported chain must be. Every field but KeepRoot is required.
type Want struct {
	// Public key that the chain is for.
	Public crypto.PublicKey
	// Subject and CommonName are those of the CSR. The CA must have kept the common name,
	// the organization and the country as they are; it may have left the other fields out
	// or given them further values, but not replaced what was asked for, and it may have
	// added attributes of other types. Alternative names are the CA's affair.
	Subject    Subject
	CommonName string
	// Roots are the certificates that are trusted; the chain must lead to one of them.
	Roots *x509.CertPool
	// Now is when the chain is handed in. It must be valid then, and still at Until.
	Now, Until time.Time
	// KeepRoot keeps a self-signed certificate at the end of the chain, and adds it where
	// it was not handed in.
	KeepRoot bool
}

// Complete makes the chain to publish of certificates that a CA handed back, X.509 DER, in
// any order, with or without the root. A certificate that is there twice counts once; one
// that is no part of the path from the key's certificate to a root is refused, for then
// somebody has mixed up files. Among several paths that use all that was given, the one
// that is valid longest is taken, then the shortest.
//
// The path is checked as by crypto/x509: signatures, dates, CA flags, path lengths, name
// constraints; any critical extension that it does not know refuses the chain. Key
// identifiers must fit where both are there, since OpenSSL asks for it. Keys and signature
// algorithms must be safe, but for the signature of a root that is dropped. Certificates
// outside their dates at Now give an x509.CertificateInvalidError as in Check.
func Complete(given [][]byte, want Want) ([][]byte, error) {
	chain, err := complete(given, want)
	if err != nil {
		return nil, fmt.Errorf("completing the certificate chain of %q: %w", want.CommonName, err)
	}
	return chain, nil
}

func complete(given [][]byte, want Want) ([][]byte, error) {
	if want.Roots == nil { // crypto/x509 would trust what the system does
		return nil, errors.New("there are no roots that it could lead to")
	}
	if len(given) > maxCertificates {
		return nil, fmt.Errorf("%d certificates; a chain may have %d", len(given), maxCertificates)
	}
	certs, err := parse(given)
	if err != nil {
		return nil, err
	}
	certs = once(certs)
	leaf, err := want.leaf(certs)
	if err != nil {
		return nil, err
	}
	for _, c := range certs {
		if err := checkKey(c); err != nil {
			return nil, err
		}
		if bytes.Equal(c.RawSubject, c.RawIssuer) {
			continue // a root; checked below if it is kept, and by crypto/x509 if it is none
		}
		if err := checkSignature(c); err != nil {
			return nil, err
		}
	}
	path, err := want.path(leaf, certs)
	if err != nil {
		return nil, err
	}
	if err := checkKey(path[len(path)-1]); err != nil {
		return nil, err
	}
	begins, ends := span(path)
	if ends.NotAfter.Before(want.Until) {
		return nil, fmt.Errorf("it is valid from %s until %s, when the certificate of %s ends, and must be until %s; ask the CA for a longer one",
			begins.NotBefore.Format(time.RFC3339), ends.NotAfter.Format(time.RFC3339), ends.Subject, want.Until.UTC().Format(time.RFC3339))
	}
	if !want.KeepRoot {
		path = withoutRoot(path)
	}
	// The last may be from the roots, and so not among those looked at.
	if err := checkSignature(path[len(path)-1]); err != nil {
		return nil, fmt.Errorf("%w, or drop it from the chain if it is a root (root: drop)", err)
	}
	chain := raw(path)
	if err := Check(chain, want.Public, want.Now); err != nil {
		return nil, err
	}
	return chain, nil
}

// once is certs without those that are there already.
func once(certs []*x509.Certificate) []*x509.Certificate {
	var out []*x509.Certificate
	for _, c := range certs {
		if !slices.ContainsFunc(out, c.Equal) {
			out = append(out, c)
		}
	}
	return out
}

// leaf is the one certificate of the key.
func (want Want) leaf(certs []*x509.Certificate) (*x509.Certificate, error) {
	var leaf *x509.Certificate
	for _, c := range certs {
		switch {
		case !equal(c.PublicKey, want.Public):
		case leaf != nil:
			return nil, errors.New("there are two certificates for the key; leave the one that is to be published")
		default:
			leaf = c
		}
	}
	switch {
	case leaf == nil:
		return nil, fmt.Errorf("no certificate is for the key (the first is that of %s); hand in what the CA made of this key's certificate signing request", certs[0].Subject)
	case leaf.BasicConstraintsValid && leaf.IsCA:
		return nil, errors.New("the key's certificate is a CA's (basicConstraints); ask the CA for one of an end entity, that this key can certify nothing")
	case leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return nil, errors.New("the key's certificate does not allow signatures (keyUsage has no digitalSignature); ask the CA for one that does")
	}
	if err := want.Subject.keptIn(leaf.Subject, want.CommonName); err != nil {
		return nil, fmt.Errorf("the key's certificate is that of %s: %w; ask the CA for one with the subject of the certificate signing request", leaf.Subject, err)
	}
	return leaf, nil
}

// path is the path from the leaf to a root that has all of certs on it.
func (want Want) path(leaf *x509.Certificate, certs []*x509.Certificate) ([]*x509.Certificate, error) {
	between := x509.NewCertPool()
	for _, c := range certs {
		if c != leaf {
			between.AddCert(c)
		}
	}
	paths, err := leaf.Verify(x509.VerifyOptions{
		Roots: want.Roots, Intermediates: between, CurrentTime: want.Now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		return nil, fmt.Errorf("%w; hand in every CA certificate between the key's and a root that is trusted here", err)
	}
	if err != nil {
		return nil, err
	}
	paths = slices.DeleteFunc(paths, func(path []*x509.Certificate) bool { return !identified(path) })
	if len(paths) == 0 {
		return nil, errors.New("the authority key identifier of a certificate is not the subject key identifier of the one that signed it; hand in the CA certificate that it was issued under")
	}
	best := slices.MinFunc(paths, func(a, b []*x509.Certificate) int {
		_, endA := span(a)
		_, endB := span(b)
		return cmp.Or(
			cmp.Compare(len(strangers(certs, a)), len(strangers(certs, b))),
			endB.NotAfter.Compare(endA.NotAfter),
			cmp.Compare(len(a), len(b)),
			slices.CompareFunc(raw(a), raw(b), bytes.Compare))
	})
	if s := strangers(certs, best); len(s) > 0 {
		return nil, fmt.Errorf("these are not on the way from the key's certificate to a root that is trusted here; take them out: %s", strings.Join(s, "; "))
	}
	return best, nil
}

// strangers are the subjects of those of certs that are not on path.
func strangers(certs, path []*x509.Certificate) []string {
	var subjects []string
	for _, c := range certs {
		if !slices.ContainsFunc(path, c.Equal) {
			subjects = append(subjects, c.Subject.String())
		}
	}
	return subjects
}

// identified tells whether each certificate's authority key identifier, if it has one, is
// the subject key identifier of the next, if it has one.
func identified(path []*x509.Certificate) bool {
	for i, c := range path[1:] {
		if aki := path[i].AuthorityKeyId; len(aki) > 0 && len(c.SubjectKeyId) > 0 && !bytes.Equal(aki, c.SubjectKeyId) {
			return false
		}
	}
	return true
}
