package jwks

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Default is the keyset whose pages also stand at the root of the public door.
const Default = "default"

// Keyset is what is published of one keyset.
type Keyset struct {
	Name string
	JWKS *Page
}

// paths under which the pages of k are found.
func (k Keyset) paths() map[string]*Page {
	paths := map[string]*Page{"/keysets/" + k.Name + "/jwks.json": k.JWKS}
	if k.Name == Default {
		paths["/.well-known/jwks.json"] = k.JWKS
		paths["/pf/JWKS"] = k.JWKS // where PingFederate has it
	}
	return paths
}

// Set is all that is published at a time. It never changes.
type Set struct{ pages map[string]*Page } // by path

// NewSet puts the pages of keysets together. It refuses a name that stands twice, has no
// page, or is no single segment of a path.
func NewSet(keysets []Keyset) (*Set, error) {
	set := &Set{pages: make(map[string]*Page, len(keysets)+2)}
	for _, k := range keysets {
		switch {
		case k.Name == "" || k.Name == "." || k.Name == ".." || strings.Contains(k.Name, "/"):
			return nil, fmt.Errorf("publishing keyset %q: the name cannot stand in a URL", k.Name)
		case k.JWKS == nil:
			return nil, fmt.Errorf("publishing keyset %q: it has no JWKS", k.Name)
		}
		for path, page := range k.paths() {
			if set.pages[path] != nil {
				return nil, fmt.Errorf("publishing keyset %q: it is there twice", k.Name)
			}
			set.pages[path] = page
		}
	}
	return set, nil
}

// Pages is the public door: an http.Handler for the Set last swapped in, /healthz and
// /readyz. It answers GET and HEAD and nothing else, reads no request body, ignores query
// strings and lets any web page read it (CORS), for all it has is public.
type Pages struct {
	ready   func() bool
	swap    sync.Mutex
	current atomic.Pointer[map[string]published] // by path; nil before the first Swap
}

// published is a page in its place.
type published struct {
	*Page
	modified time.Time
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
	var old map[string]published
	if current := p.current.Load(); current != nil {
		old = *current
	}
	now := time.Now()
	next := make(map[string]published, len(set.pages))
	for path, page := range set.pages {
		before, existed := old[path]
		modified := before.modified
		if !existed || before.etag != page.etag {
			modified = lastModified(now, before.modified)
		}
		next[path] = published{page, modified}
	}
	p.current.Store(&next)
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
	var page published
	current := p.current.Load()
	if current != nil {
		page = (*current)[path] // by the whole path: no name is taken out of it
	}
	switch {
	case !probe && current == nil:
		answer(w, http.StatusServiceUnavailable, "starting")
	case !probe && page.Page == nil:
		answer(w, http.StatusNotFound, "not found")
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		h.Set("Allow", "GET, HEAD")
		answer(w, http.StatusMethodNotAllowed, "method not allowed")
	case !probe:
		page.serve(w, r, page.modified)
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
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(word)+1))
	w.WriteHeader(status)
	// An error means that the client is gone; a HEAD drops the word.
	_, _ = io.WriteString(w, word+"\n")
}
