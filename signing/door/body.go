package door

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	v1 "keysetd.example/api/v1"
	"keysetd.example/signing"
)

// The longest bodies, in bytes: claims in base64url with a header beside them, and a payload.
const (
	maxJWT   = 2 * signing.MaxClaims
	maxSign  = 1 << 20
	maxAdmin = 4 << 10
)

// decode reads the body into v: one JSON object, members that v has, each once, and
// nothing after it.
func decode(w http.ResponseWriter, r *http.Request, limit int64, v any) *v1.Error {
	if kind := r.Header.Get("Content-Type"); kind != "application/json" {
		if media, _, err := mime.ParseMediaType(kind); err != nil || media != "application/json" {
			return &v1.Error{Reason: v1.UnsupportedMediaType, Detail: "the body must be application/json and say so; curl does with --json, or -H 'Content-Type: application/json'"}
		}
	}
	err := json.UnmarshalRead(http.MaxBytesReader(w, r.Body, limit), v, json.RejectUnknownMembers(true))
	if err == nil {
		return nil
	}
	return bodyError(err)
}

// bodyError says what is wrong with a body, and where.
func bodyError(err error) *v1.Error {
	var (
		tooLarge *http.MaxBytesError
		timeout  net.Error
		syntax   *jsontext.SyntacticError
		semantic *json.SemanticError
	)
	switch {
	case errors.As(err, &tooLarge):
		return &v1.Error{Reason: v1.TooLarge, Detail: fmt.Sprintf("the body is longer than %d bytes", tooLarge.Limit)}
	case errors.As(err, &timeout) && timeout.Timeout():
		return &v1.Error{Reason: v1.BadRequest, Detail: "the body did not arrive in time; send it at once"}
	case errors.As(err, &syntax):
		return syntaxError(syntax)
	case errors.As(err, &semantic):
		return semanticError(semantic)
	}
	return &v1.Error{Reason: v1.BadRequest, Detail: "the body could not be read", Cause: err}
}

func syntaxError(e *jsontext.SyntacticError) *v1.Error {
	pointer := signing.Clip(string(e.JSONPointer))
	switch {
	case errors.Is(e.Err, io.ErrUnexpectedEOF):
		return &v1.Error{Reason: v1.BadRequest, Field: pointer, Detail: "the body is empty or cut short; it must be a JSON object"}
	case errors.Is(e.Err, jsontext.ErrDuplicateName):
		return &v1.Error{Reason: reasonAt(pointer), Field: pointer, Detail: fmt.Sprintf("the member %q stands there twice", signing.Clip(e.JSONPointer.LastToken()))}
	}
	return &v1.Error{Reason: reasonAt(pointer), Field: pointer, Detail: "the body is not valid JSON: " + signing.Clip(e.Error())}
}

func semanticError(e *json.SemanticError) *v1.Error {
	pointer := signing.Clip(string(e.JSONPointer))
	switch {
	case errors.Is(e.Err, json.ErrUnknownName):
		return &v1.Error{Reason: v1.BadRequest, Field: pointer, Detail: fmt.Sprintf("the member %q is not one that this operation has", signing.Clip(e.JSONPointer.LastToken()))}
	case pointer == "":
		return &v1.Error{Reason: v1.BadRequest, Detail: "the body must be a JSON object"}
	}
	return &v1.Error{Reason: v1.BadRequest, Field: pointer, Detail: fmt.Sprintf("%s has the wrong type", pointer)}
}

// reasonAt tells whose fault something below pointer is: inside the claims it is the
// claims', as it would be if the service had found it.
func reasonAt(pointer string) v1.Reason {
	switch {
	case strings.HasPrefix(pointer, "/claims/"):
		return v1.BadClaims
	case strings.HasPrefix(pointer, "/header/"):
		return v1.BadHeader
	}
	return v1.BadRequest
}
