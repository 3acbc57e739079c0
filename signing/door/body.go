package door

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	v1 "keysetd.example/api/v1"
	"keysetd.example/signing"
	"keysetd.example/signing/jwe"
)

// body says what a request's body may be.
type body struct {
	most     int64 // bytes
	optional bool  // it may be empty, which leaves every member out
}

var (
	jwtBody  = body{most: 2 * signing.MaxClaims} // claims in base64url with a header beside them
	signBody = body{most: 1 << 20}               // a payload
	// A client id, an audience and a lifetime.
	assertionBody = body{most: 16 << 10}
	batchBody     = body{most: 1 << 20}
	decryptBody   = body{most: jwe.MaxMessage + 4<<10} // a message, and what is around it
	chainBody     = body{most: 128 << 10}              // ten certificates in PEM, escaped
	testBody      = body{most: 2 * signing.MaxClaims}  // claims

	// Of what operators do: a kid or a serial number, and a reason.
	actBody     = body{most: 4 << 10}
	bareActBody = body{most: 4 << 10, optional: true}
	reloadBody  = body{most: 128 << 10, optional: true} // the names of a thousand keysets
)

// counted reads from in what the budget has room for.
type counted struct {
	in    io.Reader
	taken *hold
}

// Read implements io.Reader.
func (c counted) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	if refused := c.taken.more(int64(n)); refused != nil {
		return 0, refused
	}
	return n, err
}

// decode reads the body into v: one JSON object, members that v has, each once, and
// nothing after it.
func (b body) decode(w http.ResponseWriter, r *http.Request, taken *hold, v any) *v1.Error {
	in := io.Reader(counted{http.MaxBytesReader(w, r.Body, b.most), taken})
	if b.optional {
		ahead := bufio.NewReader(in)
		if _, err := ahead.Peek(1); errors.Is(err, io.EOF) {
			return nil
		}
		in = ahead
	}
	if kind := r.Header.Get("Content-Type"); kind != "application/json" {
		if media, _, err := mime.ParseMediaType(kind); err != nil || media != "application/json" {
			return &v1.Error{Reason: v1.UnsupportedMediaType, Detail: "the body must be application/json and say so; curl does with --json, or -H 'Content-Type: application/json'"}
		}
	}
	err := json.UnmarshalRead(in, v, json.RejectUnknownMembers(true))
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
		refused  *v1.Error
	)
	switch {
	case errors.As(err, &refused):
		return refused
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
	return &v1.Error{Reason: v1.BadRequest, Field: pointer, Detail: fmt.Sprintf("%s must be %s", strings.TrimPrefix(pointer, "/"), wanted(e))}
}

// examples are of members whose text has a form.
var examples = map[string]string{"lifetime": "60s", "until": "2026-01-31T12:00:00Z"}

// wanted says of what type the member should have been.
func wanted(e *json.SemanticError) string {
	t := e.GoType
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	like := ""
	if example, ok := examples[e.JSONPointer.LastToken()]; ok {
		like = " such as " + strconv.Quote(example)
	}
	switch {
	case t == nil:
		return "of another type"
	case t == reflect.TypeFor[time.Time]():
		return "a time in a string" + like
	}
	switch t.Kind() {
	case reflect.String:
		return "a string" + like
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Uint32:
		return fmt.Sprintf("a whole number from 0 to %d", uint32(math.MaxUint32))
	case reflect.Slice:
		return "an array"
	case reflect.Map, reflect.Struct:
		return "an object"
	}
	return "of another type"
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
