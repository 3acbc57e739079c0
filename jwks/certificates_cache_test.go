package jwks_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"keysetd.example/internal/keyspec"
	"keysetd.example/jwks"
)

// A certificate is fresh no longer than the document that has its key.
func TestCertificateFreshness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := jwks.Options{MaxAge: time.Minute, FreshUntil: time.Now().Add(90 * time.Second)}
		d := opened(t, whole(t, "default", []jwks.Key{active(published(t, keyspec.P256, true))}, opts))
		for range 10 {
			for _, target := range append(slices.Clone(pages), "fingerprint?hash=sha256", ".well-known/jwks.json") {
				resp := ask(d, "GET", "/"+target)
				left := int(time.Until(opts.FreshUntil) / time.Second)
				if got := maxAge(t, resp); got > 60 || got > max(left, 0) || got == 0 && left > 0 {
					t.Errorf("/%s, %d s before the end: %q", target, left, resp.Header.Get("Cache-Control"))
				}
			}
			time.Sleep(10 * time.Second)
		}
	})
}

// Whoever has what is shown is told 304, and whoever has anything else is given it: whatever
// happened to be published before, and in whatever order.
func TestCertificatePreconditions(t *testing.T) {
	keys := []jwks.Key{published(t, keyspec.P256, true), issued(t, keyspec.P256), issued(t, keyspec.Ed25519), published(t, keyspec.Ed25519, false)}
	rapid.Check(t, func(rt *rapid.T) {
		d := jwks.NewPages(func() bool { return true })
		seen := map[string]string{} // ETags, by target and body
		for range rapid.IntRange(1, 5).Draw(rt, "swaps") {
			k := rapid.SampledFrom(keys).Draw(rt, "key")
			k.Active = rapid.Bool().Draw(rt, "active")
			d.Swap(set(t, whole(t, "default", []jwks.Key{k}, minute)))
			for range 8 {
				target := "/" + rapid.SampledFrom(pages).Draw(rt, "page")
				query := rapid.SampledFrom([]string{"", "?hash=sha256", "?hash=md5", "?kid=" + url.QueryEscape(k.KID), "?alg=ES256", "?alg=EdDSA&x=y"}).Draw(rt, "query")
				target += query
				first := ask(d, "GET", target)
				body := text(t, first)
				if first.StatusCode != 200 {
					if first.Header.Get("Etag") != "" || strings.Count(body, "\n") != 1 || !strings.HasSuffix(body, "\n") {
						rt.Fatalf("%s: %d %v %q", target, first.StatusCode, first.Header, body)
					}
					continue
				}
				etag := first.Header.Get("Etag")
				seen[target+" "+body] = etag
				for had, tag := range seen {
					if strings.HasPrefix(had, target+" ") && (tag == etag) != (had == target+" "+body) {
						rt.Fatalf("%s: ETag %s", target, tag)
					}
				}
				tag := rapid.SampledFrom([]string{etag, "W/" + etag, `"x", ` + etag, "*", `"x"`}).Draw(rt, "tag")
				method := rapid.SampledFrom([]string{"GET", "HEAD"}).Draw(rt, "method")
				want, wantBody := 304, ""
				if tag == `"x"` {
					if want = 200; method == "GET" {
						wantBody = body
					}
				}
				resp := ask(d, method, target, "If-None-Match", tag, "If-Modified-Since", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
				if resp.StatusCode != want || resp.Header.Get("Etag") != etag || text(t, resp) != wantBody || maxAge(t, resp) == 0 {
					rt.Fatalf("%s %s, If-None-Match %s: %d %v", method, target, tag, resp.StatusCode, resp.Header)
				}
				// A date alone proves nothing: another key may have become active within its second.
				if code := ask(d, method, target, "If-Modified-Since", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)).StatusCode; code != 200 {
					rt.Fatalf("%s %s, If-Modified-Since: %d", method, target, code)
				}
			}
		}
	})
}
