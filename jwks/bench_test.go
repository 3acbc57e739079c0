package jwks_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

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
	p, err := jwks.NewDocument(publishedAll(t), jwks.Options{X5T: true, MaxAge: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	d := jwks.NewPages(func() bool { return true })
	d.Swap(set(t, jwks.Keyset{Name: "default", JWKS: p}))
	return d
}

// The page is made once: serving it costs headers, whatever the number of keys.
func TestServingAllocates(t *testing.T) {
	const limit = 16
	for _, headers := range [][]string{nil, {"If-None-Match", "*"}} {
		d, r := full(t), httptest.NewRequest("GET", path, nil)
		if headers != nil {
			r.Header.Set(headers[0], headers[1])
		}
		if n := testing.AllocsPerRun(100, func() { d.ServeHTTP(sink{http.Header{}}, r) }); n > limit {
			t.Errorf("%q: %v allocations, want at most %d", headers, n, limit)
		}
	}
}

func BenchmarkServe(b *testing.B) {
	for name, headers := range map[string][]string{"page": nil, "not-modified": {"If-None-Match", "*"}} {
		b.Run(name, func(b *testing.B) {
			d, r := full(b), httptest.NewRequest("GET", path, nil)
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

func BenchmarkNewDocument(b *testing.B) {
	keys := publishedAll(b)
	for b.Loop() {
		if _, err := jwks.NewDocument(keys, jwks.Options{X5T: true, MaxAge: time.Minute}); err != nil {
			b.Fatal(err)
		}
	}
}

// A reader sees the old page or the new one, never a mixture (under -race).
func TestSwapWhileServing(t *testing.T) {
	one, two := page(t, "one"), page(t, "two")
	bodies := map[string]bool{string(body(t, one)): true, string(body(t, two)): true}
	d := jwks.NewPages(func() bool { return true })
	d.Swap(set(t, jwks.Keyset{Name: "default", JWKS: one}))
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := range 4 {
		wg.Go(func() {
			for range 200 {
				if i%2 == 0 {
					d.Swap(set(t, jwks.Keyset{Name: "default", JWKS: two}))
					d.Swap(set(t, jwks.Keyset{Name: "default", JWKS: one}))
				} else if got := text(t, ask(d, "GET", path)); !bodies[got] {
					t.Errorf("neither page: %s", got)
				}
			}
		})
	}
}
