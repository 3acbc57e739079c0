package jwks

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"time"
)

// Page is something published: bytes made once, and how they are served. It never changes; how
// long an answer with it is fresh depends on when that is given.
type Page struct {
	body        []byte
	contentType string
	etag        string
	disposition string // Content-Disposition (RFC 6266); "" for what is read where it is found
	freshness   freshness
}

func newPage(contentType string, body []byte, f freshness) *Page {
	// Strong (RFC 9110 §8.8.3): it says the bytes are these, through restarts and on every
	// instance. 128 bits of the hash are enough for that.
	sum := sha256.Sum256(body)
	return &Page{
		body:        body,
		contentType: contentType,
		etag:        `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`,
		freshness:   f,
	}
}

// serve answers a GET or HEAD with the page as it stands since modified. http.ServeContent
// decides on preconditions and ranges (RFC 9110 §13, §14); its 304 keeps ETag and
// Cache-Control, as §15.4.5 asks.
func (p *Page) serve(w http.ResponseWriter, r *http.Request, modified time.Time) {
	h := w.Header()
	h.Set("Content-Type", p.contentType)
	h.Set("Etag", p.etag)
	if p.disposition != "" {
		h.Set("Content-Disposition", p.disposition)
	}
	now := time.Now()
	h.Set("Cache-Control", p.freshness.header(now))
	if modified.After(now) {
		modified = time.Time{} // ServeContent neither sends it nor compares with it: see lastModified
	}
	http.ServeContent(refusals{w}, r, "", modified, bytes.NewReader(p.body))
}

// refusals takes the page's caching headers off an error. ServeContent leaves them on a 412,
// which a cache might then hand to everyone for max-age: any client could take the page away
// by sending If-Match.
type refusals struct{ http.ResponseWriter }

func (w refusals) WriteHeader(code int) {
	if code >= 400 {
		h := w.Header()
		h.Del("Etag")
		h.Del("Last-Modified")
		h.Del("Content-Type")
		h.Del("Content-Disposition")
		h.Set("Cache-Control", "no-store")
	}
	w.ResponseWriter.WriteHeader(code)
}

// ReadFrom lets io.Copy use the server's pooled buffers.
func (w refusals) ReadFrom(r io.Reader) (int64, error) { return io.Copy(w.ResponseWriter, r) }

// lastModified is the Last-Modified of a page put in place at now, in the place of one whose
// Last-Modified was before (zero where there was none). Like every date of HTTP it counts in
// seconds, and two pages may come in one second; a 304 for the wrong one would keep a revoked
// key alive. So a page bears the first whole second after its change, keeps it to itself until
// that second has come (RFC 9110 §8.8.2.1 wants no date of the future either), and is always
// later than the page before, even if the clock was set back.
func lastModified(now, before time.Time) time.Time {
	t := now.UTC().Truncate(time.Second).Add(time.Second)
	if !t.After(before) {
		return before.Add(time.Second)
	}
	return t
}
