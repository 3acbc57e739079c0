package jwks

import (
	"fmt"
	"strings"
)

// Default is the keyset whose pages also stand at the root of the public door.
const Default = "default"

// Keyset is what is published of one keyset.
type Keyset struct {
	Name string
	JWKS *Page
	// Certificates are its certificate pages. Nil: it has none.
	Certificates *Certificates
	// Discovery is its discovery document. Nil: it has none.
	Discovery *Page
}

const (
	jwksPath      = "/jwks.json"
	discoveryPath = "/.well-known/openid-configuration"
)

// keysetPath is below which the pages of a keyset are. No page of the root is there.
func keysetPath(name string) string { return "/keysets/" + name }

// pages of k, by path.
func (k Keyset) pages() map[string]*Page {
	own := keysetPath(k.Name)
	pages := map[string]*Page{own + jwksPath: k.JWKS}
	if k.Discovery != nil {
		pages[own+discoveryPath] = k.Discovery
	}
	if k.Name == Default {
		pages["/.well-known/jwks.json"] = k.JWKS
		pages["/pf/JWKS"] = k.JWKS // where PingFederate has it
		if k.Discovery != nil {
			pages[discoveryPath] = k.Discovery
		}
	}
	return pages
}

// Set is all that is published at a time. It never changes.
type Set struct {
	pages map[string]*Page // by path
	// certificates by the paths below which their pages are: "" for the root. It is a second map
	// so that one change among thousands of keysets is not six times the work.
	certificates map[string]*Certificates
}

// NewSet puts the pages of keysets together. It refuses a name that stands twice, has no
// page, or is no single segment of a path.
func NewSet(keysets []Keyset) (*Set, error) {
	set := &Set{pages: make(map[string]*Page, len(keysets)+2), certificates: make(map[string]*Certificates, len(keysets)+1)}
	for _, k := range keysets {
		switch {
		case k.Name == "" || k.Name == "." || k.Name == ".." || strings.Contains(k.Name, "/"):
			return nil, fmt.Errorf("publishing keyset %q: the name cannot stand in a URL", k.Name)
		case k.JWKS == nil:
			return nil, fmt.Errorf("publishing keyset %q: it has no JWKS", k.Name)
		}
		for path, page := range k.pages() {
			if set.pages[path] != nil {
				return nil, fmt.Errorf("publishing keyset %q: it is there twice", k.Name)
			}
			set.pages[path] = page
		}
		if k.Certificates == nil {
			continue
		}
		set.certificates[keysetPath(k.Name)] = k.Certificates
		if k.Name == Default {
			set.certificates[""] = k.Certificates // where Auth0 has them
		}
	}
	return set, nil
}

// certificate is what a path leads to: the certificates of a keyset, and the form they are asked for
// in. Nil: it leads to none.
func (s *Set) certificate(path string) (*Certificates, form) {
	slash := strings.LastIndexByte(path, '/')
	if slash < 0 {
		return nil, 0
	}
	f, ok := formPaths[path[slash+1:]]
	if !ok {
		return nil, 0
	}
	return s.certificates[path[:slash]], f
}
