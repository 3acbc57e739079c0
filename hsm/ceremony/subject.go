package ceremony

import (
	"crypto/x509/pkix"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// attribute is a part of a subject, with its upper bound (RFC 5280 appendix A.1).
type attribute struct {
	limit int // characters
	set   func(*pkix.Name, string)
}

var attributes = map[string]attribute{
	"CN":           {64, func(n *pkix.Name, v string) { n.CommonName = v }},
	"O":            {64, func(n *pkix.Name, v string) { n.Organization = append(n.Organization, v) }},
	"OU":           {64, func(n *pkix.Name, v string) { n.OrganizationalUnit = append(n.OrganizationalUnit, v) }},
	"L":            {128, func(n *pkix.Name, v string) { n.Locality = append(n.Locality, v) }},
	"ST":           {128, func(n *pkix.Name, v string) { n.Province = append(n.Province, v) }},
	"C":            {2, func(n *pkix.Name, v string) { n.Country = append(n.Country, v) }},
	"SERIALNUMBER": {64, func(n *pkix.Name, v string) { n.SerialNumber = v }},
}

// ParseSubject reads a distinguished name: NAME=VALUE, separated by commas, where a backslash takes the
// character behind it as it is (RFC 4514 §2.4). The names are CN, O, OU, L, ST, C and serialNumber; only OU may
// come more than once. The order is that of crypto/x509/pkix, whatever it is here.
func ParseSubject(s string) (pkix.Name, error) {
	var subject pkix.Name
	seen := map[string]bool{}
	parts, err := split(s)
	if err != nil {
		return subject, err
	}
	for _, part := range parts {
		name, value, ok := strings.Cut(part, "=")
		name, value = strings.ToUpper(strings.TrimSpace(name)), strings.TrimSpace(value)
		a, known := attributes[name]
		switch {
		case !ok || !known:
			return pkix.Name{}, fmt.Errorf("the subject's part %q is none of CN=, O=, OU=, L=, ST=, C=, serialNumber=, as in CN=Example Tokens CA,O=Example,C=CH; a comma in a value needs a backslash before it", part)
		case seen[name] && name != "OU":
			return pkix.Name{}, fmt.Errorf("the subject has %s twice", name)
		case value == "":
			return pkix.Name{}, fmt.Errorf("the subject's %s is empty", name)
		case strings.ContainsFunc(value, func(r rune) bool { return !unicode.IsPrint(r) }) || !utf8.ValidString(value):
			return pkix.Name{}, fmt.Errorf("the subject's %s %q is not printable text", name, value)
		case utf8.RuneCountInString(value) > a.limit:
			return pkix.Name{}, fmt.Errorf("the subject's %s has %d characters; a certificate holds %d (RFC 5280 appendix A.1)", name, utf8.RuneCountInString(value), a.limit)
		case name == "C" && (len(value) != 2 || strings.Trim(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != ""):
			return pkix.Name{}, fmt.Errorf("the subject's C %q is not two capital letters, as in CH", value)
		}
		seen[name] = true
		a.set(&subject, value)
	}
	return subject, nil
}

// split cuts at commas that no backslash stands before, and takes the backslashes away.
func split(s string) ([]string, error) {
	var parts []string
	var part strings.Builder
	escaped := false
	for _, r := range s {
		switch {
		case escaped:
			part.WriteRune(r)
			escaped = false
		case r == '\\':
			escaped = true
		case r == ',':
			parts = append(parts, part.String())
			part.Reset()
		default:
			part.WriteRune(r)
		}
	}
	if escaped {
		return nil, fmt.Errorf("the subject %q ends with a backslash", s)
	}
	return append(parts, part.String()), nil
}
