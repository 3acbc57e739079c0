package jwks

import (
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Pages is the public door: an http.Handler for the Set last swapped in, /healthz and
// /readyz. It answers GET and HEAD and nothing else, reads no request body, ignores query
// strings except those of certificate pages, and lets any web page read it (CORS), for all it has
// is public.
type Pages struct {
	ready   func() bool
	swap    sync.Mutex
	current atomic.Pointer[shown] // nil before the first Swap
}

// shown is a Set in its place. It never changes.
type shown struct {
	*Set
	modified map[string]time.Time // by the paths of its pages
}

// NewPages makes a door that knows no pages yet: until the first Swap it answers 503 for
// them, as a 404 would be taken for the truth. ready tells whether keysetd is able to
// sign; it is called for each /readyz, by several at a time.
func NewPages(ready func() bool) *Pages { return &Pages{ready: ready} }

// Swap puts set in the place of the one before, all its pages at once. A request that
// arrives after Swap has returned does not see the old ones; an answer that had begun may
// still be on its way. A page whose bytes stay as they were keeps its Last-Modified.
func (p *Pages) Swap(set *Set) {
	p.swap.Lock()
	defer p.swap.Unlock()
	old := p.current.Load()
	now := time.Now()
	next := &shown{set, make(map[string]time.Time, len(set.pages))}
	for path, page := range set.pages {
		var before *Page
		var modified time.Time
		if old != nil {
			before, modified = old.pages[path], old.modified[path]
		}
		if before == nil || before.etag != page.etag {
			modified = lastModified(now, modified)
		}
		next.modified[path] = modified
	}
	p.current.Store(next)
}

// ServeHTTP answers a request of the public door.
func (p *Pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	// Scripts of any origin may read. To fetch a JWKS is a simple request, which browsers
	// make without a preflight: OPTIONS is refused like every other method.
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("X-Content-Type-Options", "nosniff")
	if r.ContentLength != 0 {
		// To keep the connection the server would read the body before it answers, and wait
		// for one that does not come.
		h.Set("Connection", "close")
	}
	path := r.URL.Path
	probe := path == "/healthz" || path == "/readyz"
	var page *Page
	var certificates *Certificates
	var f form
	current := p.current.Load()
	if current != nil {
		if page = current.pages[path]; page == nil { // by the whole path: no name is taken out of it
			certificates, f = current.certificate(path)
		}
	}
	switch {
	case !probe && current == nil:
		answer(w, http.StatusServiceUnavailable, "starting")
	case !probe && page == nil && certificates == nil:
		answer(w, http.StatusNotFound, "not found")
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		h.Set("Allow", "GET, HEAD")
		answer(w, http.StatusMethodNotAllowed, "method not allowed")
	case certificates != nil:
		certificates.serve(w, r, f)
	case page != nil:
		page.serve(w, r, current.modified[path])
	case path == "/healthz":
		answer(w, http.StatusOK, "ok")
	case p.ready():
		answer(w, http.StatusOK, "ready")
	default:
		answer(w, http.StatusServiceUnavailable, "unready")
	}
}

// answer sends a word that is true now and for no longer: a 404 and a 405 could otherwise be
// kept by a cache for as long as it sees fit (RFC 9110 §15.1).
func answer(w http.ResponseWriter, status int, word string) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", plainText)
	h.Set("Content-Length", strconv.Itoa(len(word)+1))
	w.WriteHeader(status)
	// An error means that the client is gone; a HEAD drops the word.
	_, _ = io.WriteString(w, word+"\n")
}
