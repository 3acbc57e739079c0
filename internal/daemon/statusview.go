package daemon

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	v1 "keysetd.example/api/v1"
	"keysetd.example/internal/statuspage"
	"keysetd.example/internal/version"
	"keysetd.example/rotation"
	"keysetd.example/signing"
)

// statusView tells the status page how things are.
type statusView struct {
	started time.Time
	ready   func() bool
	tokens  func() []v1.Token
	service *signing.Service
	manager *rotation.Manager
}

// page is the status page. The plan is shown where the configuration says so.
func (v statusView) page(m metrics, plan bool) (*statuspage.Page, error) {
	few := prometheus.NewRegistry() // what is sampled each 10 s
	if err := m.signing.Register(few); err != nil {
		return nil, err
	}
	if err := few.Register(m.hsm); err != nil {
		return nil, err
	}
	opts := statuspage.Options{Source: v.view, Gather: few}
	if plan {
		opts.Plan = v.plan
	}
	return statuspage.New(opts), nil
}

func (v statusView) view() statuspage.View {
	view := statuspage.View{
		Version: version.String(), Started: v.started, Ready: v.ready(), Tokens: v.tokens(),
	}
	if !view.Ready {
		view.Why = "not every keyset has a key in use and every token is up; what is missing stands below"
	}
	snapshot := v.manager.Snapshot()
	for _, status := range v.service.Statuses() {
		ks := statuspage.Keyset{Keyset: status}
		for _, w := range status.Warnings {
			view.Warnings = append(view.Warnings, "keyset "+status.Name+": "+w)
		}
		if k := snapshot.Keysets[status.Name]; k != nil {
			for _, g := range k.Document.Generations {
				ks.Phases = append(ks.Phases, phases(k.Document, g)...)
			}
		}
		view.Keysets = append(view.Keysets, ks)
	}
	return view
}

// phases are the times that a generation spent in its states.
func phases(d rotation.Document, g rotation.Generation) (list []statuspage.Phase) {
	add := func(s rotation.State, from, to time.Time) {
		if !from.IsZero() {
			list = append(list, statuspage.Phase{Generation: g.Number, State: string(s), From: from, To: to})
		}
	}
	shown := g.Published
	if shown.IsZero() {
		shown = g.Made
	}
	now := d.Since(g)
	switch {
	case g.State == rotation.Pending:
		add(rotation.Pending, shown, time.Time{})
	case g.State == rotation.Active:
		add(rotation.Pending, shown, g.Activated)
		add(rotation.Active, g.Activated, time.Time{})
	case g.Activated.IsZero(): // it never was active
		add(rotation.Pending, shown, now)
		add(rotation.Retired, now, time.Time{})
	default:
		add(rotation.Pending, shown, g.Activated)
		add(rotation.Active, g.Activated, now)
		add(rotation.Retired, now, time.Time{})
	}
	return list
}

// plan is what will happen to a keyset; nothing where that cannot be told.
func (v statusView) plan(keyset string) (steps []v1.PlannedStep) {
	forecast, err := v.manager.Plan(keyset)
	if err != nil {
		return nil
	}
	for _, f := range forecast {
		steps = append(steps, v1.PlannedStep{At: f.At, Step: string(f.Kind), Generation: f.Generation, Reason: f.Reason})
	}
	return steps
}
