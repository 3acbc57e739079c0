package signing

import (
	"context"
	"crypto"
	"encoding/base64"
	"errors"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	v1 "keysetd.example/api/v1"
	"keysetd.example/hsm"
	"keysetd.example/signing/jwe"
	"keysetd.example/signing/policy"
)

// Decrypt opens a message that was encrypted to a keyset, or tells its content encryption key, as
// operation decrypt. What is wrong with a message for all to see is told. Whatever else is, is told
// by one constant error after the same work, so that nothing is learnt of what the message holds
// by changing it (RFC 7516 §11.5). A key that is asked for is random then, and nobody is told.
//
// A message that names no key is tried with those that can do its algorithm, newest first, four at
// most, and counts as often in the caller's rate; a content encryption key then comes from the newest. Where
// one of them is not proven to decrypt yet, it may be the one: what no other opens can be asked for again.
func (s *Service) Decrypt(ctx context.Context, caller policy.Caller, keyset string, req *v1.DecryptRequest) (_ *v1.DecryptReply, err error) {
	a := s.begin(caller, policy.Decrypt, keyset)
	defer s.finish(ctx, a, &err)
	reply, err := s.decrypt(ctx, a, req)
	if err = s.end(ctx, a, err); err != nil {
		return nil, err
	}
	return reply, nil
}

func (s *Service) decrypt(ctx context.Context, a *act, req *v1.DecryptRequest) (*v1.DecryptReply, error) {
	keyOnly := req.JWE == ""
	a.note(keyOnly && len(req.Header) > 0, "key")
	if err := a.authorise(""); err != nil {
		return nil, err
	}
	ks, err := a.open(PurposeEnc)
	if err != nil {
		return nil, err
	}
	m, err := a.message(req)
	if err != nil {
		return nil, err
	}
	a.keyAlg = m.Alg()
	to, err := ks.addressed(m)
	if err != nil {
		return nil, err
	}
	if keyOnly { // of the key alone nobody can tell which recipient it came from
		if to, err = to.newest(); err != nil {
			return nil, err
		}
	}
	if len(to.proven) == 1 && to.missing == nil {
		a.recipient = to.proven[0]
	}
	if err := a.permit(policy.Request{}, len(to.proven)); err != nil {
		return nil, err
	}
	ctx = hsm.WithShare(ctx, a.share)
	reply := &v1.DecryptReply{Header: jsontext.Value(m.Header())}
	began := time.Now()
	if keyOnly {
		key, err := m.Key(ctx, a.recipient.Key)
		defer clear(key)
		if late := settle(ctx, began); late != nil {
			return nil, fromToken(late)
		}
		if err != nil {
			return nil, fromDecryption(err)
		}
		reply.Key = base64.RawURLEncoding.EncodeToString(key)
	} else {
		plaintext, err := a.openBy(ctx, m, to)
		if err != nil {
			if late := settle(ctx, began); late != nil {
				return nil, fromToken(late)
			}
			return nil, err
		}
		defer clear(plaintext)
		reply.Plaintext = new(base64.RawURLEncoding.EncodeToString(plaintext))
	}
	reply.KID = a.recipient.KID
	return reply, nil
}

// message takes the request apart. Its errors depend on nothing but the request.
func (a *act) message(req *v1.DecryptRequest) (*jwe.Message, error) {
	switch {
	case (req.JWE == "") == (len(req.Header) == 0):
		return nil, refuse(v1.BadRequest, "/jwe", "give exactly one of jwe and header")
	case req.JWE != "" && req.EncryptedKey != "":
		return nil, refuse(v1.BadRequest, "/encrypted_key", "encrypted_key goes with header; the jwe has its own")
	case len(req.JWE) > jwe.MaxMessage:
		return nil, refuse(v1.TooLarge, "/jwe", "the message is %d bytes; at most %d are decrypted", len(req.JWE), jwe.MaxMessage)
	case len(req.Header) > jwe.MaxHeader:
		return nil, refuse(v1.TooLarge, "/header", "the header is %d bytes; at most %d are read", len(req.Header), jwe.MaxHeader)
	case len(req.EncryptedKey) > jwe.MaxHeader:
		return nil, refuse(v1.TooLarge, "/encrypted_key", "the encrypted key is %d characters; at most %d are read", len(req.EncryptedKey), jwe.MaxHeader)
	}
	var m *jwe.Message
	var err error
	field := "/jwe"
	if req.JWE != "" {
		a.digest = digest(crypto.SHA256, []byte(req.JWE))
		m, err = jwe.Parse(req.JWE)
	} else {
		field = "/header"
		// As it begins in the compact form, if this is the header as it was protected.
		a.digest = digest(crypto.SHA256, []byte(base64.RawURLEncoding.EncodeToString(req.Header)+"."+req.EncryptedKey))
		var encryptedKey []byte
		if encryptedKey, err = canonical(req.EncryptedKey); err != nil {
			return nil, refuse(v1.BadRequest, "/encrypted_key", "the encrypted key is not base64url without padding: %v", err)
		}
		m, err = jwe.ParseHeader(req.Header, encryptedKey)
	}
	if err != nil {
		return nil, &v1.Error{Reason: v1.DecryptionFailed, Field: field, Detail: err.Error(), Cause: err}
	}
	return m, nil
}

// openBy tries the recipients one after the other. All of them are tried for a message that none opens.
func (a *act) openBy(ctx context.Context, m *jwe.Message, to addressees) ([]byte, error) {
	var trouble error
	for _, r := range to.proven {
		plaintext, err := m.Open(ctx, r.Key)
		if err == nil {
			a.recipient = r
			return plaintext, nil
		}
		if trouble == nil && !errors.Is(err, jwe.ErrDecrypt) {
			trouble = err
		}
	}
	if trouble != nil {
		return nil, fromDecryption(trouble)
	}
	if to.missing != nil {
		return nil, to.missing
	}
	return nil, notDecrypted(jwe.ErrDecrypt)
}

// fromDecryption tells a caller of an error that decryption ended with. What the token cannot do is
// not told apart from what it refuses: the algorithm was proven with the key, so that the message has
// some part in it.
func fromDecryption(err error) *v1.Error {
	if errors.Is(err, hsm.ErrUnsupported) || errors.Is(err, hsm.ErrDecrypt) || errors.Is(err, jwe.ErrMalformed) {
		return notDecrypted(err)
	}
	return fromToken(err)
}

// notDecrypted is the one answer to every message that reached a key and did not open.
func notDecrypted(cause error) *v1.Error {
	e := undecryptable("the message does not decrypt: it is not for this keyset, or is not as it was encrypted")
	e.Cause = cause
	return e
}
