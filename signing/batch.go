package signing

import (
	"context"
	"fmt"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"

	v1 "keysetd.example/api/v1"
	"keysetd.example/signing/policy"
)

// OpBatch is the operation of a batch as such, for Admit, Refuse, the audit log and metrics. It
// is granted to whoever is granted what an item of a batch can be, and by no name of its own.
const OpBatch policy.Operation = "batch"

const (
	// MaxBatch is how many items a batch has at most.
	MaxBatch = 256
	// batchWidth is how many of them are under way at once: more than a token has sessions, and
	// few enough that a batch does not fill its queue.
	batchWidth = 16
)

// batchable are the operations of the items.
var batchable = []policy.Operation{policy.JWT, policy.Sign, policy.ClientAssertion}

// Batch does each item as if it had come alone: with its own state, its own line in the audit
// log, its own place in the rates and in the token's queue. One that fails says so in its place.
func (s *Service) Batch(ctx context.Context, caller policy.Caller, keyset string, req *v1.BatchRequest) (*v1.BatchReply, error) {
	if err := s.admitBatch(ctx, caller, keyset, len(req.Items)); err != nil {
		return nil, err
	}
	reply := &v1.BatchReply{Items: make([]v1.BatchResult, len(req.Items))}
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(batchWidth, len(req.Items)) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(req.Items); i = int(next.Add(1)) - 1 {
				reply.Items[i] = s.item(ctx, caller, keyset, i, req.Items[i])
			}
		})
	}
	workers.Wait()
	return reply, nil
}

// admitBatch refuses a batch of which no item could be done, or of too many.
func (s *Service) admitBatch(ctx context.Context, caller policy.Caller, keyset string, items int) (err error) {
	a := s.begin(caller, OpBatch, keyset)
	defer s.finish(ctx, a, &err)
	err = a.authorise("")
	if err == nil && (items < 1 || items > MaxBatch) {
		err = refuse(v1.BadRequest, "/items", "the batch has %d items; it must have 1 to %d", items, MaxBatch)
	}
	if err != nil {
		return s.end(ctx, a, err)
	}
	return nil
}

func (a *act) decideBatch() error {
	for _, op := range batchable {
		if a.term.state.policy.DecideAny(a.caller, op, a.keyset).Granted {
			return nil
		}
	}
	return refuse(v1.NotGranted, "", "uid %d is granted none of the operations %s, %s and %s on keyset %s; add one under callers:",
		a.caller.UID, batchable[0], batchable[1], batchable[2], quote(a.keyset))
}

// item does one item. Its failure is its own, also a panic that finish cannot end because the audit
// log panics: in a goroutine it would be the daemon's end.
func (s *Service) item(ctx context.Context, caller policy.Caller, keyset string, i int, item v1.BatchItem) (result v1.BatchResult) {
	op, member := operationOf(item)
	defer func() {
		if p := recover(); p != nil {
			s.Logger.Error("panic in an item of a batch", "operation", op, "panic", p, "stack", string(debug.Stack()))
			result = v1.BatchResult{Error: internal(fmt.Errorf("panic: %v", p))}
		}
	}()
	var err error
	switch op {
	case policy.JWT:
		result.JWT, err = s.SignJWT(ctx, caller, keyset, item.JWT)
	case policy.Sign:
		result.Sign, err = s.Sign(ctx, caller, keyset, item.Sign)
	case policy.ClientAssertion:
		result.ClientAssertion, err = s.SignClientAssertion(ctx, caller, keyset, item.ClientAssertion)
	default:
		err = s.Refuse(ctx, caller, op, keyset, refuse(v1.BadRequest, "", "the item must have exactly one of jwt, sign and client_assertion"))
	}
	if err == nil {
		return result
	}
	e := *asError(err)
	if e.Field != "" || member == "" { // as seen from the whole batch
		e.Field = "/items/" + strconv.Itoa(i) + member + e.Field
	}
	return v1.BatchResult{Error: &e}
}

// operationOf returns the operation that an item asks for, and the pointer to it within the item;
// OpBatch where it asks for none, or for several.
func operationOf(item v1.BatchItem) (op policy.Operation, member string) {
	op = OpBatch
	set := 0
	if item.JWT != nil {
		op, member, set = policy.JWT, "/jwt", set+1
	}
	if item.Sign != nil {
		op, member, set = policy.Sign, "/sign", set+1
	}
	if item.ClientAssertion != nil {
		op, member, set = policy.ClientAssertion, "/client_assertion", set+1
	}
	if set != 1 {
		return OpBatch, ""
	}
	return op, member
}
