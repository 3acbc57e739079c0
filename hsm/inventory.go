package hsm

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"keysetd.example/hsm/wire"
)

// inventory is the list of a token's keys as one epoch knows it.
type inventory struct {
	mu      sync.Mutex
	version int // counts what may have changed the token
	known   bool
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
		i.objects, i.known = objects, true
	}
}

func (i *inventory) changed() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.version++
	i.known, i.objects = false, nil
}

// list asks the worker for all keys, for the inventory.
func (e *epoch) list(ctx context.Context) ([]Object, error) {
	_, version, _ := e.inventory.get()
	objects, err := call(ctx, e, wire.OpList, e.token.metrics.other[wire.OpList], func(wire.Timing) {},
		func(ctx context.Context) ([]Object, wire.Timing, error) {
			return e.client.List(ctx, wire.ListRequest{})
		})
	if err != nil {
		return nil, fmt.Errorf("list the keys: %w", err)
	}
	e.inventory.put(objects, version)
	return objects, nil
}

// Objects returns the keys on the token whose label begins with prefix, as a session proven
// logged in found them: one that is missing is missing (invariant 5). The list is made once in
// an epoch and after each change of ours. The objects are shared: they must not be written to.
func (t *Token) Objects(ctx context.Context, prefix string) ([]Object, error) {
	for again := false; ; again = true {
		e, err := t.await(ctx)
		if err != nil {
			return nil, err
		}
		objects, _, known := e.inventory.get()
		if !known {
			objects, err = e.list(ctx)
		}
		if err == nil {
			return slices.DeleteFunc(slices.Clone(objects), func(o Object) bool {
				return !strings.HasPrefix(o.Label, prefix)
			}), nil
		}
		if again || ctx.Err() != nil || judge(wire.OpList, err) != endsEpoch {
			return nil, t.wrap(sentinel(wire.OpList, err))
		}
	}
}
