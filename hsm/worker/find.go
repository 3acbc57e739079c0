package worker

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/pkcs11"

	"keysetd.example/hsm/wire"
)

// slot is a slot with a token in it.
type slot struct {
	number      uint
	initialised bool
	hasUserPIN  bool
	token       wire.TokenInfo
}

// slots reads every slot that has a token. A slot that cannot be read is left out, and
// the first such failure returned beside the others.
func (m *module) slots() (found []slot, unread, err error) {
	numbers, err := m.ctx.GetSlotList(true)
	if err != nil {
		return nil, nil, failed("C_GetSlotList", err, "list the slots of %q", m.path)
	}
	for _, n := range numbers {
		s, err := m.slot(n)
		switch code := codeOf(err); {
		case err == nil:
			found = append(found, s)
		case code == pkcs11.CKR_TOKEN_NOT_PRESENT || code == pkcs11.CKR_TOKEN_NOT_RECOGNIZED:
		case unread == nil:
			unread = err
		}
	}
	return found, unread, nil
}

func (m *module) slot(n uint) (slot, error) {
	t, err := m.ctx.GetTokenInfo(n)
	if err != nil {
		return slot{}, failed("C_GetTokenInfo", err, "read the token in slot %d", n)
	}
	return slot{
		number:      n,
		initialised: t.Flags&pkcs11.CKF_TOKEN_INITIALIZED != 0,
		hasUserPIN:  t.Flags&pkcs11.CKF_USER_PIN_INITIALIZED != 0,
		token: wire.TokenInfo{
			Label:           trim(t.Label),
			Serial:          trim(t.SerialNumber),
			Manufacturer:    trim(t.ManufacturerID),
			Model:           trim(t.Model),
			HardwareVersion: version(t.HardwareVersion),
			FirmwareVersion: version(t.FirmwareVersion),
			MaxSessions:     limit(t.MaxSessionCount),
			MaxRWSessions:   limit(t.MaxRwSessionCount),
			PINCountLow:     t.Flags&pkcs11.CKF_USER_PIN_COUNT_LOW != 0,
			PINFinalTry:     t.Flags&pkcs11.CKF_USER_PIN_FINAL_TRY != 0,
			PINLocked:       t.Flags&pkcs11.CKF_USER_PIN_LOCKED != 0,
			LoginRequired:   t.Flags&pkcs11.CKF_LOGIN_REQUIRED != 0,
		},
	}, nil
}

// describe adds what the library and the mechanism list tell.
func (m *module) describe(s slot) (wire.TokenInfo, error) {
	info, err := m.ctx.GetInfo()
	if err != nil {
		return wire.TokenInfo{}, failed("C_GetInfo", err, "read the module %q", m.path)
	}
	mechanisms, err := m.ctx.GetMechanismList(s.number)
	if err != nil {
		return wire.TokenInfo{}, failed("C_GetMechanismList", err, "list the mechanisms of token %q", s.token.Label)
	}
	t := s.token
	t.LibraryName, t.LibraryVersion = trim(info.LibraryDescription), version(info.LibraryVersion)
	for _, mech := range mechanisms {
		t.Mechanisms = append(t.Mechanisms, uint64(mech.Mechanism))
	}
	return t, nil
}

// version shows a CK_VERSION, whose minor number counts hundredths (PKCS#11 v2.40 §3.1).
func version(v pkcs11.Version) string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

// limit turns CK_UNAVAILABLE_INFORMATION into CK_EFFECTIVELY_INFINITE, which is 0.
func limit(n uint) uint64 {
	if n == ^uint(0) {
		return 0
	}
	return uint64(n)
}

// choose takes the one initialised token that is wanted.
func choose(slots []slot, want wire.OpenRequest) (slot, error) {
	if want.Label == "" && want.Serial == "" {
		return slot{}, reason(wire.Protocol, "choose a token in %q: neither a label nor a serial number was given", want.Module)
	}
	matches := func(wanted, is string) bool { return wanted == "" || wanted == is }
	var there, chosen []slot
	for _, s := range slots {
		if !s.initialised {
			continue
		}
		there = append(there, s)
		if t := s.token; matches(want.Label, t.Label) && matches(want.Serial, t.Serial) &&
			matches(want.Manufacturer, t.Manufacturer) && matches(want.Model, t.Model) {
			chosen = append(chosen, s)
		}
	}
	switch {
	case len(chosen) == 1:
		return chosen[0], nil
	case len(chosen) > 1:
		return slot{}, reason(wire.TokenNotOne, "%d tokens in %q have %s: %s; name one of them by its serial number", len(chosen), want.Module, wanted(want), tokenNames(chosen))
	case len(there) == 0:
		return slot{}, reason(wire.TokenMissing, "no token in %q is initialised; is the HSM connected, and does this user have the rights to see it?", want.Module)
	}
	return slot{}, reason(wire.TokenMissing, "no token in %q has %s; there are %s", want.Module, wanted(want), tokenNames(there))
}

// wanted shows what was asked for.
func wanted(r wire.OpenRequest) string {
	var parts []string
	for _, p := range []struct{ what, value string }{
		{"label", r.Label}, {"serial number", r.Serial}, {"manufacturer", r.Manufacturer}, {"model", r.Model},
	} {
		if p.value != "" {
			parts = append(parts, fmt.Sprintf("%s %q", p.what, p.value))
		}
	}
	return strings.Join(parts, " and ")
}

func tokenNames(slots []slot) string {
	names := make([]string, len(slots))
	for i, s := range slots {
		names[i] = fmt.Sprintf("%q with serial number %q", s.token.Label, s.token.Serial)
	}
	slices.SortFunc(names, cmp.Compare)
	return strings.Join(names, ", ")
}
