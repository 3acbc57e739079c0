package statuspage

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	v1 "keysetd.example/api/v1"
)

// Measures of a timeline, in its own units.
const (
	timelineWidth = 560
	gutter        = 34 // for the numbers of the generations
	laneHeight    = 16
	headHeight    = 14 // for "now"
	footHeight    = 16 // for the dates
	// maxLanes is how many generations are drawn, the newest.
	maxLanes = 8
	// shortest is the least time that is drawn.
	shortest = 10 * time.Minute
)

// timeline is a drawing of a keyset's generations, one lane each, oldest on top.
type timeline struct {
	// Title says in words what is drawn.
	Title string
	// Width and Height of it all; Left, Right, Top and Floor are the lanes' edges.
	Width, Height, Left, Right, Top, Floor float64
	Lanes                                  []lane
	Ticks                                  []tick
	Now                                    float64
	// Frost is how far from Now on the keyset is frozen.
	Frost float64
	// Marks are where keys were revoked.
	Marks []tick
}

// Depth is how high all lanes are together.
func (t *timeline) Depth() float64 { return t.Floor - t.Top }

// Ahead is how much is drawn after Now.
func (t *timeline) Ahead() float64 { return tenth(t.Right - t.Now) }

// TickEnd is where the ticks below the lanes end.
func (t *timeline) TickEnd() float64 { return t.Floor + 3 }

// lane is one generation.
type lane struct {
	Number int
	Y      float64 // of its middle
	Lost   bool    // a key of it is
	Bars   []bar
}

// bar is a phase. How it looks is its class's: shape and colour.
type bar struct {
	Class      string
	X, Y, W, H float64
	Title      string
}

type tick struct {
	X     float64
	Label string
}

// heights of bars by state: shapes tell them apart where colours do not.
var heights = map[string]float64{"pending": 8, "active": 11, "retired": 4}

// drawTimeline draws k at now, with the steps to come, if any are told. It is nil where nothing is known.
func drawTimeline(k *Keyset, steps []v1.PlannedStep, now time.Time) *timeline {
	past := k.phases(now)
	if len(past) == 0 {
		return nil
	}
	from := slices.MinFunc(past, func(a, b Phase) int { return a.From.Compare(b.From) }).From
	from = from.Add(-max(now.Sub(from)/40, shortest/40))
	coming, to := foresee(past, steps, from, now)
	if shown := to.Sub(from); shown < shortest {
		from = from.Add(shown - shortest)
	}

	all := slices.Concat(past, coming)
	numbers := numbersOf(all)
	if len(numbers) > maxLanes {
		numbers = numbers[len(numbers)-maxLanes:]
	}
	t := &timeline{Width: timelineWidth, Left: gutter, Right: timelineWidth - 1, Top: headHeight}
	t.Floor = headHeight + laneHeight*float64(len(numbers))
	t.Height = t.Floor + footHeight
	x := func(at time.Time) float64 {
		part := at.Sub(from).Seconds() / to.Sub(from).Seconds()
		return tenth(t.Left + (t.Right-t.Left)*min(max(part, 0), 1))
	}
	t.Now = x(now)
	if k.FrozenUntil.After(now) {
		t.Frost = tenth(x(k.FrozenUntil) - t.Now)
	}
	for i, n := range numbers {
		l := lane{Number: n, Y: headHeight + laneHeight*(float64(i)+0.5), Lost: k.lost(n)}
		for j, p := range all {
			if p.Generation != n {
				continue
			}
			b := bar{Class: p.State, X: x(p.From), H: heights[p.State], Title: phaseWords(p, j >= len(past), now)}
			if j >= len(past) {
				b.Class += " planned"
			}
			b.Y, b.W = l.Y-b.H/2, max(tenth(x(p.To)-b.X), 1)
			l.Bars = append(l.Bars, b)
		}
		t.Lanes = append(t.Lanes, l)
	}
	for _, r := range k.Revoked {
		if r.At.After(from) && !r.At.After(now) {
			t.Marks = append(t.Marks, tick{x(r.At), fmt.Sprintf("key %s was revoked %s", shortKID(r.KID), stamp(r.At))})
		}
	}
	t.Ticks = ticks(from, to, x)
	if len(coming) == 0 {
		to = now // the rest is margin
	}
	t.Title = titleOf(k, len(coming) > 0, from, to)
	return t
}

func numbersOf(phases []Phase) (numbers []int) {
	for _, p := range phases {
		numbers = append(numbers, p.Generation)
	}
	slices.Sort(numbers)
	return slices.Compact(numbers)
}

// lost reports whether a generation has a lost key.
func (k *Keyset) lost(number int) bool {
	return slices.ContainsFunc(k.Generations, func(g v1.Generation) bool {
		return g.Number == number && slices.ContainsFunc(g.Keys, func(key v1.Key) bool { return !key.Lost.IsZero() })
	})
}

func phaseWords(p Phase, planned bool, now time.Time) string {
	switch {
	case planned && p.From.Equal(now):
		return fmt.Sprintf("generation %d is to stay %s up to %s", p.Generation, p.State, stamp(p.To))
	case planned:
		return fmt.Sprintf("generation %d is to be %s from %s to %s", p.Generation, p.State, stamp(p.From), stamp(p.To))
	case p.To.Before(now):
		return fmt.Sprintf("generation %d was %s from %s to %s", p.Generation, p.State, stamp(p.From), stamp(p.To))
	}
	return fmt.Sprintf("generation %d is %s since %s", p.Generation, p.State, stamp(p.From))
}

func titleOf(k *Keyset, planned bool, from, to time.Time) string {
	var words []string
	for _, g := range k.Generations {
		words = append(words, fmt.Sprintf("generation %d %s since %s", g.Number, g.State, stamp(g.Since)))
	}
	what := "Timeline"
	if planned {
		what = "Timeline and plan"
	}
	return fmt.Sprintf("%s of keyset %s, %s to %s UTC: %s", what, k.Name, stamp(from), stamp(to), strings.Join(words, "; "))
}

// ticks are some round instants between from and to, with room for their names.
func ticks(from, to time.Time, x func(time.Time) float64) (list []tick) {
	const room = 18
	next, layout := calendar(to.Sub(from))
	for at := next(from.UTC()); at.Before(to); at = next(at) {
		if place := x(at); place >= gutter+room && place <= timelineWidth-room {
			list = append(list, tick{place, at.Format(layout)})
		}
	}
	return list
}

// calendar returns what leads from an instant to the next round one, such that shown has no more than
// maxTicks, and how those are written.
func calendar(shown time.Duration) (next func(time.Time) time.Time, layout string) {
	const maxTicks, day = 6, 24 * time.Hour
	for _, step := range []time.Duration{
		2 * time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
		day, 2 * day, 7 * day, 14 * day,
	} {
		if shown > maxTicks*step {
			continue
		}
		if layout = "15:04"; step >= day {
			layout = "2 Jan"
		}
		return func(at time.Time) time.Time { return at.Truncate(step).Add(step) }, layout
	}
	months := 1
	for ; shown > maxTicks*time.Duration(months)*28*day; months++ {
	}
	return func(at time.Time) time.Time {
		return time.Date(at.Year(), at.Month()+time.Month(months), 1, 0, 0, 0, 0, time.UTC)
	}, "Jan 2006"
}

// tenth rounds to what the eye can tell.
func tenth(f float64) float64 { return math.Round(f*10) / 10 }
