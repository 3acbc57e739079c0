package statuspage

import (
	"fmt"
	"strconv"
	"time"
)

// span is a length of time in its two largest units, as in "3 d 4 h". A negative one is as long.
func span(d time.Duration) string {
	d = d.Abs()
	units := []struct {
		of   time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}}
	for i, u := range units {
		if d < u.of {
			continue
		}
		out := fmt.Sprintf("%d %s", d/u.of, u.name)
		if i+1 < len(units) {
			if rest := d % u.of / units[i+1].of; rest > 0 {
				out += fmt.Sprintf(" %d %s", rest, units[i+1].name)
			}
		}
		return out
	}
	return "0 s"
}

// ahead says how far away an instant is: "in 3 d 4 h", or "2 min ago".
func ahead(at, now time.Time) string {
	if at.Before(now) {
		return span(now.Sub(at)) + " ago"
	}
	return "in " + span(at.Sub(now))
}

// stamp is an instant for people, in UTC to the minute.
func stamp(at time.Time) string { return at.UTC().Format("2006-01-02 15:04") }

// moment is an instant for people, in UTC to the second.
func moment(at time.Time) string { return at.UTC().Format(time.DateTime) }

// exact is an instant for machines (the datetime attribute).
func exact(at time.Time) string { return at.UTC().Format(time.RFC3339) }

// shortKID is enough of a kid to tell it from others by eye.
func shortKID(kid string) string {
	const enough = 10
	if r := []rune(kid); len(r) > enough+2 {
		return string(r[:enough]) + "…"
	}
	return kid
}

// latencyWord is a duration to two digits, as in "1.4 ms".
func latencyWord(d time.Duration) string {
	switch {
	case d == beyond:
		return "> 10 s"
	case d < time.Millisecond:
		return digits(float64(d)/float64(time.Microsecond)) + " µs"
	case d < time.Second:
		return digits(float64(d)/float64(time.Millisecond)) + " ms"
	}
	return digits(d.Seconds()) + " s"
}

// rateWord is a rate, as in "3.2/s"; a slow one is by the minute.
func rateWord(perSecond float64) string {
	switch {
	case perSecond == 0:
		return "–"
	case perSecond < 1:
		return digits(perSecond*60) + "/min"
	}
	return digits(perSecond) + "/s"
}

// digits writes a number with one decimal below 10, and none from there on.
func digits(f float64) string {
	if f < 9.95 {
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	return strconv.FormatFloat(f, 'f', 0, 64)
}

// plural is "1 key", "2 keys".
func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
