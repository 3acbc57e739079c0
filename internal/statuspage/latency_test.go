package statuspage

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"pgregory.net/rapid"

	"keysetd.example/internal/metric"
)

func TestQuantile(t *testing.T) {
	h := histogram{bounds: []float64{1, 2, 4}, upTo: []uint64{10, 90, 98, 100}}
	for _, c := range []struct {
		of       histogram
		permille uint64
		want     time.Duration
	}{
		{h, 0, time.Second / 10},
		{h, 50, time.Second / 2},
		{h, 100, time.Second},
		{h, 500, 1500 * time.Millisecond},
		{h, 900, 2 * time.Second},
		{h, 980, 4 * time.Second},
		{h, 990, beyond},
		{histogram{}, 500, 0},
		{histogram{bounds: []float64{1}, upTo: []uint64{0, 0}}, 990, 0},
		{histogram{bounds: []float64{1}, upTo: []uint64{1, 1}}, 990, time.Second},
	} {
		if got := c.of.quantile(c.permille); got != c.want {
			t.Errorf("quantile %d of %v: %v, want %v", c.permille, c.of, got, c.want)
		}
	}
}

// TestQuantileIsInItsBucket compares estimates with quantiles of the values themselves.
func TestQuantileIsInItsBucket(t *testing.T) {
	bounds := metric.Buckets()
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.Custom(func(t *rapid.T) float64 {
			return math.Exp(rapid.Float64Range(math.Log(20e-6), math.Log(20)).Draw(t, "log"))
		})
		early := rapid.SliceOfN(value, 0, 30).Draw(t, "early")
		late := rapid.SliceOfN(value, 1, 60).Draw(t, "late")
		permille := rapid.SampledFrom([]uint64{1, 500, 900, 990, 1000}).Draw(t, "permille")

		measured := prometheus.NewHistogram(metric.Seconds("x_seconds", "."))
		read := func() histogram {
			var m dto.Metric
			if err := measured.Write(&m); err != nil {
				t.Fatal(err)
			}
			return histogramOf(m.GetHistogram())
		}
		for _, v := range early {
			measured.Observe(v)
		}
		before := read()
		for _, v := range late {
			measured.Observe(v)
		}
		h := read().since(before)
		if h.count() != uint64(len(late)) {
			t.Fatalf("counted %d of %d", h.count(), len(late))
		}

		slices.Sort(late)
		exact := late[max(0, int(math.Ceil(float64(len(late))*float64(permille)/1000-1e-9))-1)]
		bucket, _ := slices.BinarySearch(bounds, exact) // the first bound that is not less
		got := h.quantile(permille)
		if bucket == len(bounds) {
			if got != beyond {
				t.Fatalf("the quantile is %v s, beyond the last bound, and estimated as %v", exact, got)
			}
			return
		}
		lower := 0.0
		if bucket > 0 {
			lower = bounds[bucket-1]
		}
		if s := got.Seconds(); s < lower-1e-9 || s > bounds[bucket]+1e-9 {
			t.Fatalf("the quantile is %v s and estimated as %v, outside of its bucket %v to %v", exact, got, lower, bounds[bucket])
		}
	})
}

func TestSinceBeganAgain(t *testing.T) {
	old := histogram{bounds: []float64{1}, upTo: []uint64{5, 9}}
	for _, now := range []histogram{
		{bounds: []float64{1}, upTo: []uint64{1, 2}},
		{bounds: []float64{1}, upTo: []uint64{2, 12}},
		{bounds: []float64{2}, upTo: []uint64{9, 12}},
	} {
		if got := now.since(old); got.count() != now.count() {
			t.Errorf("%v since %v is %v", now, old, got)
		}
	}
	if got := old.since(histogram{}); got.count() != 9 {
		t.Errorf("since nothing it counted %d", got.count())
	}
}

// TestSpeeds counts 2 signatures each 10 s, 20 minutes long.
func TestSpeeds(t *testing.T) {
	m := newMeter()
	var l latency
	if l.speeds() != nil {
		t.Error("it knows something before the first sample")
	}
	for i := range 121 {
		m.sign.WithLabelValues("ES256", "ok").Observe(0.0002)
		m.sign.WithLabelValues("ES256", "ok").Observe(0.0002)
		m.sign.WithLabelValues("ES256", "refused").Observe(1)
		m.sign.WithLabelValues("none", "refused").Observe(1)
		if i > 100 {
			m.sign.WithLabelValues("ES256", "error").Observe(1)
		}
		if i < 20 { // longer ago than is remembered
			m.decrypt.WithLabelValues("RSA-OAEP", "ok").Observe(1)
		}
		families, err := m.Gather()
		if err != nil {
			t.Fatal(err)
		}
		l.add(sampleOf(noon.Add(time.Duration(i)*sampleEvery), families))
	}
	if n := len(l.samples); n != int(remembered/sampleEvery)+1 {
		t.Errorf("%d samples are remembered", n)
	}
	speeds := l.speeds()
	if len(speeds) != 1 {
		t.Fatalf("speeds %+v", speeds)
	}
	s := speeds[0]
	if s.operation != "sign" || s.alg != "ES256" || s.over != recent || s.done.count() != 60 || s.failures != 20 || s.perSecond() != 0.2 {
		t.Errorf("%s %s over %v: %d done, %d failed, %v/s", s.operation, s.alg, s.over, s.done.count(), s.failures, s.perSecond())
	}
	if q := s.done.quantile(990); q <= 150*time.Microsecond || q > 250*time.Microsecond {
		t.Errorf("p99 is %v", q)
	}
	if len(s.points) != len(l.samples)-1 || s.points[7].n != 2 {
		t.Errorf("%d points, %+v", len(s.points), s.points[7])
	}
}

func TestClockThatWentBack(t *testing.T) {
	var l latency
	for _, at := range []time.Duration{0, 10, 20, 5} {
		l.add(sample{at: noon.Add(at * time.Second)})
	}
	if len(l.samples) != 2 || !l.samples[1].at.Equal(noon.Add(5*time.Second)) {
		t.Errorf("after the clock went back it remembers %v", l.samples)
	}
}

func TestRunSamples(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeter()
		broken := errors.New("a collector is broken")
		var fails atomic.Bool
		var gathered atomic.Int32
		p := New(Options{Source: func() View { return View{} }, Gather: prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
			gathered.Add(1)
			families, err := m.Gather()
			if fails.Load() {
				err = broken
			}
			return families, err
		})})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { p.Run(ctx); close(ended) }()
		pass := func(d time.Duration) { time.Sleep(d); synctest.Wait() }
		synctest.Wait()
		if gathered.Load() != 1 {
			t.Fatalf("at the start it was sampled %d times", gathered.Load())
		}
		if body := get(t, p, "/").Body.String(); !strings.Contains(body, "nothing to compare yet") {
			t.Error("the page does not say that it has no numbers yet")
		}
		m.sign.WithLabelValues("ES256", "ok").Observe(0.0002)
		pass(sampleEvery + time.Second)
		if gathered.Load() != 2 {
			t.Fatalf("after %v it was sampled %d times", sampleEvery, gathered.Load())
		}
		if body := get(t, p, "/").Body.String(); !strings.Contains(body, "ES256") {
			t.Error("the page does not show what was signed")
		}
		pass(2 * remembered)
		if body := get(t, p, "/").Body.String(); !strings.Contains(body, "Nothing was signed") || strings.Contains(body, "ES256") {
			t.Error("the page still shows what was signed long ago")
		}
		fails.Store(true)
		pass(sampleEvery)
		if body := get(t, p, "/").Body.String(); !strings.Contains(body, broken.Error()) {
			t.Error("the page does not tell why there may be no numbers")
		}
		stop()
		<-ended
		before := gathered.Load()
		pass(time.Minute)
		if gathered.Load() != before {
			t.Error("it samples after its end")
		}
	})
}
