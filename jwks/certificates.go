package jwks

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"keysetd.example/internal/jwa"
)

// Certificates are the certificate pages of a keyset, made once. They never change.
type Certificates struct {
	// first is what is shown when nothing is asked for: the certificate of the first active key.
	// Here and below nil stands for a key that has none.
	first *forms
	kids  map[string]*forms // every published key's, by each kid that it has
	algs  map[string]*forms // that of the first active key of each algorithm
}

// NewCertificates makes the certificate pages of keys, which are those that the document has, in
// their order: with the same options, so that a certificate is found under each kid of its key and
// is fresh no longer than the document. name is the keyset's, and what saved files are called.
//
// Nobody is shown the certificate of another key than was asked for: where the first active key has
// none, there is none, though the second has one.
func NewCertificates(name string, keys []Key, opts Options) (*Certificates, error) {
	c := &Certificates{kids: map[string]*forms{}, algs: map[string]*forms{}}
	entries, err := entriesOf(keys, opts)
	if err != nil {
		return nil, fmt.Errorf("making the certificate pages: %w", err)
	}
	f := newFreshness(opts.MaxAge, opts.FreshUntil)
	active := false
	for _, e := range entries {
		var made *forms
		if len(e.key.Chain) > 0 {
			if made, err = newForms(name, e.key.Chain, f); err != nil {
				return nil, fmt.Errorf("making the certificate pages of key %q: %w", e.key.KID, err)
			}
		}
		for _, jwk := range e.jwks {
			c.kids[jwk.KeyID] = made
		}
		if !e.key.Active {
			continue
		}
		if !active {
			c.first, active = made, true
		}
		for _, alg := range e.key.algorithms() {
			if _, there := c.algs[alg]; !there {
				c.algs[alg] = made
			}
		}
	}
	return c, nil
}

// algorithms are those that k can be used with (RFC 7518 §3.1, §4.1).
func (k Key) algorithms() (algs []string) {
	spec, err := specOf(k.Public)
	if err != nil {
		return nil
	}
	if k.Use == Encryption {
		for _, alg := range jwa.DecryptionBy(spec) {
			algs = append(algs, string(alg))
		}
		return algs
	}
	for _, alg := range jwa.ForSpec(spec) {
		algs = append(algs, string(alg))
	}
	return algs
}

// maxQuery is how long the query of a certificate page may be, in bytes. The longest kid that
// others allow has 1024 (Kubernetes), three times that if all of it is escaped.
const maxQuery = 4 << 10

// refusal is why there is no page for a query.
type refusal struct {
	status int
	word   string
}

var (
	tooLong       = &refusal{http.StatusRequestURITooLong, "the query is too long"}
	malformed     = &refusal{http.StatusBadRequest, "the query is malformed"}
	twice         = &refusal{http.StatusBadRequest, "give at most one of kid and alg, and nothing twice"}
	otherHash     = &refusal{http.StatusBadRequest, "hash is sha1 or sha256"}
	noCertificate = &refusal{http.StatusNotFound, "no certificate"}
)

// choose is the page in form f that query asks for: ?kid= a published key, ?alg= the active key for
// an algorithm, and of fingerprints ?hash=. Other parameters are ignored, as on every page; one of
// these that cannot be read is not, for the answer would be another certificate.
func (c *Certificates) choose(f form, query string) (*Page, *refusal) {
	if len(query) > maxQuery {
		return nil, tooLong
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, malformed
	}
	kid, alg, hash := values["kid"], values["alg"], values["hash"]
	if f != fingerprint {
		hash = nil
	}
	if len(kid)+len(alg) > 1 || len(hash) > 1 {
		return nil, twice
	}
	if len(hash) == 1 {
		switch hash[0] {
		case "sha1":
		case "sha256":
			f = fingerprintSHA256
		default:
			return nil, otherHash
		}
	}
	made := c.first
	switch {
	case len(kid) == 1:
		made = c.kids[kid[0]]
	case len(alg) == 1:
		made = c.algs[alg[0]]
	}
	if made == nil {
		return nil, noCertificate
	}
	return made[f], nil
}

// serve answers a GET or HEAD with the page that the query chooses. It may be another because another
// key has become active, or the same key with a new chain: so it has no Last-Modified, and is
// known by its ETag alone.
func (c *Certificates) serve(w http.ResponseWriter, r *http.Request, f form) {
	page, refused := c.choose(f, r.URL.RawQuery)
	if refused != nil {
		answer(w, refused.status, refused.word)
		return
	}
	page.serve(w, r, time.Time{})
}
