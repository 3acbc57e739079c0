package rotation

import (
	"fmt"
	"strconv"
	"strings"

	"keysetd.example/internal/keyspec"
)

const labelRoot = "keysetd"

// Label is the CKA_LABEL of a key: "keysetd/INSTALLATION/KEYSET/GENERATION/SPEC". With it a
// lost store can be rebuilt, and nobody takes another installation's keys for his own.
type Label struct {
	Installation string
	Keyset       string
	Generation   int
	Spec         keyspec.Spec
}

// String is the label as the token keeps it.
func (l Label) String() string {
	return LabelPrefix(l.Installation) + l.Keyset + "/" + strconv.Itoa(l.Generation) + "/" + string(l.Spec)
}

// LabelPrefix is what every label of an installation begins with.
func LabelPrefix(installation string) string { return labelRoot + "/" + installation + "/" }

// ParseLabel reads a label. Only what String writes is one.
func ParseLabel(s string) (Label, error) {
	parts := strings.Split(s, "/")
	if len(parts) != 5 || parts[0] != labelRoot || parts[1] == "" || parts[2] == "" {
		return Label{}, fmt.Errorf("label %q is not of the form keysetd/INSTALLATION/KEYSET/GENERATION/SPEC", s)
	}
	number, err := strconv.Atoi(parts[3])
	if err != nil || number < 1 || strconv.Itoa(number) != parts[3] {
		return Label{}, fmt.Errorf("label %q: %q is not the number of a generation", s, parts[3])
	}
	spec, err := keyspec.Parse(parts[4])
	if err != nil {
		return Label{}, fmt.Errorf("label %q: %w", s, err)
	}
	return Label{Installation: parts[1], Keyset: parts[2], Generation: number, Spec: spec}, nil
}

// nameError tells why a keyset of this name could not be written in a label.
func nameError(keyset string) error {
	if keyset == "" || strings.Contains(keyset, "/") {
		return fmt.Errorf("keyset %q: a name is not empty and has no slash, since it is part of labels on the token", keyset)
	}
	return nil
}
