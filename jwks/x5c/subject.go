package x5c

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Subject is the part of a certificate's name that the configuration gives.
type Subject struct {
	Organization       string // required
	OrganizationalUnit string // left out of the name when empty
	Locality           string // left out of the name when empty
	Province           string // left out of the name when empty
	Country            string // required; two capital letters (ISO 3166)
}

// The upper bounds of RFC 5280 appendix A.1, in characters.
const (
	maxCommonName         = 64
	maxOrganization       = 64
	maxOrganizationalUnit = 64
	maxLocality           = 128
	maxProvince           = 128
)

// Validate tells the first field that cannot stand in a certificate, by the name that the
// configuration has for it.
func (s Subject) Validate() error {
	if s.Organization == "" {
		return errors.New("organization is required")
	}
	if s.Country == "" {
		return errors.New("country is required")
	}
	if len(s.Country) != 2 || strings.Trim(s.Country, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return fmt.Errorf("country %q is not two capital letters, as in CH", s.Country)
	}
	for _, f := range []struct {
		name, value string
		limit       int
	}{
		{"organization", s.Organization, maxOrganization},
		{"organizational_unit", s.OrganizationalUnit, maxOrganizationalUnit},
		{"locality", s.Locality, maxLocality},
		{"province", s.Province, maxProvince},
	} {
		if err := checkText(f.name, f.value, f.limit); err != nil {
			return err
		}
	}
	return nil
}

// checkText accepts what a DirectoryString of at most limit characters can hold and
// people can read.
func checkText(name, value string, limit int) error {
	switch {
	case !utf8.ValidString(value):
		return fmt.Errorf("%s is not UTF-8", name)
	case strings.ContainsFunc(value, unicode.IsControl):
		return fmt.Errorf("%s %q contains a control character", name, value)
	case utf8.RuneCountInString(value) > limit:
		return fmt.Errorf("%s has %d characters; a certificate holds %d (RFC 5280 appendix A.1)", name, utf8.RuneCountInString(value), limit)
	}
	return nil
}

// name is the distinguished name of s with a common name.
func (s Subject) name(commonName string) pkix.Name {
	return pkix.Name{
		Country:            list(s.Country),
		Province:           list(s.Province),
		Locality:           list(s.Locality),
		Organization:       list(s.Organization),
		OrganizationalUnit: list(s.OrganizationalUnit),
		CommonName:         commonName,
	}
}

// list leaves an empty value out of the name: pkix would write an empty attribute,
// which X.520 does not allow.
func list(value string) []string {
	if value == "" {
		return nil
	}
	return []string{value}
}

// shortKID is how many characters of a kid a common name shows: enough of a thumbprint
// (96 bits) for no two keys to share a name, so that a verifier with several of these
// certificates in its trust store finds the right one by name.
const shortKID = 16

// CommonName is the common name of the certificate of a keyset's key: the keyset's name
// and the beginning of the kid, at most 64 characters together. A long keyset name is cut.
func CommonName(keyset, kid string) string {
	tail := "-" + prefix(kid, shortKID)
	return prefix(keyset, maxCommonName-utf8.RuneCountInString(tail)) + tail
}

// prefix is the first n characters of s.
func prefix(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}

// keptIn tells whether a CA that was asked for s and a common name kept them in name: Want
// has the rule.
func (s Subject) keptIn(name pkix.Name, commonName string) error {
	var commonNames []string
	for _, a := range name.Names {
		if value, ok := a.Value.(string); ok && a.Type.Equal(asn1.ObjectIdentifier{2, 5, 4, 3}) {
			commonNames = append(commonNames, value)
		}
	}
	for _, f := range []struct {
		name, asked string
		got         []string
	}{
		{"common name", commonName, commonNames},
		{"organization", s.Organization, name.Organization},
		{"country", s.Country, name.Country},
	} {
		if !slices.Equal(f.got, []string{f.asked}) {
			return fmt.Errorf("its %s is %q, and %q was asked for", f.name, f.got, f.asked)
		}
	}
	for _, f := range []struct {
		name, asked string
		got         []string
	}{
		{"organizational_unit", s.OrganizationalUnit, name.OrganizationalUnit},
		{"locality", s.Locality, name.Locality},
		{"province", s.Province, name.Province},
	} {
		if f.asked != "" && len(f.got) > 0 && !slices.Contains(f.got, f.asked) {
			return fmt.Errorf("its %s is %q, and %q was asked for", f.name, f.got, f.asked)
		}
	}
	return nil
}
