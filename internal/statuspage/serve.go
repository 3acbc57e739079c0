package statuspage

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

//go:embed page.html
var pageHTML string

//go:embed keyset.html
var keysetHTML string

//go:embed timeline.html
var timelineHTML string

//go:embed style.css
var style string

//go:embed script.js
var script string

// policy allows the page its own style and script, by their hashes (Content Security Policy
// Level 3, §2.3.1), questions to where it came from, and nothing else.
var policy = strings.Join([]string{
	"default-src 'none'", "style-src " + hash(style), "script-src " + hash(script), "connect-src 'self'", "img-src data:",
	"form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'",
}, "; ")

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"style":  func() template.CSS { return template.CSS(style) },
	"script": func() template.JS { return template.JS(script) },
	"span":   func(from, to time.Time) string { return span(to.Sub(from)) },
	"ahead":  ahead, "stamp": stamp, "moment": moment, "exact": exact, "short": shortKID, "plural": plural,
	"add": func(a, b int) int { return a + b },
	"ref": func(page int, query string) string {
		return "?" + url.Values{"page": {strconv.Itoa(page)}, "q": {query}}.Encode()
	},
}).Parse(pageHTML + keysetHTML + timelineHTML))

// maxQuery is how long a part of a name may be that is looked for.
const maxQuery = 100

// ServeHTTP answers GET and HEAD of "/". There ?q= shows the keysets only whose names have this in
// them, and ?page= those further down.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "this page can only be read", http.StatusMethodNotAllowed)
		return
	}
	query := r.URL.Query()
	number, _ := strconv.Atoi(query.Get("page")) // whatever else stands there is the first page
	part := query.Get("q")
	var body bytes.Buffer
	if err := page.Execute(&body, p.compose(strings.ToValidUTF8(part[:min(len(part), maxQuery)], ""), number)); err != nil {
		http.Error(w, fmt.Sprintf("the status page cannot be made: %v", err), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(body.Len()))
	h.Set("Content-Security-Policy", policy)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	w.Write(body.Bytes()) // to HEAD net/http sends none of it
}
