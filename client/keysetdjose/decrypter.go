package keysetdjose

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/go-jose/go-jose/v4"

	v1 "keysetd.example/api/v1"
	"keysetd.example/client"
)

type decrypter struct {
	client *client.Client
	keyset string
}

// NewKeyDecrypter returns what go-jose's Decrypt takes for a key. The daemon decrypts the content
// encryption key, and the content is decrypted in this process: for messages that are large. For
// others client.Decrypt is one call as well, and says why it failed, where go-jose says
// jose.ErrCryptoFailure of a daemon that is away, too.
func NewKeyDecrypter(c *client.Client, keyset string) jose.OpaqueKeyDecrypter {
	return decrypter{c, keyset}
}

// DecryptKey returns the content encryption key of a message. Where the message is for another
// key it is a random one, and the content does not decrypt (RFC 7516 §11.5).
func (d decrypter) DecryptKey(encryptedKey []byte, header jose.Header) ([]byte, error) {
	raw, err := headerOf(header)
	if err != nil {
		return nil, fmt.Errorf("writing the message's header: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	reply, err := d.client.Decrypt(ctx, d.keyset, &v1.DecryptRequest{
		Header: raw, EncryptedKey: base64.RawURLEncoding.EncodeToString(encryptedKey),
	})
	if err != nil {
		return nil, err
	}
	cek, err := base64.RawURLEncoding.DecodeString(reply.Key)
	if err != nil || len(cek) == 0 {
		return nil, fmt.Errorf("keysetd's reply for keyset %s has no content encryption key", d.keyset)
	}
	return cek, nil
}

// headerOf puts together what go-jose took apart, as far as it is about the message's key.
func headerOf(header jose.Header) ([]byte, error) {
	members := map[string]any{"alg": header.Algorithm}
	if header.KeyID != "" {
		members["kid"] = header.KeyID
	}
	for name, value := range header.ExtraHeaders { // enc, epk, apu and apv among them
		members[string(name)] = value
	}
	return json.Marshal(members)
}
