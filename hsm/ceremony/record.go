package ceremony

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"keysetd.example/hsm"
	"keysetd.example/hsm/wire"
	"keysetd.example/internal/keyspec"
	"keysetd.example/internal/version"
)

// The formats of the two documents.
const (
	recordFormat = "keysetd-ca-record-1"
	importFormat = "keysetd-ca-import-1"
)

// Statement is what both documents say: who did it, when, with what, on which token, and which key was there.
type Statement struct {
	Format  string    `json:"format"`
	Name    string    `json:"name"` // of the CA
	When    time.Time `json:"when"` // UTC, whole seconds
	Keysetd string    `json:"keysetd"`
	Go      string    `json:"go"`
	People  People    `json:"people"`
	Module  Module    `json:"module"`
	Token   Token     `json:"token"`
	Key     Key       `json:"key"`
}

// Module is the PKCS#11 library.
type Module struct {
	Path    string `json:"path"`
	SHA256  string `json:"sha256"` // of the file, hex
	Library string `json:"library,omitempty"`
	Version string `json:"version,omitempty"`
}

// Token is the token as it describes itself.
type Token struct {
	Name         string `json:"name"` // in the configuration
	Label        string `json:"label"`
	Serial       string `json:"serial"`
	Manufacturer string `json:"manufacturer"`
	Model        string `json:"model"`
	Hardware     string `json:"hardware"`
	Firmware     string `json:"firmware"`
}

// Key is the CA's key as the token showed it to another process than the one that made it.
type Key struct {
	Label      string                 `json:"label"`
	ID         string                 `json:"id"` // CKA_ID, hex
	Spec       keyspec.Spec           `json:"spec"`
	Attributes wire.PrivateAttributes `json:"attributes"`
	Public     []byte                 `json:"public"`      // PKIX DER
	SPKISHA256 string                 `json:"spki_sha256"` // of Public, hex
}

// Certificate is one of the files' certificates.
type Certificate struct {
	SHA256     string    `json:"sha256"` // of its DER, hex
	Subject    string    `json:"subject"`
	Issuer     string    `json:"issuer"`
	Serial     string    `json:"serial"` // hex
	NotBefore  time.Time `json:"not_before"`
	NotAfter   time.Time `json:"not_after"`
	PathLength int       `json:"path_length"` // -1: not limited
}

// Request is the request to the corporate root.
type Request struct {
	SHA256     string `json:"sha256"` // of its DER, hex
	Subject    string `json:"subject"`
	PathLength int    `json:"path_length"`
}

// Record says how a CA was made. It has either a Certificate or a Request.
type Record struct {
	Statement
	Certificate *Certificate `json:"certificate,omitempty"`
	Request     *Request     `json:"request,omitempty"`
}

// Import says how the corporate root's chain came to a CA: the addendum to its Record.
type Import struct {
	Statement
	RecordSHA256 string        `json:"record_sha256"` // of record.json, hex
	Chain        []Certificate `json:"chain"`         // the CA's own first
}

func newStatement(format, name string, p Place, people People, info hsm.Info, o hsm.Object) (Statement, error) {
	sum, err := fileSum(p.Token.Open.Module)
	if err != nil {
		return Statement{}, fmt.Errorf("read the module for the record: %w", err)
	}
	pub, err := x509.ParsePKIXPublicKey(o.PublicKey)
	if err != nil {
		return Statement{}, fmt.Errorf("read the new key's public half: %w", err)
	}
	spec, err := keyspec.Of(pub)
	if err != nil {
		return Statement{}, err
	}
	return Statement{
		Format: format, Name: name, When: p.Now.UTC().Truncate(time.Second),
		Keysetd: version.String(), Go: version.Go(), People: people,
		Module: Module{Path: p.Token.Open.Module, SHA256: sum, Library: info.LibraryName, Version: info.LibraryVersion},
		Token: Token{
			Name: p.Token.Name, Label: info.Label, Serial: info.Serial, Manufacturer: info.Manufacturer,
			Model: info.Model, Hardware: info.HardwareVersion, Firmware: info.FirmwareVersion,
		},
		Key: Key{
			Label: o.Label, ID: hex.EncodeToString(o.ID), Spec: spec, Attributes: o.Attributes,
			Public: o.PublicKey, SPKISHA256: sum256(o.PublicKey),
		},
	}, nil
}

func newCertificate(cert *x509.Certificate) Certificate {
	return Certificate{
		SHA256: sum256(cert.Raw), Subject: cert.Subject.String(), Issuer: cert.Issuer.String(),
		Serial: cert.SerialNumber.Text(16), NotBefore: cert.NotBefore.UTC(), NotAfter: cert.NotAfter.UTC(),
		PathLength: pathLength(cert),
	}
}

// public is the key that a statement is about, after a check that it says one thing of it.
func (s Statement) public() (crypto.PublicKey, error) {
	pub, err := x509.ParsePKIXPublicKey(s.Key.Public)
	if err != nil {
		return nil, fmt.Errorf("read the public key in the record: %w", err)
	}
	if spec, err := keyspec.Of(pub); err != nil || spec != s.Key.Spec {
		return nil, errors.Join(fmt.Errorf("the public key in the record is %q and not %q", spec, s.Key.Spec), err)
	}
	if sum := sum256(s.Key.Public); sum != s.Key.SPKISHA256 {
		return nil, fmt.Errorf("the record gives its public key the fingerprint %s, and it has %s", s.Key.SPKISHA256, sum)
	}
	return pub, nil
}

// ref is how the token knows the key.
func (s Statement) ref() (hsm.Ref, error) {
	id, err := hex.DecodeString(s.Key.ID)
	if err != nil || len(id) == 0 || s.Key.Label == "" {
		return hsm.Ref{}, fmt.Errorf("the record names its key by the id %q and the label %q, which no key has", s.Key.ID, s.Key.Label)
	}
	return hsm.Ref{ID: id, Label: s.Key.Label}, nil
}

func sum256(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
