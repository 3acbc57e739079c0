package door

import (
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json"
	"google.golang.org/grpc/codes"

	v1 "keysetd.example/api/v1"
)

// code is what each language of the door has for a reason word.
type code struct {
	http int        // RFC 9110 §15
	grpc codes.Code // as google.rpc.Code documents them
}

// statuses is the one table from reason words to those.
var statuses = map[v1.Reason]code{
	v1.BadRequest:           {http.StatusBadRequest, codes.InvalidArgument},
	v1.BadClaims:            {http.StatusBadRequest, codes.InvalidArgument},
	v1.BadHeader:            {http.StatusBadRequest, codes.InvalidArgument},
	v1.BadSigningInput:      {http.StatusBadRequest, codes.InvalidArgument},
	v1.BadDigest:            {http.StatusBadRequest, codes.InvalidArgument},
	v1.LifetimeTooLong:      {http.StatusBadRequest, codes.InvalidArgument},
	v1.IssuerMismatch:       {http.StatusBadRequest, codes.InvalidArgument},
	v1.TooLarge:             {http.StatusRequestEntityTooLarge, codes.ResourceExhausted},
	v1.NotFound:             {http.StatusNotFound, codes.NotFound},
	v1.MethodNotAllowed:     {http.StatusMethodNotAllowed, codes.Unimplemented},
	v1.UnsupportedMediaType: {http.StatusUnsupportedMediaType, codes.InvalidArgument},
	v1.KeysetUnknown:        {http.StatusNotFound, codes.NotFound},
	v1.AlgorithmUnavailable: {http.StatusBadRequest, codes.InvalidArgument},
	v1.KidNotActive:         {http.StatusConflict, codes.FailedPrecondition},
	v1.PurposeMismatch:      {http.StatusForbidden, codes.PermissionDenied},
	v1.NotGranted:           {http.StatusForbidden, codes.PermissionDenied},
	v1.NotReady:             {http.StatusServiceUnavailable, codes.Unavailable},
	v1.Unavailable:          {http.StatusServiceUnavailable, codes.Unavailable},
	v1.Overloaded:           {http.StatusServiceUnavailable, codes.Unavailable},
	v1.DeadlineExceeded:     {http.StatusGatewayTimeout, codes.DeadlineExceeded},
	v1.NotYet:               {http.StatusConflict, codes.FailedPrecondition},
	v1.RateLimited:          {http.StatusTooManyRequests, codes.ResourceExhausted},
	v1.Frozen:               {http.StatusConflict, codes.FailedPrecondition},
	v1.KidUnknown:           {http.StatusNotFound, codes.NotFound},
	v1.BadConfiguration:     {http.StatusConflict, codes.FailedPrecondition}, // of the request with a file on this host; 422 would blame the request
	v1.DecryptionFailed:     {http.StatusUnprocessableEntity, codes.InvalidArgument},
	v1.AuditFailed:          {http.StatusServiceUnavailable, codes.Unavailable},
	v1.Internal:             {http.StatusInternalServerError, codes.Internal},
}

// problem is the body of an error (RFC 9457). Its type is about:blank, so its title is
// the status's phrase; programs go by reason.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	v1.Error
}

func writeProblem(w http.ResponseWriter, e *v1.Error) {
	status := statuses[e.Reason].http
	body, err := json.Marshal(problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Error: *e})
	if err != nil { // a detail that is not UTF-8
		status = http.StatusInternalServerError
		body = []byte(`{"type":"about:blank","title":"Internal Server Error","status":500,"detail":"a fault of keysetd's own","reason":"internal"}`)
	}
	if e.RetryAfterMillis > 0 {
		seconds := (e.RetryAfterMillis + 999) / 1000 // RFC 9110 §10.2.3 has no smaller unit
		w.Header().Set("Retry-After", strconv.FormatInt(seconds, 10))
	}
	write(w, status, "application/problem+json", body)
}

func write(w http.ResponseWriter, status int, contentType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)+1))
	w.WriteHeader(status)
	// A caller that is gone by now is not told; there is nobody to report it to.
	_, _ = w.Write(append(body, '\n')) // the line end is for people with curl
}
