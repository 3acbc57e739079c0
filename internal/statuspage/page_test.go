package statuspage

import (
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	v1 "keysetd.example/api/v1"
)

var update = flag.Bool("update", false, "write testdata anew")

func TestText(t *testing.T) {
	for file, planned := range map[string]bool{"testdata/page.txt": false, "testdata/planned.txt": true} {
		w := get(t, lively(planned), "/")
		if w.Code != http.StatusOK {
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
		got := text(parse(t, w.Body.String()))
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("the page's text is not that of %s; look at it and run `go test ./internal/statuspage -update`:\n%s", file, got)
		}
	}
}

func TestPlanOnlyWhereToldTo(t *testing.T) {
	for _, word := range []string{"Planned", "planned", "is to ", "withdraw", "plan "} {
		body := get(t, lively(false), "/").Body.String()
		_, body, _ = strings.Cut(body, "</style>") // which has the classes for both
		if strings.Contains(body, word) {
			t.Errorf("without a plan the page has %q", word)
		}
	}
	if body := get(t, lively(true), "/").Body.String(); !strings.Contains(body, "activate generation 13") || !strings.Contains(body, `class="active planned"`) {
		t.Error("with a plan the page does not have it")
	}
}

func TestNothingIsBelieved(t *testing.T) {
	const hostile = `"><script>alert(1)</script><b onclick='x'>&amp;` + "`{{.}}\x00\u202e\xff"
	p := New(Options{
		Now: func() time.Time { return noon }, Gather: newMeter(),
		Plan: func(string) []v1.PlannedStep {
			return []v1.PlannedStep{{At: noon.Add(time.Hour), Step: hostile, Generation: 1, Reason: hostile}}
		},
		Source: func() View {
			key := v1.Key{KID: hostile, Spec: hostile, Token: hostile, ID: hostile, Algorithms: []string{hostile}}
			return View{
				Version: hostile, Why: hostile, Warnings: []string{hostile},
				Tokens: []v1.Token{{Name: hostile, Label: hostile, Serial: hostile, Model: hostile, FoundSerial: hostile, Problem: hostile}},
				Keysets: []Keyset{{Keyset: v1.Keyset{
					Name: hostile, Purpose: hostile, Mode: hostile, Issuer: hostile, Problem: hostile, Algorithms: []string{hostile},
					Generations: []v1.Generation{{Number: 1, State: hostile, Since: noon.Add(-time.Hour), Keys: []v1.Key{key}}},
					Revoked:     []v1.RevokedKey{{KID: hostile, By: hostile, Reason: hostile, At: noon.Add(-time.Minute)}},
				}}},
			}
		},
	})
	body := get(t, p, "/?q=%22%3E%3Cscript%3E").Body.String() + get(t, p, "/").Body.String()
	if n := strings.Count(body, "<script"); n != 2 {
		t.Errorf("two pages have %d scripts", n)
	}
	if strings.Contains(body, "<b ") {
		t.Error("a value came through as an element")
	}
	for n := range parse(t, get(t, p, "/").Body.String()).Descendants() {
		for _, a := range n.Attr {
			if strings.HasPrefix(a.Key, "on") || a.Key == "style" {
				t.Errorf("<%s> has attribute %s", n.Data, a.Key)
			}
		}
	}
}

func TestDocument(t *testing.T) {
	w := get(t, lively(true), "/")
	body := w.Body.String()
	ids := map[string]bool{}
	for n := range parse(t, body).Descendants() {
		for _, a := range n.Attr {
			switch {
			case a.Key == "id" && ids[a.Val]:
				t.Errorf("id %s stands there twice", a.Val)
			case a.Key == "id":
				ids[a.Val] = true
			case a.Key == "href" && !strings.HasPrefix(a.Val, "?") && a.Val != "data:,", a.Key == "src", a.Key == "action" && a.Val != "":
				t.Errorf("<%s> leads away: %s=%q", n.Data, a.Key, a.Val)
			}
		}
		switch {
		case n.Data == "svg" && attr(n, "aria-hidden") == "" && (attr(n, "role") != "img" || attr(n, "aria-label") == ""):
			t.Error("an image has no name for those who do not see it")
		case n.Data == "th" && n.Type == html.ElementNode && attr(n, "scope") == "":
			t.Error("a header says not of what")
		}
	}
	for _, need := range []string{
		`<html lang="en">`, `<meta name="color-scheme" content="light dark">`, "color-scheme: light dark", "@media (prefers-color-scheme: dark)",
		`<noscript><meta http-equiv="refresh"`,
	} {
		if !strings.Contains(body, need) {
			t.Errorf("the page lacks %s", need)
		}
	}
	for _, away := range []string{"@import", "url("} {
		if strings.Contains(body, away) {
			t.Errorf("the page has %s", away)
		}
	}
}

// TestPolicy compares the hashes in the policy with what is between the tags.
func TestPolicy(t *testing.T) {
	w := get(t, lively(false), "/")
	policy := w.Header().Get("Content-Security-Policy")
	found := 0
	for n := range parse(t, w.Body.String()).Descendants() {
		if n.Type == html.ElementNode && (n.Data == "style" || n.Data == "script") {
			found++
			if directive := n.Data + "-src " + hash(n.FirstChild.Data); !strings.Contains(policy, directive) {
				t.Errorf("the policy %q lacks %s", policy, directive)
			}
		}
	}
	if found != 2 || !strings.HasPrefix(policy, "default-src 'none';") || strings.Contains(policy, "unsafe") {
		t.Errorf("%d elements, policy %q", found, policy)
	}
}

func TestRequests(t *testing.T) {
	for _, c := range []struct {
		method, target string
		status         int
	}{
		{"GET", "/", 200}, {"HEAD", "/", 200}, {"GET", "/?page=-3", 200}, {"GET", "/?page=x&q=%ff", 200}, {"GET", "/?page=99999999999999999999", 200},
		{"POST", "/", 405}, {"DELETE", "/", 405}, {"GET", "/favicon.ico", 404}, {"GET", "/metric", 404}, {"POST", "/x", 404},
	} {
		server := httptest.NewServer(lively(false))
		r, err := http.NewRequestWithContext(t.Context(), c.method, server.URL+c.target, nil)
		if err != nil {
			t.Fatal(err)
		}
		reply, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		reply.Body.Close()
		server.Close()
		if reply.StatusCode != c.status {
			t.Errorf("%s %s: status %d, want %d", c.method, c.target, reply.StatusCode, c.status)
		}
		if c.status == 200 && (reply.Header.Get("Content-Type") != "text/html; charset=utf-8" || reply.Header.Get("Cache-Control") != "no-store") {
			t.Errorf("%s %s: header %v", c.method, c.target, reply.Header)
		}
	}
}

// TestThousand: of many keysets the page shows those with problems first, stays small, and leads to all.
func TestThousand(t *testing.T) {
	const many = 1000
	var v View
	for i := range many {
		k := rotating(fmt.Sprintf("tenant-%04d", i), "jwt", 30*day, 10*day)
		if i%300 == 299 {
			k.Problem = "something is wrong"
		}
		v.Keysets = append(v.Keysets, k)
	}
	asked := map[string]int{}
	p := New(Options{
		Source: func() View { return v }, Gather: newMeter(), Now: func() time.Time { return noon },
		Plan: func(keyset string) []v1.PlannedStep { asked[keyset]++; return nil },
	})
	start := time.Now()
	first := get(t, p, "/")
	t.Logf("%d bytes in %v", first.Body.Len(), time.Since(start))
	if n := first.Body.Len(); n > 1<<20 {
		t.Errorf("the page has %d bytes", n)
	}
	if len(asked) != perPage {
		t.Errorf("the plan of %d keysets was made for a page of %d", len(asked), perPage)
	}
	if got := shown(t, first.Body.String())[:4]; !slices.Equal(got, []string{"tenant-0299", "tenant-0599", "tenant-0899", "tenant-0000"}) {
		t.Errorf("first come %v", got)
	}
	all := map[string]bool{}
	for page := 1; page <= many/perPage; page++ {
		for _, name := range shown(t, get(t, p, fmt.Sprintf("/?page=%d", page)).Body.String()) {
			all[name] = true
		}
	}
	if len(all) != many {
		t.Errorf("the pages show %d keysets", len(all))
	}
	if got := shown(t, get(t, p, "/?q=-0042").Body.String()); !slices.Equal(got, []string{"tenant-0042"}) {
		t.Errorf("looking for one found %v", got)
	}
}

func TestWarningsAreBounded(t *testing.T) {
	var v View
	for i := range 200 {
		v.Keysets = append(v.Keysets, Keyset{Keyset: v1.Keyset{Name: fmt.Sprint("k", i), Problem: "no key"}})
	}
	p := New(Options{Source: func() View { return v }, Gather: newMeter()})
	d := p.compose("", 1)
	if len(d.Warned) != maxWarnings || d.More != 180 {
		t.Errorf("%d warnings and %d more", len(d.Warned), d.More)
	}
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		keyset v1.Keyset
		rank   int
	}{
		{v1.Keyset{Ready: true, NextRotation: noon.Add(time.Hour)}, rankFine},
		{v1.Keyset{Ready: true}, rankFine},
		{v1.Keyset{Ready: true, NextRotation: noon.Add(-time.Second)}, rankFine},
		{v1.Keyset{Ready: true, NextRotation: noon.Add(-2 * time.Minute)}, rankTrouble},
		{v1.Keyset{Ready: true, NextRotation: noon.Add(-2 * time.Minute), FrozenUntil: noon.Add(time.Hour)}, rankNotice},
		{v1.Keyset{Ready: true, Problem: "p", FrozenUntil: noon.Add(time.Hour)}, rankTrouble},
		{v1.Keyset{Problem: "p"}, rankFails},
		{v1.Keyset{Mode: "removed", Problem: "p"}, rankNotice},
	} {
		if rank, word := judge(&Keyset{Keyset: c.keyset}, noon); rank != c.rank {
			t.Errorf("%+v: %s, rank %d, want %d", c.keyset, word, rank, c.rank)
		}
	}
}

// shown are the names of the keysets on a page, in its order.
func shown(t *testing.T, body string) (names []string) {
	for n := range parse(t, body).Descendants() {
		if name, ok := strings.CutPrefix(attr(n, "id"), "keyset-"); ok {
			names = append(names, name)
		}
	}
	return names
}
