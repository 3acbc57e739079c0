package audit

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/go-jose/go-jose/v4"
)

// signer seals with the first of its keys.
type signer struct {
	mu    sync.Mutex
	keys  []*ecdsa.PrivateKey
	err   error
	hang  chan struct{} // Seal waits for it, whatever becomes of its context
	seals []string
}

func newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

func kidOf(key *ecdsa.PrivateKey) string {
	kid, err := thumbprint(&jose.JSONWebKey{Key: key.Public()})
	if err != nil {
		panic(err)
	}
	return kid
}

func (s *signer) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *signer) Keys() (public []crypto.PublicKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.keys {
		public = append(public, k.Public())
	}
	return public
}

func (s *signer) Seal(_ context.Context, payload []byte) (string, error) {
	s.mu.Lock()
	hang, err, key := s.hang, s.err, s.keys[0]
	s.mu.Unlock()
	if hang != nil {
		<-hang
	}
	if err != nil {
		return "", err
	}
	compact := seal(key, payload)
	s.set(func() { s.seals = append(s.seals, compact) })
	return compact, nil
}

func (s *signer) sealed() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seals)
}

func seal(key *ecdsa.PrivateKey, payload []byte) string {
	opts := (&jose.SignerOptions{}).WithType(CheckpointType)
	sig, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: kidOf(key)}}, opts)
	if err != nil {
		panic(err)
	}
	jws, err := sig.Sign(payload)
	if err != nil {
		panic(err)
	}
	compact, _ := jws.CompactSerialize()
	return compact
}

// trail is a log in some files, as lines.
type trail struct {
	dir   string
	files [][]string
	seals []string
	kids  []string
	torn  bool
}

func (tr *trail) name(i int) string { return filepath.Join(tr.dir, "audit."+strconv.Itoa(i)) }

func (tr *trail) paths() (paths []string) {
	for i := range tr.files {
		paths = append(paths, tr.name(i))
	}
	return paths
}

type fataler interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

// write writes files in the place of the log's.
func (tr *trail) write(t fataler, files [][]string) {
	t.Helper()
	for i, lines := range files {
		if err := os.WriteFile(tr.name(i), []byte(strings.Join(lines, "")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// record makes a log: of each number as many lines, a checkpoint after them; a -1 begins a new file,
// a -2 has a crash cut a line short, a -3 lets the next key take over.
func recordTrail(t fataler, dir string, steps ...int) *trail {
	t.Helper()
	tr := &trail{dir: dir}
	s := &signer{keys: []*ecdsa.PrivateKey{newKey()}}
	path := filepath.Join(dir, "audit.jsonl")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	open := func() *Log {
		l, err := Open(path, Options{Sealer: s, Installation: "here"})
		must(err)
		return l
	}
	tr.kids = append(tr.kids, kidOf(s.keys[0]))
	l, n, rotated := open(), 0, 0
	ctx := context.Background()
	for _, step := range steps {
		switch step {
		case -1:
			must(os.Rename(path, tr.name(rotated)))
			must(l.Reopen())
			rotated++
		case -2:
			must(l.Close())
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
			must(err)
			_, err = f.WriteString(`{"seq":1,"prev":"` + strings.Repeat("x", n))
			must(errors.Join(err, f.Close()))
			l = open()
			must(l.Append(ctx, record("after a crash")))
			tr.torn = true
		case -3:
			s.set(func() { s.keys = append(s.keys, newKey()) })
			must(l.Checkpoint(ctx))
			s.set(func() { s.keys = s.keys[1:] })
			tr.kids = append(tr.kids, kidOf(s.keys[0]))
		default:
			for range step {
				n++
				must(l.Append(ctx, record("j"+strconv.Itoa(n))))
			}
			must(l.Checkpoint(ctx))
		}
	}
	must(l.Close())
	must(os.Rename(path, tr.name(rotated)))
	for i := range rotated + 1 {
		data, err := os.ReadFile(tr.name(i))
		must(err)
		tr.files = append(tr.files, slices.Collect(strings.Lines(string(data))))
	}
	tr.seals = s.seals
	return tr
}

func (tr *trail) verify(t fataler, opts VerifyOptions) *Report {
	t.Helper()
	r, err := Verify(tr.paths(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func clone(files [][]string) [][]string {
	out := slices.Clone(files)
	for i := range out {
		out[i] = slices.Clone(out[i])
	}
	return out
}

func headOf(text string) Head {
	l, ok := parse([]byte(strings.TrimSuffix(text, "\n")))
	if !ok {
		panic(text)
	}
	return l.head
}
