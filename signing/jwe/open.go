package jwe

import "context"

// Open decrypts the message. Every failure is ErrDecrypt, after the same work, but for Key's own
// errors.
func (m *Message) Open(ctx context.Context, u Unwrapper) ([]byte, error) {
	if m.content == nil {
		return nil, malformed("it has no content, only a key")
	}
	key, err := m.Key(ctx, u)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	aead, err := m.enc.aead(key)
	if err != nil {
		return nil, ErrDecrypt
	}
	plaintext, err := aead.Open(nil, m.content.iv, m.content.sealed, m.content.aad)
	if err != nil {
		return nil, ErrDecrypt
	}
	return plaintext, nil
}
