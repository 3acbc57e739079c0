package daemon

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "keysetd.example/api/v1"
	"keysetd.example/internal/statuspage"
	"keysetd.example/jwks"
	"keysetd.example/rotation"
	"keysetd.example/rotation/store"
)

func TestPhases(t *testing.T) {
	at := func(h int) time.Time { return time.Date(2026, 3, 1, h, 0, 0, 0, time.UTC) }
	never := time.Time{}
	for name, c := range map[string]struct {
		g    rotation.Generation
		want []statuspage.Phase
	}{
		"pending": {
			rotation.Generation{Number: 3, State: rotation.Pending, Made: at(1), Published: at(2)},
			[]statuspage.Phase{{Generation: 3, State: "pending", From: at(2)}},
		},
		"not published yet": {
			rotation.Generation{Number: 3, State: rotation.Pending, Made: at(1)},
			[]statuspage.Phase{{Generation: 3, State: "pending", From: at(1)}},
		},
		"active": {
			rotation.Generation{Number: 2, State: rotation.Active, Made: at(1), Published: at(2), Activated: at(3)},
			[]statuspage.Phase{{Generation: 2, State: "pending", From: at(2), To: at(3)}, {Generation: 2, State: "active", From: at(3)}},
		},
		"retired": {
			rotation.Generation{Number: 1, State: rotation.Retired, Made: at(1), Published: at(2), Activated: at(3), Retired: at(4)},
			[]statuspage.Phase{{Generation: 1, State: "pending", From: at(2), To: at(3)}, {Generation: 1, State: "active", From: at(3), To: at(4)}, {Generation: 1, State: "retired", From: at(4)}},
		},
		"retired and never active": {
			rotation.Generation{Number: 1, State: rotation.Retired, Made: at(1), Published: at(2), Retired: at(4)},
			[]statuspage.Phase{{Generation: 1, State: "pending", From: at(2), To: at(4)}, {Generation: 1, State: "retired", From: at(4)}},
		},
		"of before there were dates": {
			rotation.Generation{Number: 1, State: rotation.Pending, Made: never}, nil,
		},
	} {
		if got := phases(rotation.Document{}, c.g); !slices.Equal(got, c.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got, c.want)
		}
	}
}

// TestStatusView holds the page against what the parts of the daemon say.
func TestStatusView(t *testing.T) {
	s := newStage(t, signingKeyset)
	ready := true
	token := v1.Token{Name: "default", Up: true, Label: "keys", Serial: "0a0b"}
	m, err := rotation.NewManager(rotation.ManagerConfig{
		Store: store.NewMemory(strings.Repeat("0", 32)), Installation: strings.Repeat("0", 32), KeyID: jwks.KeyID, Aliases: jwks.Aliases, Logger: s.log,
		Publish: func(*rotation.Snapshot) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	v := statusView{time.Now().Add(-time.Hour), func() bool { return ready }, func() []v1.Token { return []v1.Token{token} }, s.service, m}
	ms := newMetrics()
	show := func(plan bool) string {
		page, err := v.page(ms, plan)
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		page.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		return w.Body.String()
	}
	for _, c := range []struct {
		plan bool
		says []string
		not  []string
	}{
		{false, []string{"✔ ready", "✔ up", "0a0b", "up 1 h"}, []string{"paler: planned", "✖ not ready</p>"}},
		{true, []string{"paler: planned"}, nil},
	} {
		body := show(c.plan)
		for _, want := range c.says {
			if !strings.Contains(body, want) {
				t.Errorf("plan %v: it does not say %q", c.plan, want)
			}
		}
		for _, bad := range c.not {
			if strings.Contains(body, bad) {
				t.Errorf("plan %v: it says %q", c.plan, bad)
			}
		}
	}
	ready, token.Up, token.Problem = false, false, "no such module"
	body := show(false)
	for _, want := range []string{"✖ not ready</p>", "what is missing stands below", "✖ down", "no such module", "Tokens up</dt><dd>0 of 1"} {
		if !strings.Contains(body, want) {
			t.Errorf("it does not say %q", want)
		}
	}
	if steps := v.plan("nobody"); steps != nil {
		t.Errorf("the plan of a keyset that there is not: %v", steps)
	}
}
