package audit

import (
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"

	"keysetd.example/internal/jwa"
)

// CheckpointType is the typ of a checkpoint.
const CheckpointType = "keysetd-audit+jwt"

// Sealer signs checkpoints. Its methods are called by one goroutine at a time; they may be
// slow, and nobody who appends waits for them.
type Sealer interface {
	// Keys are the public keys under which Seal signs now, and those that are known to come. A
	// key should be here before it signs: then a checkpoint of the key before it vouches for
	// it. None: nothing can be signed now.
	Keys() []crypto.PublicKey
	// Seal returns payload as a compact JWS (RFC 7515 §3.1) by one of Keys, with that key's
	// thumbprint (RFC 7638, SHA-256) as kid, and CheckpointType as typ.
	Seal(ctx context.Context, payload []byte) (jws string, err error)
}

// claims are the payload of a checkpoint: the line Seq has the hash Hash, and so have all
// lines before it the hashes that lead there.
type claims struct {
	Seq          uint64    `json:"seq"`
	Hash         string    `json:"hash"` // SHA-256 of the line, in base64url
	Time         time.Time `json:"time"`
	Installation string    `json:"installation,omitempty"`
	// LateSince is when a checkpoint was due that could not be made.
	LateSince time.Time `json:"late_since,omitzero"`
}

func (c *claims) head() (Head, error) {
	h := Head{Seq: c.Seq}
	hash, err := strict.DecodeString(c.Hash)
	if err != nil || len(hash) != len(h.Hash) || c.Seq == 0 {
		return Head{}, errors.New("it names no line")
	}
	copy(h.Hash[:], hash)
	return h, nil
}

// checkpoint is a JWS as it was read, and not verified.
type checkpoint struct {
	jws    *jose.JSONWebSignature
	kid    string
	claims claims
	head   Head
}

func readCheckpoint(compact string) (*checkpoint, error) {
	jws, err := jose.ParseSignedCompact(compact, jwa.All())
	if err != nil {
		return nil, fmt.Errorf("it is no JWS: %w", err)
	}
	c := &checkpoint{jws: jws, kid: jws.Signatures[0].Protected.KeyID}
	if typ, _ := jws.Signatures[0].Protected.ExtraHeaders[jose.HeaderType].(string); typ != CheckpointType {
		return nil, fmt.Errorf("its typ is not %s", CheckpointType)
	}
	if err := json.Unmarshal(jws.UnsafePayloadWithoutVerification(), &c.claims); err != nil {
		return nil, fmt.Errorf("its payload is not that of a checkpoint: %w", err)
	}
	c.head, err = c.claims.head()
	return c, err
}

// verify verifies the signature by the key of this kid.
func (c *checkpoint) verify(keys map[string]*jose.JSONWebKey) error {
	key := keys[c.kid]
	if key == nil {
		return fmt.Errorf("no key %q was introduced", c.kid)
	}
	if _, err := c.jws.Verify(key.Key); err != nil {
		return fmt.Errorf("its signature is not by key %s: %w", c.kid, err)
	}
	return nil
}

// thumbprint is the kid of an audit key.
func thumbprint(key *jose.JSONWebKey) (string, error) {
	sum, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("computing the thumbprint of an audit key: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}

// readKey reads the JWK of an introduction.
func readKey(jwk json.RawMessage) (*jose.JSONWebKey, string, error) {
	key := new(jose.JSONWebKey)
	if err := key.UnmarshalJSON(jwk); err != nil {
		return nil, "", err
	}
	if !key.IsPublic() || !key.Valid() {
		return nil, "", errors.New("it is no public key")
	}
	kid, err := thumbprint(key)
	return key, kid, err
}

// keysByKID gives the public keys their kids, and tells their order.
func keysByKID(public []crypto.PublicKey) (byKID map[string]*jose.JSONWebKey, kids []string, err error) {
	byKID = make(map[string]*jose.JSONWebKey)
	for _, p := range public {
		key := &jose.JSONWebKey{Key: p}
		if !key.IsPublic() {
			return nil, nil, fmt.Errorf("an audit key is a %T, which is no public key", p)
		}
		if key.KeyID, err = thumbprint(key); err != nil {
			return nil, nil, err
		}
		if byKID[key.KeyID] == nil {
			kids = append(kids, key.KeyID)
		}
		byKID[key.KeyID] = key
	}
	return byKID, kids, nil
}

func appendTime(b []byte, t time.Time) []byte {
	b = t.UTC().AppendFormat(append(b, `{"time":"`...), timeLayout)
	return append(b, '"')
}

// appendKey appends the body of the line that introduces a key.
func appendKey(b []byte, now time.Time, key *jose.JSONWebKey) ([]byte, error) {
	jwk, err := key.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("introducing an audit key: %w", err)
	}
	b = append(append(appendTime(b, now), `,"audit_key":`...), jwk...)
	return append(b, "}\n"...), nil
}

// appendCheckpoint appends the body of a checkpoint's line.
func appendCheckpoint(b []byte, now time.Time, jws string) []byte {
	b = append(append(appendTime(b, now), `,"checkpoint":"`...), jws...)
	return append(b, "\"}\n"...)
}
