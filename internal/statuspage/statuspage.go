// Package statuspage is the page for people on the metrics listener: one HTML document
// that tells how tokens and keysets are and how fast is signed. It changes nothing, needs
// nothing from elsewhere, and can be read without its script.
package statuspage

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	v1 "keysetd.example/api/v1"
)

// Options of a Page.
type Options struct {
	// Source tells how things are. It is called for each request, from many goroutines, and
	// must not wait. Required.
	Source func() View
	// Gather has the histograms keysetd_sign_duration_seconds and keysetd_decrypt_duration_seconds
	// and the gauge keysetd_queue_length; one without them has nothing to show of that. It is called
	// each 10 s, so it had better hold little else. Required.
	Gather prometheus.Gatherer
	// Plan tells what will happen to a keyset, soonest first. It is called for those keysets only
	// that a request shows. Nil: the page tells no more of the time to come than the next rotation.
	Plan func(keyset string) []v1.PlannedStep
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// Page is the status page. It is an http.Handler, and safe for concurrent use.
type Page struct {
	opts Options

	mu      sync.Mutex
	latency latency
	// trouble is why the latest sample is not whole.
	trouble error
}

// New returns a page. Its latencies need Run.
func New(opts Options) *Page {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Page{opts: opts}
}

// Run samples the latencies until ctx ends.
func (p *Page) Run(ctx context.Context) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		p.sample()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// sample takes one sample. A gatherer that fails may have some families all the same.
func (p *Page) sample() {
	families, err := p.opts.Gather.Gather()
	s := sampleOf(p.opts.Now(), families)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latency.add(s)
	p.trouble = err
}
