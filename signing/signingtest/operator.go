package signingtest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	v1 "keysetd.example/api/v1"
	"keysetd.example/rotation"
)

// Operator is a signing.Operator, and a signing.Config.Reload, that remembers what it was asked
// for. Set its fields before it is used.
type Operator struct {
	// Err is what every act returns.
	Err error
	// Hook is called in every act; it may wait, or swap the Service's state.
	Hook func(context.Context)
	// What the acts return that return something.
	Revoked  rotation.Revoked
	Steps    []rotation.Forecast
	Events   []rotation.Event
	Reloaded v1.ReloadReply
	Requests []v1.CertificateRequest

	mu    sync.Mutex
	calls []string
}

// Calls returns what was asked for, as in "rotate default {By:uid 1001 Why: KID:}".
func (o *Operator) Calls() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.calls)
}

func (o *Operator) called(ctx context.Context, format string, args ...any) error {
	o.mu.Lock()
	o.calls = append(o.calls, fmt.Sprintf(format, args...))
	o.mu.Unlock()
	if o.Hook != nil {
		o.Hook(ctx)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return o.Err
}

// Rotate is part of signing.Operator.
func (o *Operator) Rotate(ctx context.Context, keyset string, act rotation.Act) error {
	return o.called(ctx, "rotate %s %+v", keyset, act)
}

// CSR is part of signing.Operator.
func (o *Operator) CSR(ctx context.Context, keyset string) ([]v1.CertificateRequest, error) {
	return o.Requests, o.called(ctx, "csr %s", keyset)
}

// ImportCertificate is part of signing.Operator.
func (o *Operator) ImportCertificate(ctx context.Context, keyset, chain string, act rotation.Act) error {
	return o.called(ctx, "certificate %s %q %+v", keyset, chain, act)
}

// Revoke is part of signing.Operator.
func (o *Operator) Revoke(ctx context.Context, keyset string, act rotation.RevokeAct) (rotation.Revoked, error) {
	return o.Revoked, o.called(ctx, "revoke %s %+v", keyset, act)
}

// Freeze is part of signing.Operator.
func (o *Operator) Freeze(ctx context.Context, keyset string, act rotation.Act, until time.Time) error {
	return o.called(ctx, "freeze %s %+v %s", keyset, act, until.UTC().Format(time.RFC3339))
}

// Thaw is part of signing.Operator.
func (o *Operator) Thaw(ctx context.Context, keyset string, act rotation.Act) error {
	return o.called(ctx, "thaw %s %+v", keyset, act)
}

// AcceptClock is part of signing.Operator.
func (o *Operator) AcceptClock(ctx context.Context, act rotation.Act) error {
	return o.called(ctx, "clock accept %+v", act)
}

// Plan is part of signing.Operator.
func (o *Operator) Plan(keyset string) ([]rotation.Forecast, error) {
	return o.Steps, o.called(context.Background(), "plan %s", keyset)
}

// History is part of signing.Operator.
func (o *Operator) History(ctx context.Context, keyset string, limit int) ([]rotation.Event, error) {
	return o.Events, o.called(ctx, "history %s %d", keyset, limit)
}

// Reload is a signing.Config.Reload.
func (o *Operator) Reload(ctx context.Context, by string, req *v1.ReloadRequest) (*v1.ReloadReply, error) {
	return &o.Reloaded, o.called(ctx, "reload %s %+v", by, *req)
}
