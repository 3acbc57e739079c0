package ceremony

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ThalesIgnite/crypto11"

	"keysetd.example/hsm"
)

// intent is what is about to be made, on disk before it is (invariant 4).
type intent struct {
	When  time.Time `json:"when"`
	Token string    `json:"token"`
	Label string    `json:"label"`
	ID    string    `json:"id"` // CKA_ID, hex
}

// Create makes a CA: its key on the token, its certificate or request, and the record. Where it fails, the key and
// the files that it made are removed again, as far as they can be; the error says what is left.
func Create(ctx context.Context, p Place, plan Plan) (rec Record, err error) {
	if err := errors.Join(plan.Check(), p.check()); err != nil {
		return rec, err
	}
	id := newID()
	info, err := look(ctx, p, func(_ *hsm.Token, objects []hsm.Object) error { return free(objects, id, plan.Label) })
	if err != nil {
		return rec, err
	}
	f, err := open(plan.Dir, intentFile, certificateFile, requestFile, chainFile,
		recordBase+".json", recordBase+".txt", recordBase+".jws", importBase+".json", importBase+".txt", importBase+".jws")
	if err != nil {
		return rec, err
	}
	s, err := login(ctx, p, info)
	if err != nil {
		return rec, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.unused(ctx, id, plan.Label); err != nil {
		return rec, err
	}
	note, err := json.Marshal(intent{p.Now.UTC(), p.Token.Name, plan.Label, hex.EncodeToString(id)})
	if err != nil {
		return rec, err
	}
	if err := f.write(intentFile, append(note, '\n'), recordMode); err != nil {
		return rec, err
	}
	key, err := s.generate(ctx, plan.Spec, id, plan.Label)
	if err != nil {
		// Whether it was made nobody knows who got no answer; the intent stays where that is so.
		if _, answered := codeOf(err); answered {
			return rec, errors.Join(err, f.undo())
		}
		return rec, fmt.Errorf("%w; %s/%s names the key that may be on the token", err, plan.Dir, intentFile)
	}
	rec, err = conclude(ctx, p, plan, f, key, hsm.Ref{ID: id, Label: plan.Label})
	if err != nil {
		return rec, errors.Join(err, discard(ctx, f, key, plan))
	}
	return rec, f.remove(intentFile)
}

// conclude looks at the new key from outside, has it sign what it is for, and writes all down.
func conclude(ctx context.Context, p Place, plan Plan, f *folder, key crypto11.Signer, ref hsm.Ref) (rec Record, err error) {
	var made hsm.Object
	info, err := look(ctx, p, func(t *hsm.Token, objects []hsm.Object) (err error) {
		made, err = examine(ctx, t, objects, ref, key.Public())
		return err
	})
	if err != nil {
		return rec, fmt.Errorf("look at the new key: %w", err)
	}
	if rec.Statement, err = newStatement(recordFormat, plan.Name, p, plan.People, info, made); err != nil {
		return rec, err
	}
	if rec.Key.Spec != plan.Spec {
		return rec, fmt.Errorf("the token made a key of another kind: %q", rec.Key.Spec)
	}
	signer := patient{key, ctx}
	if plan.CSR {
		csr, err := plan.request(signer)
		if err != nil {
			return rec, err
		}
		rec.Request = &Request{SHA256: sum256(csr.Raw), Subject: csr.Subject.String(), PathLength: plan.PathLength}
		if err := f.write(requestFile, encodePEM(requestBlock, csr.Raw), publicMode); err != nil {
			return rec, err
		}
	} else {
		der, err := plan.selfSigned(signer, p.Now)
		if err != nil {
			return rec, err
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return rec, err
		}
		rec.Certificate = new(newCertificate(cert))
		if err := f.write(certificateFile, encodePEM(certificateBlock, der), publicMode); err != nil {
			return rec, err
		}
	}
	text, err := encode(rec)
	if err != nil {
		return rec, err
	}
	sealed, err := seal(text, rec.Key.Spec, recordFormat, signer)
	if err != nil {
		return rec, err
	}
	return rec, f.writeDocument(recordBase, text, sealed, rec)
}

// PEM block types (RFC 7468 §5, §7).
const (
	certificateBlock = "CERTIFICATE"
	requestBlock     = "CERTIFICATE REQUEST"
)

// discard removes what a ceremony that failed has made. The intent goes last, and only with the key.
func discard(ctx context.Context, f *folder, key crypto11.Signer, plan Plan) error {
	_, err := within(context.WithoutCancel(ctx), signingLimit, "remove the new key again", func() (struct{}, error) { return struct{}{}, key.Delete() })
	if err != nil {
		return fmt.Errorf("%w; the key %q is left on the token, and %s names it", err, plan.Label, intentFile)
	}
	return f.undo()
}
