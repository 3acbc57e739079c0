package statuspage

import (
	"io"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// parse reads a page, and fails where a tag is not closed or closes another one: a browser would
// mend that without a word.
func parse(t *testing.T, body string) *html.Node {
	t.Helper()
	void := []string{"meta", "link", "input"}
	var open []string
	for z := html.NewTokenizer(strings.NewReader(body)); ; {
		switch z.Next() {
		case html.ErrorToken:
			if z.Err() != io.EOF || len(open) > 0 {
				t.Fatalf("the page ends with %v open: %v", open, z.Err())
			}
			n, err := html.Parse(strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			return n
		case html.StartTagToken:
			if name, _ := z.TagName(); !slices.Contains(void, string(name)) {
				open = append(open, string(name))
			}
		case html.EndTagToken:
			name, _ := z.TagName()
			if len(open) == 0 || open[len(open)-1] != string(name) {
				t.Fatalf("</%s> with %v open", name, open)
			}
			open = open[:len(open)-1]
		}
	}
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

// text is what a page says, one line for each row, heading or paragraph; images by their names.
func text(page *html.Node) string {
	var out strings.Builder
	var visit func(*html.Node)
	visit = func(n *html.Node) {
		switch {
		case n.Type == html.TextNode:
			out.WriteString(n.Data)
		case n.Data == "style", n.Data == "script", n.Data == "noscript":
			return
		case n.Data == "svg":
			if label := attr(n, "aria-label"); label != "" {
				out.WriteString(" [" + label + "] ")
			}
			return
		}
		for c := range n.ChildNodes() {
			visit(c)
		}
		switch n.Data {
		case "div", "span":
			out.WriteString(" ")
		case "td", "th", "dt":
			out.WriteString(" | ")
		case "tr", "title", "h1", "h2", "h3", "p", "li", "dd", "summary":
			out.WriteString("\x00")
		}
	}
	visit(page)
	var lines []string
	for line := range strings.SplitSeq(out.String(), "\x00") {
		if line = strings.Trim(strings.Join(strings.Fields(line), " "), " |"); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n") + "\n"
}
