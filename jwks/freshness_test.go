package jwks_test

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"keysetd.example/internal/keyspec"
	"keysetd.example/jwks"
)

const noCache = "public, no-cache, must-revalidate"

// maxAge is what resp says, exactly in the form that a page has, and 0 where it must be asked for anew.
func maxAge(t testing.TB, resp *http.Response) (seconds int) {
	t.Helper()
	says := resp.Header.Get("Cache-Control")
	if says == noCache {
		return 0
	}
	if _, err := fmt.Sscanf(says, "public, max-age=%d, must-revalidate", &seconds); err != nil || says != fmt.Sprintf("public, max-age=%d, must-revalidate", seconds) {
		t.Errorf("Cache-Control %q", says)
	}
	return seconds
}

// aged publishes a document as the only one.
func aged(t testing.TB, maxAge time.Duration, until time.Time) *jwks.Pages {
	t.Helper()
	k := published(t, keyspec.P256, false)
	k.Use = jwks.Encryption
	p, err := jwks.NewDocument([]jwks.Key{k}, jwks.Options{MaxAge: maxAge, FreshUntil: until})
	if err != nil {
		t.Fatal(err)
	}
	d := jwks.NewPages(func() bool { return true })
	d.Swap(set(t, jwks.Keyset{Name: "default", JWKS: p}))
	return d
}

// Answers differ in their max-age and in nothing else, and none is longer than configured.
func TestMaxAgeIsSpread(t *testing.T) {
	for _, tc := range []struct {
		maxAge            time.Duration
		shortest, longest int
		values            int // that are there at least
	}{
		{time.Second, 1, 1, 1},
		{2500 * time.Millisecond, 2, 2, 1},
		{9 * time.Second, 9, 9, 1},
		{10 * time.Second, 10, 10, 1}, // 9 is not above nine tenths of it
		{11 * time.Second, 10, 11, 2},
		{20 * time.Second, 19, 20, 2},
		{5 * time.Minute, 271, 300, 25},
		{24 * time.Hour, 77761, 86400, 40},
		{100 * 365 * 24 * time.Hour, 2838240001, 3153600000, 40},
	} {
		d := aged(t, tc.maxAge, time.Time{})
		first := ask(d, "GET", path)
		etag, body := first.Header.Get("Etag"), text(t, first)
		values := map[int]bool{}
		for range 400 {
			for _, headers := range [][]string{nil, {"If-None-Match", etag}} {
				resp := ask(d, "GET", path, headers...)
				seconds := maxAge(t, resp)
				if values[seconds] = true; seconds < tc.shortest || seconds > tc.longest {
					t.Fatalf("max-age %d of %v, want %d to %d", seconds, tc.maxAge, tc.shortest, tc.longest)
				}
				want, wantBody := http.StatusOK, body
				if headers != nil {
					want, wantBody = http.StatusNotModified, ""
				}
				if resp.StatusCode != want || resp.Header.Get("Etag") != etag || text(t, resp) != wantBody {
					t.Fatalf("%q: %d with ETag %s", headers, resp.StatusCode, resp.Header.Get("Etag"))
				}
			}
		}
		if len(values) < tc.values {
			t.Errorf("%v: %d values in 800 answers, want at least %d", tc.maxAge, len(values), tc.values)
		}
	}
}

// No answer is fresh when the next key is published in the place of this one.
func TestNeverFreshBeyond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const age = 60
		until := time.Now().Add(5*time.Minute + 700*time.Millisecond)
		d := aged(t, age*time.Second, until)
		etag := ask(d, "GET", path).Header.Get("Etag")
		cut := 0
		for range 700 {
			now := time.Now()
			left := int(until.Sub(now) / time.Second)
			for _, headers := range [][]string{nil, {"If-None-Match", etag}} {
				resp := ask(d, "GET", path, headers...)
				got := maxAge(t, resp)
				switch {
				case left >= 1 && got == 0, left < 1 && got != 0:
					t.Fatalf("%v before the end: %q", until.Sub(now), resp.Header.Get("Cache-Control"))
				case now.Add(time.Duration(got)*time.Second).After(until) && got != 0:
					t.Fatalf("%v before the end: max-age %d", until.Sub(now), got)
				case got > age || left > 0 && got <= min(left-1, age*9/10): // not shorter than it must be
					t.Fatalf("%v before the end: max-age %d", until.Sub(now), got)
				case left > 0 && left < age*9/10 && got == left:
					cut++
				}
				want := http.StatusOK
				if headers != nil {
					want = http.StatusNotModified
				}
				if resp.StatusCode != want {
					t.Fatalf("%q: %d, want %d", headers, resp.StatusCode, want)
				}
			}
			time.Sleep(500 * time.Millisecond)
		}
		if cut < 100 {
			t.Errorf("%d answers were cut short", cut)
		}
		if resp := ask(d, "GET", path, "If-Match", `"a"`); resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("412 with %v", resp.Header)
		}
	})
}
