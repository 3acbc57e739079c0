package door

import (
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json"

	v1 "keysetd.example/api/v1"
)

// statuses is the one table from reason words to what each language of the door has for
// them (RFC 9110 §15).
var statuses = map[v1.Reason]int{
	v1.BadRequest:           http.StatusBadRequest,
	v1.BadClaims:            http.StatusBadRequest,
	v1.BadHeader:            http.StatusBadRequest,
	v1.BadSigningInput:      http.StatusBadRequest,
	v1.BadDigest:            http.StatusBadRequest,
	v1.LifetimeTooLong:      http.StatusBadRequest,
	v1.IssuerMismatch:       http.StatusBadRequest,
	v1.TooLarge:             http.StatusRequestEntityTooLarge,
	v1.NotFound:             http.StatusNotFound,
	v1.MethodNotAllowed:     http.StatusMethodNotAllowed,
	v1.UnsupportedMediaType: http.StatusUnsupportedMediaType,
	v1.KeysetUnknown:        http.StatusNotFound,
	v1.AlgorithmUnavailable: http.StatusBadRequest,
	v1.KidNotActive:         http.StatusConflict,
	v1.PurposeMismatch:      http.StatusForbidden,
	v1.NotGranted:           http.StatusForbidden,
	v1.NotReady:             http.StatusServiceUnavailable,
	v1.Unavailable:          http.StatusServiceUnavailable,
	v1.Overloaded:           http.StatusServiceUnavailable,
	v1.DeadlineExceeded:     http.StatusGatewayTimeout,
	v1.NotYet:               http.StatusConflict,
	v1.RateLimited:          http.StatusTooManyRequests,
	v1.Frozen:               http.StatusConflict,
	v1.KidUnknown:           http.StatusNotFound,
	v1.BadConfiguration:     http.StatusConflict, // of the request with a file on this host; 422 would blame the request
	v1.AuditFailed:          http.StatusServiceUnavailable,
	v1.Internal:             http.StatusInternalServerError,
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
	status := statuses[e.Reason]
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
