package hsm

// ProvenSerial returns the serial number of the token that the latest login which
// succeeded was to, or "" if there was none.
func (m *PINMarker) ProvenSerial() (string, error) {
	f, err := m.facts()
	return f.provenSerial, err
}
