package main_test

import (
	"context"
	"fmt"
	"html"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"keysetd.example/hsm/hsmtest"
)

var tags = regexp.MustCompile(`(?s)<style>.*?</style>|<script>.*?</script>|<[^>]*>`)

// statusPage fetches the page and returns it as it is, and the text that a person reads.
func (d *daemon) statusPage() (page, text string, header http.Header) {
	d.t.Helper()
	resp, err := http.Get("http://" + d.Metrics + "/")
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		d.t.Fatalf("the status page: %s %v", resp.Status, err)
	}
	return string(b), strings.Join(strings.Fields(html.UnescapeString(tags.ReplaceAllString(string(b), " "))), " "), resp.Header
}

// find asks for a token and does not wait for it: who uses a token of the HSM finds out that it is away.
func (d *daemon) find(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "POST", "http://localhost/v1/keysets/default/jwt", strings.NewReader(`{"claims":`+claims("status")+`}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	c := d.client()
	defer c.CloseIdleConnections()
	if resp, err := c.Do(req); err == nil {
		resp.Body.Close()
	}
}

// TestStatusPage: the page of a running daemon says of tokens and keysets what they are, has the plan only where it is
// to be shown, tells of a token that is away, and can be read only.
func TestStatusPage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.configure(`
  default: {purpose: jwt, issuer: "https://issuer.example", keys: [p-256], rotation: {period: 1d}, certificate: {issuer: self, ` + issuedSubject + `}}
  other: {purpose: raw, keys: [rsa-2048], rotation: {period: manual}}
`)
	s.mustKeysetd("init", "-c", s.path("keysetd.yaml"))
	p := hsmtest.NewP11Kit(t, s.soft())
	remote := p.Config()
	s.through(remote.Open.Module, remote.Environment)
	d := s.serve()
	if status, reply := d.call("POST", "/v1/keysets/default/jwt", `{"claims":`+claims("status")+`}`); status != 200 {
		t.Fatalf("keyset default: %d %v", status, reply)
	}

	page, text, header := d.statusPage()
	state := d.state("default")
	active, pending := in(state, "active"), in(state, "pending")
	contains(t, "the status page", text,
		"✔ ready", "Keysets ready 2 of 2", "Tokens up 1 of 1", "default ✔ up", "e2e",
		"default jwt ES256 ✔ ready in 1 d", "other raw", "by hand", "Issuer https://issuer.example",
		fmt.Sprintf("%d active %s %s p-256 ES256 default %s", active.Number, active.Since.UTC().Format("2006-01-02 15:04"), kidOf(active), active.Keys[0].NotAfter.UTC().Format("2006-01-02 15:04")),
		fmt.Sprintf("%d pending %s %s p-256 ES256 default %s", pending.Number, pending.Since.UTC().Format("2006-01-02 15:04"), kidOf(pending), pending.Keys[0].NotAfter.UTC().Format("2006-01-02 15:04")))
	if !strings.Contains(page, "<svg") || !strings.Contains(page, `name="color-scheme" content="light dark"`) {
		t.Error("it has no timeline, or one of light and dark is missing")
	}
	for _, secret := range []string{pin, s.path("pin"), "Planned", "planned"} {
		if strings.Contains(text, secret) {
			t.Errorf("it says %q", secret)
		}
	}
	policy := header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "style-src 'sha256-", "script-src 'sha256-", "connect-src 'self'", "base-uri 'none'", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("its policy has no %q: %s", want, policy)
		}
	}
	if strings.Contains(policy, "unsafe") || header.Get("Cache-Control") != "no-store" || header.Get("X-Content-Type-Options") != "nosniff" ||
		header.Get("Referrer-Policy") != "no-referrer" || header.Get("Content-Type") != "text/html; charset=utf-8" || header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("its header: %v", header)
	}
	for path, want := range map[string]int{"POST /": 405, "GET /other": 404, "GET /metrics": 200, "HEAD /": 200} {
		method, path, _ := strings.Cut(path, " ")
		req, err := http.NewRequest(method, "http://"+d.Metrics+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s %s: %s, want %d", method, path, resp.Status, want)
		}
	}
	if p := d.ask("GET", "/"); p.status != 404 { // of the public door
		t.Errorf("the public door has a page: %d", p.status)
	}

	p.Kill()
	eventually(t, 20*time.Second, "the page tells that the token is away", func() bool {
		d.find(t)
		_, text, _ := d.statusPage()
		return strings.Contains(text, "✖ not ready") && strings.Contains(text, "✖ token default is down: ") && strings.Contains(text, "Tokens up 0 of 1") && strings.Contains(text, "default ✖ down")
	})
	if _, text, _ := d.statusPage(); !strings.Contains(text, kidOf(active)) {
		t.Error("without the token the page does not show the keys")
	}
	p.Restart(t)
	eventually(t, 20*time.Second, "the page tells that the token is back", func() bool {
		_, text, _ := d.statusPage()
		return strings.Contains(text, "✔ ready") && strings.Contains(text, "Tokens up 1 of 1")
	})

	d.stop()
	s.edit("metrics: 127.0.0.1:0", "metrics: 127.0.0.1:0, status_plan: true")
	d = s.serve()
	_, text, _ = d.statusPage()
	contains(t, "the status page with the plan", text, "paler: planned", "Planned", fmt.Sprintf("activate generation %d", pending.Number))
}
