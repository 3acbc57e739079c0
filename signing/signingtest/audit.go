package signingtest

import (
	"context"
	"slices"
	"sync"

	"keysetd.example/internal/audit"
)

// Audit is a signing.Auditor in memory.
type Audit struct {
	mu      sync.Mutex
	records []audit.Record
	err     error
}

// Append keeps r, unless Fail said otherwise.
func (a *Audit) Append(_ context.Context, r audit.Record) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil {
		return a.err
	}
	a.records = append(a.records, r)
	return nil
}

// Fail makes Append return err until it is called with nil.
func (a *Audit) Fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.err = err
}

// Records returns what was appended so far.
func (a *Audit) Records() []audit.Record {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.records)
}

// Last returns the newest record.
func (a *Audit) Last() audit.Record {
	all := a.Records()
	if len(all) == 0 {
		return audit.Record{}
	}
	return all[len(all)-1]
}
