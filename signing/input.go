package signing

import (
	"encoding/base64"
	"errors"
	"strings"

	v1 "keysetd.example/api/v1"
)

// minProtected is the longest header segment read of a keyset whose own header has nothing long,
// in characters.
const minProtected = 4 << 10

// signingInput is a JWS signing input (RFC 7515 §5.1), taken apart.
type signingInput struct {
	header protectedHeader
	claims []byte
}

// parseSigningInput takes s apart, whose header may be longest characters long. It insists on the
// one canonical spelling of each segment: what is judged must be what a verifier reads, whatever
// decoder that has.
func parseSigningInput(s string, settings HeaderSettings, longest int) (signingInput, error) {
	first, second, ok := strings.Cut(s, ".")
	if !ok || strings.Contains(second, ".") {
		return signingInput{}, badInput("it must be two segments with a dot between them, header and claims")
	}
	if len(first) > longest {
		return signingInput{}, badInput("the header is longer than %d characters", longest)
	}
	if base64.RawURLEncoding.DecodedLen(len(second)) > MaxClaims {
		return signingInput{}, refuse(v1.TooLarge, "/signing_input", "the claims are longer than the %d bytes that are signed at most", MaxClaims)
	}
	raw, err := canonical(first)
	if err != nil {
		return signingInput{}, badInput("the header is not base64url without padding: %v", err)
	}
	header, err := parseProtected(raw, settings)
	if err != nil {
		return signingInput{}, atSigningInput(err)
	}
	claims, err := canonical(second)
	if err != nil {
		return signingInput{}, badInput("the claims are not base64url without padding: %v", err)
	}
	return signingInput{header, claims}, nil
}

var errLineBreak = errors.New("it has a line break")

// canonical decodes base64url that has no padding, no line break (which Go's decoder
// skips) and no stray bits at its end.
func canonical(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, errLineBreak
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}

// lenient decodes base64 of either alphabet, with or without padding.
func lenient(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, errLineBreak
	}
	url := strings.ContainsAny(s, "-_")
	padded := strings.HasSuffix(s, "=")
	switch {
	case url && padded:
		return base64.URLEncoding.Strict().DecodeString(s)
	case url:
		return base64.RawURLEncoding.Strict().DecodeString(s)
	case padded:
		return base64.StdEncoding.Strict().DecodeString(s)
	}
	return base64.RawStdEncoding.Strict().DecodeString(s)
}

func badInput(format string, args ...any) error {
	return refuse(v1.BadSigningInput, "/signing_input", "the signing input cannot be signed: "+format, args...)
}

// atSigningInput points an error about claims or header at where the caller put them; the
// request's own kid stands beside them.
func atSigningInput(err error) error {
	if e, ok := errors.AsType[*v1.Error](err); ok && e.Field != "" && e.Field != "/kid" {
		e.Field = "/signing_input"
	}
	return err
}
