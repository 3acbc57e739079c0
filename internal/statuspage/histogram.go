package statuspage

import (
	"math"
	"slices"
	"time"

	dto "github.com/prometheus/client_model/go"
)

// histogram is a classic Prometheus histogram of seconds. The zero value has counted nothing.
type histogram struct {
	bounds []float64 // upper, finite, increasing
	// upTo has how many were at most bounds[i]; its last element, one more, how many there were.
	upTo []uint64
}

func histogramOf(h *dto.Histogram) histogram {
	var out histogram
	for _, b := range h.GetBucket() {
		if !math.IsInf(b.GetUpperBound(), 1) {
			out.bounds = append(out.bounds, b.GetUpperBound())
			out.upTo = append(out.upTo, b.GetCumulativeCount())
		}
	}
	out.upTo = append(out.upTo, h.GetSampleCount())
	return out
}

func (h histogram) count() uint64 {
	if len(h.upTo) == 0 {
		return 0
	}
	return h.upTo[len(h.upTo)-1]
}

// since is what was counted after before was taken of the same histogram. One that began again,
// or has other bounds, has counted all that it has since then.
func (h histogram) since(before histogram) histogram {
	if h.count() < before.count() || !slices.Equal(h.bounds, before.bounds) {
		return h
	}
	out := histogram{bounds: h.bounds, upTo: slices.Clone(h.upTo)}
	for i, n := range before.upTo {
		if n > out.upTo[i] {
			return h
		}
		out.upTo[i] -= n
	}
	return out
}

// quantile estimates the value that permille thousandths of all do not exceed, evenly spread within
// its bucket as PromQL's histogram_quantile has it. It is in the same bucket as the exact one: the
// smallest value that is not less than that many. Beyond the last bound it is beyond; of nothing 0.
func (h histogram) quantile(permille uint64) time.Duration {
	n := h.count()
	if n == 0 {
		return 0
	}
	rank := max(1, (n*permille+999)/1000)
	i := slices.IndexFunc(h.upTo, func(upTo uint64) bool { return upTo >= rank })
	if i == len(h.bounds) {
		return beyond
	}
	var lower float64
	var below uint64
	if i > 0 {
		lower, below = h.bounds[i-1], h.upTo[i-1]
	}
	part := float64(rank-below) / float64(h.upTo[i]-below)
	return time.Duration((lower + (h.bounds[i]-lower)*part) * float64(time.Second))
}

// beyond is a quantile of which is known only that it is longer than the last bound.
const beyond = time.Duration(math.MaxInt64)
