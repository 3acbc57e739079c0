package hsm

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"keysetd.example/hsm/wire"
)

// inventory is the list of a token's keys as one epoch knows it.
type inventory struct {
	mu      sync.Mutex
	version int // counts what may have changed the token
	known   bool
	listed  time.Time // when the worker answered
	objects []Object
}

func (i *inventory) get() (objects []Object, version int, known bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.objects, i.version, i.known
}

// put takes a list that was asked for at version, unless something changed since.
func (i *inventory) put(objects []Object, version int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.version == version {
		i.objects, i.known, i.listed = objects, true, time.Now()
	}
}

func (i *inventory) changed() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.forget()
}

func (i *inventory) forget() {
	i.version++
	i.known = false // what it was stays, for latest
}

// latest is the inventory as it was when the keys were listed last. That a key is in it says something,
// that one is not says nothing.
func (i *inventory) latest() []Object {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.objects
}

// inventoryAge is how old an inventory is at least that is made anew because somebody missed a
// key in it, or found something else wrong. Those who ask for such a key are many and listing is slow.
const inventoryAge = 10 * time.Second

// expire forgets an inventory of that age, and tells whether it did.
func (i *inventory) expire() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.known || time.Since(i.listed) < inventoryAge {
		return false
	}
	i.forget()
	return true
}

// takeTurn waits until no other key of the epoch is being made, listed or destroyed. The
// worker does these one at a time, and waiting for a long one must not count as hanging.
func (e *epoch) takeTurn(ctx context.Context) error {
	select {
	case e.turn <- struct{}{}:
		return nil
	case <-e.ctx.Done():
		return &epochEnded{context.Cause(e.ctx)}
	case <-ctx.Done():
		return e.token.unavailable(ctx)
	}
}

// objects returns the inventory, and makes it where there is none. The worker lists once at a
// time, and to the end, also when whoever asked has given up: those behind wait for that list.
func (e *epoch) objects(ctx context.Context) ([]Object, error) {
	if objects, _, known := e.inventory.get(); known {
		return objects, nil
	}
	if err := e.takeTurn(ctx); err != nil {
		return nil, err
	}
	objects, version, known := e.inventory.get()
	if known {
		<-e.turn
		return objects, nil
	}
	objects, err := call(ctx, e, wire.OpList, e.token.metrics.other[wire.OpList],
		func(wire.Timing) { <-e.turn },
		func(ctx context.Context) ([]Object, wire.Timing, error) {
			objects, timing, err := e.client.List(ctx, wire.ListRequest{})
			if err == nil {
				e.inventory.put(objects, version)
			}
			return objects, timing, err
		})
	if err != nil {
		return nil, fmt.Errorf("list the keys: %w", err)
	}
	return objects, nil
}

// Objects returns the keys on the token whose label begins with prefix, as a session proven
// logged in found them: one that is missing is missing (invariant 5). The list is made once in
// an epoch, after each change of ours, and after Refresh. The objects are shared: they must not be written to.
func (t *Token) Objects(ctx context.Context, prefix string) ([]Object, error) {
	for attempt := 1; ; attempt++ {
		e, err := t.await(ctx)
		if err != nil {
			return nil, err
		}
		objects, err := e.objects(ctx)
		if err == nil {
			return slices.DeleteFunc(slices.Clone(objects), func(o Object) bool {
				return !strings.HasPrefix(o.Label, prefix)
			}), nil
		}
		if !again(ctx, attempt, wire.OpList, err) {
			return nil, t.wrap(sentinel(wire.OpList, err))
		}
	}
}

// Refresh has the next Objects list the keys anew, so that it shows what others did to the token: a key
// that came back from a backup, one that an administrator brought. A list younger than 10 s
// stays, as listing is slow, and a token that is down lists anew when it comes up.
func (t *Token) Refresh() {
	if e := t.state.Load().epoch; e != nil {
		e.inventory.expire()
	}
}

// attempts is in how many epochs a thing is asked for that may be repeated, with the first: enough that a worker
// which dies now and then is a delay and no error, and few enough that a request which
// itself makes the worker die does not do so without end.
const attempts = 3

// again tells whether to ask for something again that failed: if its epoch ended under it, not if the
// token answered that it will not do this, and only while somebody waits.
func again(ctx context.Context, attempt int, op wire.Op, err error) bool {
	return attempt < attempts && ctx.Err() == nil && judge(op, err) == endsEpoch
}
