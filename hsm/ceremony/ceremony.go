// Package ceremony is what a person does on a token in one sitting: an issuing CA is made there, its
// chain is taken in, and a signed record of it is kept and checked.
//
// The key is made, found and used by crypto11, which loads the module into this process; the process
// is to end afterwards. All that is looked at is looked at by package hsm through a worker of its own: what the
// record says of the key is the testimony of another process on another login. Both log in under the
// PIN's marker (invariant 9).
//
// A ceremony has a directory of its own:
//
//	certificate.pem  the CA's self-signed certificate, or
//	request.pem      its request to the corporate root (PKCS #10), and later
//	chain.pem        what that root issued, the CA's own certificate first
//	record.json, .txt, .jws  what was done: for programs, for people, and signed by the new key
//	import.json, .txt, .jws  the same of the import of chain.pem
//	intent.json      which key is about to be made; it stays only where a ceremony was cut off
//
// Nothing in it, and nothing on the token, is ever overwritten.
package ceremony

import (
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"keysetd.example/hsm"
	"keysetd.example/internal/keyspec"
)

// Plan says what CA is to be made. Every field is required unless its comment says otherwise.
type Plan struct {
	// Name of the CA in the record and the configuration: letters, digits, "." "_" "-", at most 63, the first a
	// letter or digit.
	Name string
	// Label of its key on the token (CKA_LABEL); none of keysetd's own (rotation.Label).
	Label string
	// Spec of its key: any but ed25519, which crypto11 cannot make.
	Spec keyspec.Spec
	// Subject of its certificate. ParseSubject reads one.
	Subject pkix.Name
	// Days that its self-signed certificate is valid; 0 where CSR is set, for then the corporate root decides.
	Days int
	// PathLength is how many CAs there may be below it (RFC 5280 §4.2.1.9). 0: it issues for keys only.
	PathLength int
	// CSR asks for a request to a corporate root instead of a self-signed certificate.
	CSR bool
	// Dir that the files go to. It is made where it does not exist; its parent must exist.
	Dir string
	// People who are there.
	People People
}

var nameLike = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

const (
	// maxDays is what a certificate may be valid: 40 years.
	maxDays       = 40 * 366
	maxPathLength = 8
	maxLabel      = 255 // bytes; tokens differ, and none is known to take less
	maxText       = 255 // characters of a name in the record
)

// Check tells the first thing that is wrong with the plan.
func (p Plan) Check() error {
	if !nameLike.MatchString(p.Name) {
		return fmt.Errorf("the CA's name %q is not 1 to 63 letters, digits, \".\", \"_\" and \"-\", the first a letter or digit", p.Name)
	}
	if err := checkText("the label", p.Label); err != nil {
		return err
	}
	if len(p.Label) > maxLabel {
		return fmt.Errorf("the label has %d bytes; give at most %d", len(p.Label), maxLabel)
	}
	if strings.HasPrefix(p.Label, ownLabels) {
		return fmt.Errorf("the label %q looks like those of keysetd's own keys (%s…), which keysetd destroys in due time; give another one", p.Label, ownLabels)
	}
	if makers := Specs(); !slices.Contains(makers, p.Spec) {
		return fmt.Errorf("a CA's key cannot be %q; give one of %v", p.Spec, makers)
	}
	if p.Subject.CommonName == "" {
		return errors.New("the subject has no CN; a CA is known by it")
	}
	switch {
	case p.PathLength < 0 || p.PathLength > maxPathLength:
		return fmt.Errorf("a path length of %d; give 0 to %d", p.PathLength, maxPathLength)
	case p.CSR && p.Days != 0:
		return fmt.Errorf("%d days are given for a request; how long the certificate is valid the corporate root decides", p.Days)
	case !p.CSR && (p.Days < 1 || p.Days > maxDays):
		return fmt.Errorf("%d days; give 1 to %d for how long the self-signed certificate is valid, or ask for a request to a corporate root", p.Days, maxDays)
	case p.Dir == "":
		return errors.New("no directory is given for the record")
	}
	return p.People.check()
}

// ownLabels is what keysetd's labels (rotation.Label) begin with.
const ownLabels = "keysetd/"

// Specs are the key specs that a CA's key may have.
func Specs() []keyspec.Spec {
	return slices.DeleteFunc(keyspec.All(), func(s keyspec.Spec) bool { return !s.RSA() && s.Curve() == nil })
}

// checkText accepts what stands in one line of a record and nowhere pretends to be another.
func checkText(what, text string) error {
	switch {
	case text == "":
		return fmt.Errorf("%s is empty", what)
	case !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }):
		return fmt.Errorf("%s %q is not printable text", what, text)
	case utf8.RuneCountInString(text) > maxText:
		return fmt.Errorf("%s has %d characters; give at most %d", what, utf8.RuneCountInString(text), maxText)
	}
	return nil
}

// Place is where a ceremony is held: a token, and when.
type Place struct {
	// Token as for hsm.Start. All logins of the ceremony share its Marker. Reserved cannot be set in it, for
	// crypto11 does not hand it on.
	Token hsm.Config
	// Now is the time that the record and the certificate tell.
	Now time.Time
}

func (p Place) check() error {
	if p.Token.Open.Reserved != "" {
		return fmt.Errorf("token %s: crypto11 cannot hand the module its reserved parameter (C_Initialize's pReserved, which NSS wants), so no CA is made there", p.Token.Name)
	}
	return nil
}
