package statuspage

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "keysetd.example/api/v1"
)

const (
	// perPage is how many keysets a page shows.
	perPage = 100
	// maxWarnings is how many warnings a page spells out.
	maxWarnings = 20
	// maxSteps is how many steps to come are told of a keyset.
	maxSteps = 8
	// overdue is how late a rotation has to be for a warning.
	overdue = time.Minute
)

// document is what the template shows.
type document struct {
	View
	At       time.Time
	Query    string
	Page     int // from 1
	Pages    int
	Total    int // keysets there are
	Meant    int // keysets that are to be ready: those that were not removed
	Found    int // keysets that match Query
	Able     int // keysets that are ready
	Up       int // tokens that are
	Rate     string
	Waiting  int
	Warned   []warning
	More     int // warnings that are not spelled out
	Planned  bool
	Tokens   []tokenRow
	Speeds   []speedRow
	Sampling string // for how long; empty: not yet
	Keysets  []keysetRow
}

// warning is one line at the top. Grave ones come first.
type warning struct {
	Grave bool
	Kind  string // "token" or "keyset"; empty: it is about neither
	Name  string // of that
	Text  string // what follows, or all of it
}

type tokenRow struct {
	v1.Token
	Queue int
}

type speedRow struct {
	Operation, Algorithm string
	Rate, P50, P99       string
	Failures             uint64
	Spark                spark
}

type keysetRow struct {
	Keyset
	At       time.Time // of the page
	Rank     int
	Word     string // how it is
	Timeline *timeline
	Plan     []v1.PlannedStep
	// Signers are the keys of the active generation.
	Signers []v1.Key
	Count   int // keys of all generations
}

// Tone is the colour of Word, and Sign what says the same without it.
func (k keysetRow) Tone() string { return [...]string{"bad", "note", "note", "good"}[k.Rank] }

// Sign stands before Word.
func (k keysetRow) Sign() string { return [...]string{"✖", "⚠", "•", "✔"}[k.Rank] }

// Ranks of keysets, the worst first.
const (
	rankFails   = iota // it does not sign
	rankTrouble        // it signs, and something is wrong
	rankNotice         // a person did something to it
	rankFine
)

// compose makes the document of a view, for one request.
func (p *Page) compose(query string, number int) document {
	v, now := p.opts.Source(), p.opts.Now()
	d := document{View: v, At: now, Query: query, Total: len(v.Keysets), Planned: p.opts.Plan != nil}
	for _, w := range v.Warnings {
		d.Warned = append(d.Warned, warning{Grave: true, Text: w})
	}

	p.mu.Lock()
	speeds, queue, samples, trouble := p.latency.speeds(), p.latency.queue(), p.latency.samples, p.trouble
	p.mu.Unlock()
	d.speeds(speeds, now)
	if len(samples) > 1 {
		d.Sampling = span(min(now.Sub(samples[0].at), recent))
	}
	if trouble != nil {
		d.Warned = append(d.Warned, warning{Text: fmt.Sprintf("the metrics could not all be read, so latencies may be missing: %v", trouble)})
	}
	for _, t := range v.Tokens {
		d.Tokens = append(d.Tokens, tokenRow{t, queue[t.Name]})
		d.Waiting += queue[t.Name]
		if t.Up {
			d.Up++
		} else {
			d.Warned = append(d.Warned, warning{true, "token", t.Name, " is down" + because(t.Problem)})
		}
	}

	var rows []keysetRow
	for _, k := range v.Keysets {
		row := keysetRow{Keyset: k, At: now}
		row.Rank, row.Word = judge(&k, now)
		if k.Ready {
			d.Able++
		}
		if !k.removed() {
			d.Meant++
		}
		rows = append(rows, row)
	}
	slices.SortStableFunc(rows, func(a, b keysetRow) int {
		return cmp.Or(cmp.Compare(a.Rank, b.Rank), strings.Compare(a.Name, b.Name))
	})
	for i := range rows {
		d.warn(&rows[i])
	}
	slices.SortStableFunc(d.Warned, func(a, b warning) int { return graver(a) - graver(b) })
	if n := len(d.Warned); n > maxWarnings {
		d.Warned, d.More = d.Warned[:maxWarnings], n-maxWarnings
	}

	rows = slices.DeleteFunc(rows, func(r keysetRow) bool { return !strings.Contains(r.Name, query) })
	d.Found = len(rows)
	d.Pages = max(1, (d.Found+perPage-1)/perPage)
	d.Page = min(max(number, 1), d.Pages)
	start := (d.Page - 1) * perPage
	d.Keysets = rows[start:min(start+perPage, len(rows))]
	for i := range d.Keysets {
		p.complete(&d.Keysets[i], now)
	}
	return d
}

func graver(w warning) int {
	if w.Grave {
		return 0
	}
	return 1
}

func because(problem string) string {
	if problem == "" {
		return ""
	}
	return ": " + problem
}

// speeds takes over how fast each was.
func (d *document) speeds(list []speed, now time.Time) {
	var rate float64
	for _, s := range list {
		rate += s.perSecond()
		row := speedRow{
			Operation: s.operation, Algorithm: s.alg, Rate: rateWord(s.perSecond()),
			P50: "–", P99: "–", Failures: s.failures, Spark: drawSpark(s.points, now),
		}
		if s.alg == "none" {
			row.Algorithm = "unknown"
		}
		if s.done.count() > 0 {
			row.P50, row.P99 = latencyWord(s.done.quantile(500)), latencyWord(s.done.quantile(990))
		}
		d.Speeds = append(d.Speeds, row)
	}
	d.Rate = rateWord(rate)
}

// judge says how a keyset is.
func judge(k *Keyset, now time.Time) (rank int, word string) {
	late := !k.NextRotation.IsZero() && now.Sub(k.NextRotation) > overdue
	switch {
	case k.removed():
		return rankNotice, "removed"
	case !k.Ready:
		return rankFails, "not ready"
	case k.Problem != "":
		return rankTrouble, "problem"
	case late && !k.FrozenUntil.After(now):
		return rankTrouble, "overdue"
	case k.FrozenUntil.After(now):
		return rankNotice, "frozen"
	}
	return rankFine, "ready"
}

// warn adds what a keyset has to warn of.
func (d *document) warn(k *keysetRow) {
	w := warning{Kind: "keyset", Name: k.Name}
	switch k.Rank {
	case rankFails:
		w.Grave, w.Text = true, " is not ready"+because(k.Problem)
	case rankTrouble:
		w.Text = because(cmp.Or(k.Problem, "its rotation was due "+ahead(k.NextRotation, d.At)))
	default:
		return
	}
	d.Warned = append(d.Warned, w)
}

// complete adds what is needed of a keyset that is shown.
func (p *Page) complete(k *keysetRow, now time.Time) {
	var steps []v1.PlannedStep
	if p.opts.Plan != nil {
		steps = p.opts.Plan(k.Name)
	}
	k.Plan = steps[:min(len(steps), maxSteps)]
	k.Timeline = drawTimeline(&k.Keyset, steps, now)
	for _, g := range k.Generations {
		k.Count += len(g.Keys)
		if g.State == "active" {
			k.Signers = g.Keys
		}
	}
}
