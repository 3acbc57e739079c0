package client

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	v1 "keysetd.example/api/v1"
)

// What the daemon takes in one batch.
const (
	maxItems     = 256
	maxBatchBody = 1 << 20 // bytes
)

// operation is what a request asks for: its path below the keyset, and the name of its member in a batch.
type operation struct{ path, member string }

var (
	operationJWT       = operation{"jwt", "jwt"}
	operationSign      = operation{"sign", "sign"}
	operationAssertion = operation{"client-assertion", "client_assertion"}
)

// request is one call on its way.
type request struct {
	ctx  context.Context // its caller's
	op   operation
	body []byte

	done   chan struct{} // closed once result and err are there
	result v1.BatchResult
	err    error
}

func (r *request) finish(result v1.BatchResult, err error) {
	r.result, r.err = result, err
	close(r.done)
}

// sender does what a gatherer decided. together returns as many results as it was given requests.
type sender interface {
	alone(ctx context.Context, keyset string, r *request) (v1.BatchResult, error)
	together(ctx context.Context, keyset string, requests []*request) ([]v1.BatchResult, error)
	// waited is the error of a call whose context ended while it waited.
	waited(ctx context.Context) error
}

// gatherer sends calls alone while few are under way, and otherwise together.
//
// What must hold: while requests wait in a lane, width are under way in it. So whatever waits is
// taken when the next one of them returns; and as those who came first are taken first, nobody
// waits for more than the batches before him.
type gatherer struct {
	width int // 0: nothing is gathered
	send  sender

	mu    sync.Mutex
	lanes map[string]*lane // by keyset; only those with something under way
}

type lane struct {
	underway int
	waiting  []*request
}

func newGatherer(width int, s sender) *gatherer {
	return &gatherer{width: width, send: s, lanes: map[string]*lane{}}
}

// do has the request done and returns its own result, or its own error.
func (g *gatherer) do(ctx context.Context, keyset string, op operation, body []byte) (v1.BatchResult, error) {
	r := &request{ctx: ctx, op: op, body: body}
	if g.width == 0 {
		return g.send.alone(ctx, keyset, r)
	}
	if g.enter(keyset, r) {
		defer g.release(keyset)
		return g.send.alone(ctx, keyset, r)
	}
	select {
	case <-r.done:
		return r.result, r.err
	case <-ctx.Done():
		g.leave(keyset, r)
		return v1.BatchResult{}, g.send.waited(ctx)
	}
}

// enter reports whether the request goes at once; otherwise it waits in the lane.
func (g *gatherer) enter(keyset string, r *request) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := g.lanes[keyset]
	if l == nil {
		l = new(lane)
		g.lanes[keyset] = l
	}
	if l.underway < g.width {
		l.underway++
		return true
	}
	r.done = make(chan struct{})
	l.waiting = append(l.waiting, r)
	return false
}

// leave takes a request out that still waits. One that is under way is nobody's any more.
func (g *gatherer) leave(keyset string, r *request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if l := g.lanes[keyset]; l != nil {
		l.waiting = slices.DeleteFunc(l.waiting, func(other *request) bool { return other == r })
	}
}

// release gives the place of a request that returned to those who wait.
func (g *gatherer) release(keyset string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := g.lanes[keyset]
	if next := l.take(); len(next) > 0 {
		go g.dispatch(keyset, next)
		return
	}
	if l.underway--; l.underway == 0 {
		delete(g.lanes, keyset)
	}
}

// take removes those who go next: as many as fit into a batch, or one that is too large for any.
func (l *lane) take() []*request {
	n, size := 0, len(batchBody(nil))
	for n < min(len(l.waiting), maxItems) {
		if size += l.waiting[n].sizeInBatch(); size > maxBatchBody && n > 0 {
			break
		}
		n++
	}
	next := slices.Clone(l.waiting[:n])
	l.waiting = slices.Delete(l.waiting, 0, n)
	return next
}

func (g *gatherer) dispatch(keyset string, requests []*request) {
	defer g.release(keyset)
	if len(requests) == 1 {
		r := requests[0]
		r.finish(g.send.alone(r.ctx, keyset, r))
		return
	}
	ctx, cancel := whileAnyStays(requests)
	defer cancel()
	results, err := g.send.together(ctx, keyset, requests)
	for i, r := range requests {
		switch {
		case refusedAsBatch(err):
			r.finish(g.send.alone(r.ctx, keyset, r))
		case err != nil:
			r.finish(v1.BatchResult{}, err)
		default:
			r.finish(ownResult(i, r.op, results[i]))
		}
	}
}

// whileAnyStays returns a context that ends when all of the requests' have.
func whileAnyStays(requests []*request) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	var gone atomic.Int64
	stops := make([]func() bool, len(requests))
	for i, r := range requests {
		stops[i] = context.AfterFunc(r.ctx, func() {
			if gone.Add(1) == int64(len(requests)) {
				cancel()
			}
		})
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel()
	}
}
