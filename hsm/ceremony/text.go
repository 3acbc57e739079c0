package ceremony

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"keysetd.example/hsm/wire"
)

// Text is the record for people, to be printed and put away.
func (r Record) Text() string {
	var p page
	p.line("Record of a key ceremony: the certificate authority %s was made", word(r.Name))
	p.statement(r.Statement)
	if c := r.Certificate; c != nil {
		p.line("\nCertificate, self-signed (%s)", certificateFile)
		p.certificate(*c)
	}
	if c := r.Request; c != nil {
		p.line("\nRequest to the corporate root (%s)", requestFile)
		p.field("subject", word(c.Subject))
		p.field("path length", strconv.Itoa(c.PathLength))
		p.field("SHA-256", c.SHA256)
	}
	p.sign(recordBase)
	return p.String()
}

// Text is the addendum for people.
func (r Import) Text() string {
	var p page
	p.line("Addendum to the record of a key ceremony: a chain was imported for the certificate authority %s", word(r.Name))
	p.field("record", r.RecordSHA256+" (SHA-256 of "+recordBase+".json)")
	p.statement(r.Statement)
	for i, c := range r.Chain {
		p.line("\nCertificate %d of %d (%s)", i+1, len(r.Chain), chainFile)
		p.certificate(c)
	}
	p.sign(importBase)
	return p.String()
}

// page is a text of lines and of fields, each on a line of its own.
type page struct{ strings.Builder }

func (p *page) line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

func (p *page) field(name, value string) { p.line("  %-22s %s", name, value) }

func (p *page) statement(s Statement) {
	p.field("when", s.When.Format(time.RFC3339))
	who := fmt.Sprintf("%s (uid %d) on %s", word(s.People.User), s.People.UID, word(s.People.Host))
	if s.People.SudoUser != "" {
		who += ", by sudo from " + word(s.People.SudoUser)
	}
	p.field("by", who)
	for _, w := range s.People.Witnesses {
		p.field("witness", word(w))
	}
	p.field("keysetd", word(s.Keysetd)+", "+word(s.Go))
	p.line("\nToken %s", word(s.Token.Name))
	p.field("label", word(s.Token.Label))
	p.field("serial number", word(s.Token.Serial))
	p.field("manufacturer", word(s.Token.Manufacturer))
	p.field("model", word(s.Token.Model))
	p.field("hardware, firmware", word(s.Token.Hardware)+", "+word(s.Token.Firmware))
	p.field("module", word(s.Module.Path))
	p.field("module's library", word(s.Module.Library)+" "+word(s.Module.Version))
	p.field("module's SHA-256", s.Module.SHA256)
	p.line("\nKey (%s)", s.Key.Spec)
	p.field("label", word(s.Key.Label))
	p.field("CKA_ID", word(s.Key.ID))
	p.field("SHA-256 of the SPKI", s.Key.SPKISHA256)
	p.attributes(s.Key.Attributes)
}

func (p *page) attributes(a wire.PrivateAttributes) {
	for _, f := range []struct {
		name  string
		value *bool
	}{
		{"CKA_TOKEN", a.Token}, {"CKA_PRIVATE", a.Private}, {"CKA_SENSITIVE", a.Sensitive},
		{"CKA_ALWAYS_SENSITIVE", a.AlwaysSensitive}, {"CKA_EXTRACTABLE", a.Extractable},
		{"CKA_NEVER_EXTRACTABLE", a.NeverExtractable}, {"CKA_MODIFIABLE", a.Modifiable}, {"CKA_LOCAL", a.Local},
		{"CKA_SIGN", a.Sign}, {"CKA_SIGN_RECOVER", a.SignRecover}, {"CKA_DECRYPT", a.Decrypt},
		{"CKA_DERIVE", a.Derive}, {"CKA_UNWRAP", a.Unwrap},
	} {
		value := "the token does not tell"
		if f.value != nil {
			value = strconv.FormatBool(*f.value)
		}
		p.field(f.name, value)
	}
}

func (p *page) certificate(c Certificate) {
	p.field("subject", word(c.Subject))
	p.field("issuer", word(c.Issuer))
	p.field("serial number", word(c.Serial))
	p.field("valid", c.NotBefore.Format(time.RFC3339)+" to "+c.NotAfter.Format(time.RFC3339))
	length := "not limited"
	if c.PathLength >= 0 {
		length = strconv.Itoa(c.PathLength)
	}
	p.field("path length", length)
	p.field("SHA-256", c.SHA256)
}

func (p *page) sign(base string) {
	p.line("\n%s.jws is the signature of the CA's key over %s.json, which says the same.", base, base)
	p.line("\nSigned by hand:\n\n  %-40s  %s", strings.Repeat("_", 40), strings.Repeat("_", 30))
}

// word is s where it can be nothing but one text on one line, and quoted where not.
func word(s string) string {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}
