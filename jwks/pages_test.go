package jwks_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keysetd.example/internal/keyspec"
	"keysetd.example/jwks"
)

const path = "/keysets/default/jwks.json"

// page is a document with one key under a kid.
func page(t testing.TB, kid string) *jwks.Page {
	t.Helper()
	p, err := jwks.NewDocument([]jwks.Key{{KID: kid, Public: key(t, keyspec.Ed25519).Public(), Use: jwks.Signature}}, jwks.Options{MaxAge: 5 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func set(t testing.TB, keysets ...jwks.Keyset) *jwks.Set {
	t.Helper()
	s, err := jwks.NewSet(keysets)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// door is ready and publishes the keysets default and other.
func door(t testing.TB) *jwks.Pages {
	t.Helper()
	d := jwks.NewPages(func() bool { return true })
	d.Swap(set(t, jwks.Keyset{Name: "default", JWKS: page(t, "one")}, jwks.Keyset{Name: "other", JWKS: page(t, "two")}))
	return d
}

// ask sends a request with headers given as name, value, name, value.
func ask(h http.Handler, method, target string, headers ...string) *http.Response {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return rec.Result()
}

func text(t testing.TB, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestPagesPaths(t *testing.T) {
	d := door(t)
	for target, want := range map[string]string{ // a kid, or a word of text
		path:                                   `"kid":"one"`,
		"/.well-known/jwks.json":               `"kid":"one"`,
		"/pf/JWKS":                             `"kid":"one"`,
		"/keysets/other/jwks.json":             `"kid":"two"`,
		"/keysets/%6fther/jwks.json":           `"kid":"two"`, // the same URL (RFC 3986 §6.2.2.2)
		path + "?kid=x&%zz":                    `"kid":"one"`,
		"/healthz":                             "ok",
		"/healthz?verbose":                     "ok",
		"/readyz":                              "ready",
		"/":                                    "not found",
		"/keysets":                             "not found",
		"/keysets/":                            "not found",
		"/keysets/none/jwks.json":              "not found",
		"/keysets//jwks.json":                  "not found",
		"/keysets/default":                     "not found",
		"/keysets/default/":                    "not found",
		"/keysets/default/jwks.json/":          "not found",
		"/keysets/DEFAULT/jwks.json":           "not found",
		"//keysets/default/jwks.json":          "not found",
		"/keysets/../keysets/other/jwks.json":  "not found",
		"/keysets/..%2f/jwks.json":             "not found",
		"/keysets/none%2f..%2fother/jwks.json": "not found",
		"/keysets/other%00/jwks.json":          "not found",
		"/pf/jwks":                             "not found",
		"/healthz/":                            "not found",
	} {
		resp := ask(d, "GET", target)
		got := text(t, resp)
		if !strings.Contains(got, want) {
			t.Errorf("%s: %d %s, want %s", target, resp.StatusCode, got, want)
		}
		status, contentType, cache := http.StatusOK, "text/plain; charset=utf-8", "no-store"
		switch {
		case want == "not found":
			status = http.StatusNotFound
		case strings.HasPrefix(want, `"kid"`):
			contentType, cache = "application/jwk-set+json", fmt.Sprintf("public, max-age=%d, must-revalidate", maxAge(t, resp))
		}
		if resp.StatusCode != status || resp.Header.Get("Content-Type") != contentType || resp.Header.Get("Cache-Control") != cache {
			t.Errorf("%s: %d %v", target, resp.StatusCode, resp.Header)
		}
		if resp.Header.Get("Access-Control-Allow-Origin") != "*" || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", target, resp.Header)
		}
	}
}

func TestPagesMethods(t *testing.T) {
	d := door(t)
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "MADE-UP"} {
		for _, target := range []string{path, "/healthz", "/readyz"} {
			if resp := ask(d, method, target); resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: %d, Allow %q", method, target, resp.StatusCode, resp.Header.Get("Allow"))
			}
		}
		if resp := ask(d, method, "/none"); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s /none: %d", method, resp.StatusCode)
		}
	}
}

func TestPagesReady(t *testing.T) {
	ready := false
	d := jwks.NewPages(func() bool { return ready })
	for _, tc := range []struct {
		target, want string
		status       int
	}{{"/healthz", "ok\n", 200}, {"/readyz", "unready\n", 503}, {path, "starting\n", 503}} {
		if resp := ask(d, "GET", tc.target); resp.StatusCode != tc.status || text(t, resp) != tc.want {
			t.Errorf("%s before the first pages: %d, want %d %s", tc.target, resp.StatusCode, tc.status, tc.want)
		}
	}
	ready = true
	if resp := ask(d, "GET", "/readyz"); resp.StatusCode != 200 || text(t, resp) != "ready\n" {
		t.Errorf("/readyz when ready: %d", resp.StatusCode)
	}
}

func TestPagesPreconditions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := door(t)
		time.Sleep(90 * time.Second)
		first := ask(d, "GET", path)
		etag, modified := first.Header.Get("Etag"), first.Header.Get("Last-Modified")
		if !strings.HasPrefix(etag, `"`) || len(etag) != 24 {
			t.Fatalf("ETag %s", etag)
		}
		at, err := http.ParseTime(modified)
		if err != nil {
			t.Fatal(err)
		}
		earlier, later := at.Add(-time.Second).Format(http.TimeFormat), at.Add(time.Hour).Format(http.TimeFormat)
		for _, tc := range []struct {
			headers []string
			want    int
		}{
			{nil, 200},
			{[]string{"If-None-Match", etag}, 304},
			{[]string{"If-None-Match", "W/" + etag}, 304},
			{[]string{"If-None-Match", `"a", W/"b",` + etag}, 304},
			{[]string{"If-None-Match", "*"}, 304},
			{[]string{"If-None-Match", `"a", "b"`}, 200},
			{[]string{"If-None-Match", strings.Trim(etag, `"`)}, 200},
			{[]string{"If-Modified-Since", modified}, 304},
			{[]string{"If-Modified-Since", later}, 304},
			{[]string{"If-Modified-Since", earlier}, 200},
			{[]string{"If-Modified-Since", "yesterday"}, 200},
			{[]string{"If-None-Match", `"a"`, "If-Modified-Since", later}, 200}, // RFC 9110 §13.1.3: the tag decides
			{[]string{"If-None-Match", etag, "If-Modified-Since", earlier}, 304},
			{[]string{"If-Match", etag}, 200},
			{[]string{"If-Match", `"a"`}, 412},
			{[]string{"If-Unmodified-Since", earlier}, 412},
			{[]string{"Range", "bytes=0-9"}, 206},
			{[]string{"Range", "bytes=0-9", "If-Range", `"a"`}, 200},
			{[]string{"Range", "bytes=100000-"}, 416},
			{[]string{"Range", "bytes=0-9", "If-None-Match", etag}, 304},
			{[]string{"Accept", "text/html", "Accept-Encoding", "gzip", "Origin", "https://app.example"}, 200},
		} {
			for _, method := range []string{"GET", "HEAD"} {
				resp := ask(d, method, path, tc.headers...)
				name := fmt.Sprintf("%s %q", method, tc.headers)
				if resp.StatusCode != tc.want {
					t.Errorf("%s: %d, want %d", name, resp.StatusCode, tc.want)
					continue
				}
				h := resp.Header
				if h.Get("Access-Control-Allow-Origin") != "*" {
					t.Errorf("%s: no CORS", name)
				}
				switch tc.want {
				case 304: // RFC 9110 §15.4.5
					if h.Get("Etag") != etag || maxAge(t, resp) == 0 || h.Get("Content-Type") != "" || text(t, resp) != "" {
						t.Errorf("%s: 304 with %v", name, h)
					}
				case 412, 416: // no cache may take this for the page
					if h.Get("Etag") != "" || h.Get("Last-Modified") != "" || h.Get("Cache-Control") != "no-store" {
						t.Errorf("%s: %d with %v", name, tc.want, h)
					}
				default:
					if h.Get("Etag") != etag || h.Get("Last-Modified") != modified {
						t.Errorf("%s: %d with %v", name, tc.want, h)
					}
				}
			}
		}
	})
}

// Nobody who asks with If-Modified-Since, whether with a Last-Modified or with the Date of an
// answer, is told 304 about a page that has changed since, however fast pages follow.
func TestPagesLastModified(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := jwks.NewPages(func() bool { return true })
		type answer struct{ date, modified, body string }
		var answers []answer
		for i := range 40 {
			d.Swap(set(t, jwks.Keyset{Name: "default", JWKS: page(t, fmt.Sprint(i/2))})) // each page twice
			for range 3 {
				resp := ask(d, "GET", path)
				now := answer{time.Now().UTC().Format(http.TimeFormat), resp.Header.Get("Last-Modified"), text(t, resp)}
				if at, err := http.ParseTime(now.modified); now.modified != "" && (err != nil || at.After(time.Now())) {
					t.Fatalf("Last-Modified %s at %s (%v)", now.modified, now.date, err)
				}
				for _, old := range answers {
					for _, since := range []string{old.date, old.modified} {
						if since == "" {
							continue
						}
						if code := ask(d, "GET", path, "If-Modified-Since", since).StatusCode; code == 304 && old.body != now.body {
							t.Fatalf("304 at %s for a page of %s (Last-Modified %s) that has changed", now.date, old.date, old.modified)
						}
					}
				}
				answers = append(answers, now)
				time.Sleep(170 * time.Millisecond)
			}
		}
		// A page that stays is in the end known by its date, also through a Swap to the same bytes.
		time.Sleep(time.Second)
		modified := ask(d, "GET", path).Header.Get("Last-Modified")
		time.Sleep(time.Minute)
		d.Swap(set(t, jwks.Keyset{Name: "default", JWKS: page(t, "19")}))
		if code := ask(d, "GET", path, "If-Modified-Since", modified).StatusCode; modified == "" || code != 304 {
			t.Errorf("an unchanged page, Last-Modified %q: %d", modified, code)
		}
	})
}

func TestPagesSwap(t *testing.T) {
	d := door(t)
	etag := ask(d, "GET", path).Header.Get("Etag")
	d.Swap(set(t, jwks.Keyset{Name: "default", JWKS: page(t, "three")}))
	resp := ask(d, "GET", path, "If-None-Match", etag)
	if got := text(t, resp); resp.StatusCode != 200 || !strings.Contains(got, `"kid":"three"`) {
		t.Errorf("after the swap: %d %s", resp.StatusCode, got)
	}
	if code := ask(d, "GET", "/keysets/other/jwks.json").StatusCode; code != 404 {
		t.Errorf("a keyset that is gone: %d", code)
	}
	d.Swap(set(t))
	if code := ask(d, "GET", path).StatusCode; code != 404 {
		t.Errorf("with no keysets: %d", code)
	}
}

func TestNewSetRefuses(t *testing.T) {
	p := page(t, "one")
	for _, keysets := range [][]jwks.Keyset{
		{{Name: "", JWKS: p}}, {{Name: ".", JWKS: p}}, {{Name: "..", JWKS: p}}, {{Name: "a/b", JWKS: p}},
		{{Name: "a"}}, {{Name: "a", JWKS: p}, {Name: "a", JWKS: p}}, {{Name: "default", JWKS: p}, {Name: "default", JWKS: p}},
	} {
		if s, err := jwks.NewSet(keysets); err == nil || s != nil {
			t.Errorf("%v was taken", keysets)
		}
	}
}
