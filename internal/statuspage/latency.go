package statuspage

import (
	"cmp"
	"maps"
	"slices"
	"time"

	dto "github.com/prometheus/client_model/go"
)

const (
	// sampleEvery is how often the histograms are looked at.
	sampleEvery = 10 * time.Second
	// remembered is how far back the samples go.
	remembered = 15 * time.Minute
	// recent is what rates and quantiles are over.
	recent = 5 * time.Minute
)

// series tells one histogram from another.
type series struct {
	operation string // "sign" or "decrypt"
	alg       string
	outcome   string // "ok", "refused" or "error"
}

// sample is what was counted from the daemon's start until an instant.
type sample struct {
	at     time.Time
	counts map[series]histogram
	// queue is how many calls wait, by token.
	queue map[string]int
}

// durations are the families that a sample holds, and the operations that they are of.
var durations = map[string]string{
	"keysetd_sign_duration_seconds":    "sign",
	"keysetd_decrypt_duration_seconds": "decrypt",
}

// sampleOf picks from the families what a sample holds. Histograms in which nothing was counted are left out.
func sampleOf(at time.Time, families []*dto.MetricFamily) sample {
	s := sample{at: at, counts: map[series]histogram{}, queue: map[string]int{}}
	for _, f := range families {
		operation := durations[f.GetName()]
		for _, m := range f.GetMetric() {
			switch h := m.GetHistogram(); {
			case f.GetName() == "keysetd_queue_length":
				s.queue[labelOf(m, "token")] = int(m.GetGauge().GetValue())
			case operation != "" && h.GetSampleCount() > 0:
				s.counts[series{operation, labelOf(m, "alg"), labelOf(m, "outcome")}] = histogramOf(h)
			}
		}
	}
	return s
}

func labelOf(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// latency remembers the samples of the last minutes, oldest first. The zero value remembers none yet.
type latency struct {
	samples []sample
}

// add remembers s, the newest, and forgets what is too old. Time that went backwards leaves nothing
// that could be compared with s.
func (l *latency) add(s sample) {
	oldest := s.at.Add(-remembered)
	l.samples = slices.DeleteFunc(slices.Clone(l.samples), func(old sample) bool {
		return old.at.Before(oldest) || !old.at.Before(s.at)
	})
	l.samples = append(l.samples, s)
}

// point is a stretch of time between two samples.
type point struct {
	at       time.Time // its end
	p50, p99 time.Duration
	n        uint64 // 0: nothing was done, and the quantiles say nothing
}

// speed is how fast one operation with one algorithm went.
type speed struct {
	operation, alg string
	// over is how long the counts go back: recent, or less after the start.
	over     time.Duration
	done     histogram // outcome ok
	failures uint64    // outcome error
	points   []point   // as far back as is remembered
}

// perSecond is the rate of what was done.
func (s speed) perSecond() float64 {
	if s.over <= 0 {
		return 0
	}
	return float64(s.done.count()) / s.over.Seconds()
}

// speeds tells how fast each was that had anything to do in the time that is remembered, by
// operation (sign first) and algorithm.
func (l *latency) speeds() (list []speed) {
	if len(l.samples) < 2 {
		return nil
	}
	first, last := l.samples[0], l.samples[len(l.samples)-1]
	base := first
	for _, s := range l.samples {
		if base = s; last.at.Sub(s.at) <= recent {
			break
		}
	}
	found := map[series]bool{}
	for s, h := range last.counts {
		if s.outcome != "refused" && h.since(first.counts[s]).count() > 0 {
			found[series{operation: s.operation, alg: s.alg}] = true
		}
	}
	for s := range maps.Keys(found) {
		ok, failed := s, s
		ok.outcome, failed.outcome = "ok", "error"
		one := speed{operation: s.operation, alg: s.alg, over: last.at.Sub(base.at)}
		one.done = last.counts[ok].since(base.counts[ok])
		one.failures = last.counts[failed].since(base.counts[failed]).count()
		for i, b := range l.samples[1:] {
			h := b.counts[ok].since(l.samples[i].counts[ok])
			one.points = append(one.points, point{b.at, h.quantile(500), h.quantile(990), h.count()})
		}
		list = append(list, one)
	}
	slices.SortFunc(list, func(a, b speed) int {
		return cmp.Or(-cmp.Compare(a.operation, b.operation), cmp.Compare(a.alg, b.alg))
	})
	return list
}

// queue is how many calls waited for each token at the latest sample.
func (l *latency) queue() map[string]int {
	if len(l.samples) == 0 {
		return nil
	}
	return l.samples[len(l.samples)-1].queue
}
