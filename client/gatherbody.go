package client

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	v1 "keysetd.example/api/v1"
)

// batchBody writes the body of a batch. Each request's own body stands in it as it is.
func batchBody(requests []*request) []byte {
	size := len(`{"items":[]}`)
	for _, r := range requests {
		size += r.sizeInBatch()
	}
	body := append(make([]byte, 0, size), `{"items":[`...)
	for i, r := range requests {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(append(append(body, `{"`...), r.op.member...), `":`...)
		body = append(append(body, r.body...), '}')
	}
	return append(body, `]}`...)
}

// sizeInBatch is how much longer a batch is for the request, at most, in bytes.
func (r *request) sizeInBatch() int { return len(`{"":},`) + len(r.op.member) + len(r.body) }

// ownResult is what a caller gets who does not know of the batch.
func ownResult(i int, op operation, result v1.BatchResult) (v1.BatchResult, error) {
	if e := result.Error; e != nil {
		own := *e
		own.Field = ownField(own.Field, "/items/"+strconv.Itoa(i), op)
		return v1.BatchResult{}, &own
	}
	var there bool
	switch op {
	case operationJWT:
		there = result.JWT != nil
	case operationSign:
		there = result.Sign != nil
	case operationAssertion:
		there = result.ClientAssertion != nil
	}
	if !there {
		return v1.BatchResult{}, fmt.Errorf("reading keysetd's reply: item %d of the batch has no result for %s", i+1, op.member)
	}
	return result, nil
}

// ownField is a pointer into a batch as one into the request that is its item.
func ownField(field, item string, op operation) string {
	for _, prefix := range []string{item + "/" + op.member, item} {
		if rest, below := strings.CutPrefix(field, prefix); below && (rest == "" || rest[0] == '/') {
			return rest
		}
	}
	return field
}

// againstBatch are the reasons by which a batch can be refused of which each request alone might
// be granted, or be told better why not: one of them can spoil the body for all.
var againstBatch = []v1.Reason{v1.BadRequest, v1.BadClaims, v1.BadHeader, v1.TooLarge, v1.NotGranted, v1.KeysetUnknown, v1.NotFound, v1.MethodNotAllowed}

func refusedAsBatch(err error) bool {
	e, ok := errors.AsType[*v1.Error](err)
	return ok && slices.Contains(againstBatch, e.Reason)
}
