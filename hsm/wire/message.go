package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"keysetd.example/internal/keyspec"
)

// Hello opens a connection.
type Hello struct {
	Version int `json:"version"`
	PID     int `json:"pid"`
}

// OpenRequest names the module and the one token in it that is wanted. At least one
// of Label and Serial is set; all that are set must match exactly one token.
type OpenRequest struct {
	Module string `json:"module"`
	Label  string `json:"label,omitempty"`
	Serial string `json:"serial,omitempty"`
	// Manufacturer and Model narrow the choice, as in an RFC 7512 URI.
	Manufacturer string `json:"manufacturer,omitempty"`
	Model        string `json:"model,omitempty"`
	// Reserved is handed to C_Initialize as pReserved (PKCS#11 v2.40 §5.4); NSS wants it.
	Reserved string `json:"reserved,omitempty"`
}

// TokenInfo is what C_GetTokenInfo, C_GetInfo and C_GetMechanismList say (PKCS#11 v2.40 §5.4, §5.5).
type TokenInfo struct {
	Label           string `json:"label"`
	Serial          string `json:"serial"`
	Manufacturer    string `json:"manufacturer"`
	Model           string `json:"model"`
	HardwareVersion string `json:"hardware_version"`
	FirmwareVersion string `json:"firmware_version"`
	LibraryVersion  string `json:"library_version"`
	LibraryName     string `json:"library_name"`
	// MaxSessions and MaxRWSessions are 0 where the token names no limit.
	MaxSessions   uint64 `json:"max_sessions"`
	MaxRWSessions uint64 `json:"max_rw_sessions"`
	// The PIN flags (CKF_USER_PIN_COUNT_LOW, _FINAL_TRY, _LOCKED) and CKF_LOGIN_REQUIRED.
	PINCountLow   bool `json:"pin_count_low"`
	PINFinalTry   bool `json:"pin_final_try"`
	PINLocked     bool `json:"pin_locked"`
	LoginRequired bool `json:"login_required"`
	// Mechanisms are the CKM_ numbers that the token lists.
	Mechanisms []uint64 `json:"mechanisms"`
}

// PrepareRequest asks for sessions.
type PrepareRequest struct {
	Sessions int `json:"sessions"` // that sign at the same time, 1 or more
}

// LoginRequest carries the PIN. Its body is the PIN's bytes.
type LoginRequest struct {
	PIN []byte
}

func (r LoginRequest) check() error { return fits("the PIN", len(r.PIN)) }

func (r LoginRequest) size() int { return len(r.PIN) }

func (r LoginRequest) append(b []byte) []byte { return append(b, r.PIN...) }

// InitTokenRequest prepares an uninitialised slot (PKCS#11 v2.40 §5.5 C_InitToken, C_InitPIN).
// Its body is: three times uint16 length and bytes.
type InitTokenRequest struct {
	Label      string
	SOPIN, PIN []byte
}

func (r InitTokenRequest) check() error {
	return errors.Join(fits("the token's label", len(r.Label)), fits("the security officer's PIN", len(r.SOPIN)), fits("the PIN", len(r.PIN)))
}

func (r InitTokenRequest) size() int { return 6 + len(r.Label) + len(r.SOPIN) + len(r.PIN) }

func (r InitTokenRequest) append(b []byte) []byte {
	b = appendBytes(b, r.Label)
	b = appendBytes(b, r.SOPIN)
	return appendBytes(b, r.PIN)
}

func parseInitToken(body []byte) (InitTokenRequest, error) {
	d := decoder{b: body}
	r := InitTokenRequest{Label: string(d.bytes()), SOPIN: d.bytes(), PIN: d.bytes()}
	return r, d.end("init-token")
}

// ListRequest asks for the keys of the token.
type ListRequest struct {
	// Prefix of CKA_LABEL; keys with other labels are left out. Empty lists all.
	Prefix string `json:"prefix,omitempty"`
}

// Usage is the one thing that a key may be used for (invariant 7).
type Usage string

// The usages.
const (
	Sign    Usage = "sign"
	Decrypt Usage = "decrypt"
	Derive  Usage = "derive"
)

// Ref names a key on the token: by CKA_ID, by CKA_LABEL, or by both. It must match
// exactly one private key.
type Ref struct {
	ID    []byte `json:"id,omitempty"`
	Label string `json:"label,omitempty"`
}

// GenerateRequest asks for one key pair.
type GenerateRequest struct {
	ID    []byte       `json:"id"` // CKA_ID: random, recorded by the caller before it asks
	Label string       `json:"label"`
	Spec  keyspec.Spec `json:"spec"`
	Usage Usage        `json:"usage"`
}

// Object is a key as the token describes it.
type Object struct {
	ID    []byte `json:"id"`
	Label string `json:"label"`
	// Private and Public say which halves are present.
	Private bool `json:"private"`
	Public  bool `json:"public"`
	// Duplicates counts further private keys with the same CKA_ID; further public ones where
	// there is no private key.
	Duplicates int `json:"duplicates,omitempty"`
	// PublicKey is PKIX DER; empty where the token has no public half and neither the private
	// object nor a certificate tells, or where its type is none of the key specs.
	PublicKey  []byte            `json:"public_key,omitempty"`
	Attributes PrivateAttributes `json:"attributes"`
}

// PrivateAttributes are read back from a private key (PKCS#11 v2.40 §4.9). A nil field
// means that the token does not know the attribute.
type PrivateAttributes struct {
	Token            *bool `json:"token,omitempty"`
	Private          *bool `json:"private,omitempty"`
	Sensitive        *bool `json:"sensitive,omitempty"`
	AlwaysSensitive  *bool `json:"always_sensitive,omitempty"`
	Extractable      *bool `json:"extractable,omitempty"`
	NeverExtractable *bool `json:"never_extractable,omitempty"`
	Modifiable       *bool `json:"modifiable,omitempty"`
	Local            *bool `json:"local,omitempty"`
	Sign             *bool `json:"sign,omitempty"`
	SignRecover      *bool `json:"sign_recover,omitempty"`
	Decrypt          *bool `json:"decrypt,omitempty"`
	Derive           *bool `json:"derive,omitempty"`
	Unwrap           *bool `json:"unwrap,omitempty"`
}

// Mechanism is how the token signs, decrypts or derives. The daemon hashes, so those that sign are the
// portable four.
type Mechanism uint8

// The mechanisms.
const (
	// RSAPKCS is CKM_RSA_PKCS over a DigestInfo (RFC 8017 §9.2).
	RSAPKCS Mechanism = 1 + iota
	// RSAPSS256, 384 and 512 are CKM_RSA_PKCS_PSS over a digest, MGF1 with the same hash,
	// salt as long as the hash.
	RSAPSS256
	RSAPSS384
	RSAPSS512
	// ECDSA is CKM_ECDSA over a digest; the signature is r‖s.
	ECDSA
	// EdDSA is CKM_EDDSA over the message.
	EdDSA
	// OAEPSHA1 and OAEPSHA256 are CKM_RSA_PKCS_OAEP, MGF1 with the same hash, without a label (RFC 8017 §7.1).
	OAEPSHA1
	OAEPSHA256
	// ECDH1 is CKM_ECDH1_DERIVE without a key derivation function: the x coordinate of the shared
	// point, at the length of the field (SEC 1 §3.3.1).
	ECDH1
)

// String is the CKM_ name without its prefix, as metrics and tables show it.
func (m Mechanism) String() string {
	names := [...]string{"", "RSA_PKCS", "RSA_PKCS_PSS_SHA256", "RSA_PKCS_PSS_SHA384", "RSA_PKCS_PSS_SHA512", "ECDSA", "EDDSA",
		"RSA_PKCS_OAEP_SHA1", "RSA_PKCS_OAEP_SHA256", "ECDH1_DERIVE"}
	if int(m) < len(names) && m != 0 {
		return names[m]
	}
	return fmt.Sprintf("mechanism-%d", uint8(m))
}

// SignRequest asks for one signature. Its body is: uint8 mechanism, uint16 length and
// bytes of ID, the same of the label, then the data to the end.
type SignRequest struct {
	Key       Ref
	Mechanism Mechanism
	Data      []byte
}

func (r SignRequest) check() error {
	return errors.Join(fits("the key's CKA_ID", len(r.Key.ID)), fits("the key's label", len(r.Key.Label)))
}

func (r SignRequest) size() int { return 5 + len(r.Key.ID) + len(r.Key.Label) + len(r.Data) }

func (r SignRequest) append(b []byte) []byte {
	b = append(b, byte(r.Mechanism))
	b = appendBytes(b, r.Key.ID)
	b = appendBytes(b, r.Key.Label)
	return append(b, r.Data...)
}

func parseSign(op Op, body []byte) (SignRequest, error) {
	d := decoder{b: body}
	r := SignRequest{Mechanism: Mechanism(d.byte())}
	r.Key.ID = d.bytes()
	r.Key.Label = string(d.bytes())
	if d.bad {
		return SignRequest{}, fmt.Errorf("%w: %s", ErrFrame, op)
	}
	r.Data = d.b
	return r, nil
}

// DestroyReply tells how many objects (private keys, public keys, certificates) went.
type DestroyReply struct {
	Objects int `json:"objects"`
}

// Timing is measured in the worker.
type Timing struct {
	Wait time.Duration // from the frame's arrival until a session was free
	Call time.Duration // inside the module's functions
}

const timingLen = 16

func (t Timing) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(t.Wait))
	return binary.BigEndian.AppendUint64(b, uint64(t.Call))
}

func parseTiming(b []byte) (Timing, []byte, error) {
	if len(b) < timingLen {
		return Timing{}, nil, fmt.Errorf("%w: timing", ErrFrame)
	}
	t := Timing{Wait: time.Duration(binary.BigEndian.Uint64(b)), Call: time.Duration(binary.BigEndian.Uint64(b[8:]))}
	return t, b[timingLen:], nil
}
