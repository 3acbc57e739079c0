package statuspage

import (
	"fmt"
	"strings"
	"time"
)

// Measures of a sparkline, in its own units.
const (
	sparkWidth  = 220
	sparkHeight = 34
)

// spark is a drawing of latencies over the time that is remembered.
type spark struct {
	Title         string
	Width, Height int
	// P50 and P99 are SVG path data; a stretch in which nothing was done is a gap.
	P50, P99 string
	// Top is what the upper edge stands for.
	Top string
}

// drawSpark draws the points that lead to now.
func drawSpark(points []point, now time.Time) spark {
	var top time.Duration
	for _, p := range points {
		if p.n > 0 {
			top = max(top, capped(p.p99))
		}
	}
	s := spark{Width: sparkWidth, Height: sparkHeight, Top: latencyWord(top)}
	if top == 0 {
		s.Title, s.Top = "nothing was done", ""
		return s
	}
	s.Title = fmt.Sprintf("median and 99th percentile over the last %s, at most %s", span(remembered), s.Top)
	s.P50 = path(points, now, top, func(p point) time.Duration { return p.p50 })
	s.P99 = path(points, now, top, func(p point) time.Duration { return p.p99 })
	return s
}

// capped is a quantile as it can be drawn.
func capped(d time.Duration) time.Duration { return min(d, 10*time.Second) }

func path(points []point, now time.Time, top time.Duration, of func(point) time.Duration) string {
	const edge = 2 // for the width of the line
	var d strings.Builder
	pen := false
	for _, p := range points {
		if p.n == 0 {
			pen = false
			continue
		}
		x := tenth(sparkWidth * (1 - now.Sub(p.at).Seconds()/remembered.Seconds()))
		y := tenth(edge + (sparkHeight-2*edge)*(1-float64(capped(of(p)))/float64(top)))
		if x < 0 {
			continue
		}
		if pen {
			fmt.Fprintf(&d, "L%v %v", x, y)
		} else { // round caps show a point that stands alone
			fmt.Fprintf(&d, "M%v %vh.1", x, y)
		}
		pen = true
	}
	return d.String()
}
