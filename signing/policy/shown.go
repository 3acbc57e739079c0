package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Bounds of what a reason repeats of a request and of a rule.
const (
	maxShown     = 5  // values
	maxShownText = 64 // bytes of each
)

// shown lists values for a reason, so that they can neither break nor swell a line of the log.
func shown(values []string) string {
	var list []string
	for i, v := range values {
		if i == maxShown {
			list = append(list, fmt.Sprintf("and %d more", len(values)-i))
			break
		}
		list = append(list, shownValue(v))
	}
	return strings.Join(list, ", ")
}

// shownValue is a value as it is, where that is plain text, and else quoted and clipped.
func shownValue(s string) string {
	plain := func(r rune) bool { return r > ' ' && r <= '~' && r != '"' && r != ',' && r != ';' }
	if s != "" && len(s) <= maxShownText && !slices.ContainsFunc([]rune(s), func(r rune) bool { return !plain(r) }) {
		return s
	}
	if len(s) > maxShownText {
		return strconv.QuoteToASCII(strings.ToValidUTF8(s[:maxShownText], "")) + "…"
	}
	return strconv.QuoteToASCII(s)
}
