package jwks_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"keysetd.example/internal/keyspec"
	"keysetd.example/jwks"
)

// sink is a response writer that keeps nothing, so that what is measured is the handler. Like
// the server's own it reads from a page without a buffer of the handler's.
type sink struct{ header http.Header }

func (s sink) Header() http.Header         { return s.header }
func (s sink) Write(b []byte) (int, error) { return len(b), nil }
func (s sink) WriteHeader(int)             {}

func (s sink) ReadFrom(r io.Reader) (int64, error) { return io.Copy(io.Discard, r) }

func full(t testing.TB) *jwks.Pages {
	t.Helper()
	keys := publishedAll(t)
	keys[0].Active = true
	return opened(t, whole(t, "default", keys, jwks.Options{X5T: true, MaxAge: time.Minute}))
}

// The pages are made once: serving one costs headers and the query's parsing, whatever the number of keys.
func TestServingAllocates(t *testing.T) {
	for target, limit := range map[string]float64{path: 16, "/pem": 16, "/fingerprint?alg=RS256&hash=sha256": 24} {
		for _, headers := range [][]string{nil, {"If-None-Match", "*"}} {
			d, r := full(t), httptest.NewRequest("GET", target, nil)
			if headers != nil {
				r.Header.Set(headers[0], headers[1])
			}
			if n := testing.AllocsPerRun(100, func() { d.ServeHTTP(sink{http.Header{}}, r) }); n > limit {
				t.Errorf("%s %q: %v allocations, want at most %v", target, headers, n, limit)
			}
		}
	}
}

func BenchmarkServe(b *testing.B) {
	for name, headers := range map[string][]string{"page": nil, "not-modified": {"If-None-Match", "*"}} {
		for _, target := range []string{path, "/pem", "/pem?alg=RS256"} {
			b.Run(name+target, func(b *testing.B) {
				d, r := full(b), httptest.NewRequest("GET", target, nil)
				if headers != nil {
					r.Header.Set(headers[0], headers[1])
				}
				b.ReportAllocs()
				for b.Loop() {
					d.ServeHTTP(sink{http.Header{}}, r)
				}
			})
		}
	}
}

// BenchmarkSwap is what a change of one keyset among thousands costs.
func BenchmarkSwap(b *testing.B) {
	k := whole(b, "k", publishedAll(b), jwks.Options{MaxAge: time.Minute})
	var keysets []jwks.Keyset
	for i := range 5000 {
		k.Name = fmt.Sprint("k", i)
		keysets = append(keysets, k)
	}
	d := jwks.NewPages(func() bool { return true })
	b.ReportAllocs()
	for b.Loop() {
		d.Swap(set(b, keysets...))
	}
}

func BenchmarkNewCertificates(b *testing.B) {
	keys := publishedAll(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := jwks.NewCertificates("default", keys, minute); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNewDocument(b *testing.B) {
	keys := publishedAll(b)
	for b.Loop() {
		if _, err := jwks.NewDocument(keys, jwks.Options{X5T: true, MaxAge: time.Minute}); err != nil {
			b.Fatal(err)
		}
	}
}

// A reader sees the old page or the new one, never a mixture (under -race): bodies under the ETag
// that is theirs, and of certificates one that was active.
func TestSwapWhileServing(t *testing.T) {
	p256, ed := active(published(t, keyspec.P256, true)), active(published(t, keyspec.Ed25519, true))
	targets := []string{path, "/cer", "/pb7", "/fingerprint?hash=sha256", "/cer?kid=" + p256.KID, "/cer?alg=EdDSA"}
	keysets := []jwks.Keyset{whole(t, "default", []jwks.Key{p256}, minute), whole(t, "default", []jwks.Key{ed}, minute)}
	type answer struct {
		status     int
		etag, body string
	}
	get := func(d *jwks.Pages, target string) answer {
		resp := ask(d, "GET", target)
		return answer{resp.StatusCode, resp.Header.Get("Etag"), text(t, resp)}
	}
	right := map[string][]answer{}
	for _, target := range targets {
		for _, k := range keysets {
			right[target] = append(right[target], get(opened(t, k), target))
		}
	}
	d := opened(t, keysets[0])
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := range 4 {
		wg.Go(func() {
			for range 200 {
				if i%2 == 0 {
					d.Swap(set(t, keysets[1]))
					d.Swap(set(t, keysets[0]))
					continue
				}
				for _, target := range targets {
					if got := get(d, target); !slices.Contains(right[target], got) {
						t.Errorf("%s is neither page: %v", target, got)
					}
				}
			}
		})
	}
}
