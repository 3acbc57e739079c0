package daemon

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "keysetd.example/api/v1"
	"keysetd.example/internal/config"
	"keysetd.example/rotation"
)

// fakeManager takes changes.
type fakeManager struct {
	effects   []rotation.Effect
	err       error
	previewed int
	changed   []rotation.Change
	snapshot  *rotation.Snapshot
	hold      chan struct{} // nil: at once
}

func (m *fakeManager) Preview(rotation.Change) ([]rotation.Effect, error) {
	m.previewed++
	return m.effects, m.err
}

func (m *fakeManager) Reconfigure(_ context.Context, c rotation.Change, publish func(*rotation.Snapshot) error) ([]rotation.Effect, error) {
	if m.hold != nil {
		<-m.hold
	}
	if m.err != nil {
		return nil, m.err
	}
	if err := publish(m.snapshot); err != nil {
		return nil, err
	}
	m.changed = append(m.changed, c)
	return m.effects, nil
}

// reloadStage is a reloader of which the test says what is in the file.
type reloadStage struct {
	*stage
	*reloader
	manager *fakeManager
	file    string
	broken  error
}

func newReloadStage(t *testing.T) *reloadStage {
	t.Helper()
	s := &reloadStage{stage: newStage(t, signingKeyset+another), manager: &fakeManager{snapshot: snapshot()}, file: signingKeyset + another}
	load := func() (*config.Config, error) {
		if s.broken != nil {
			return nil, s.broken
		}
		return parse(t, s.file), nil
	}
	s.reloader = newReloader(load, s.manager, s.stage.publisher, slog.New(slog.DiscardHandler))
	return s
}

func (s *reloadStage) reload(req v1.ReloadRequest) (*v1.ReloadReply, error) {
	return s.reloader.reload(s.t.Context(), "uid 1001", &req)
}

func lines(changes []v1.KeysetChange) (list []string) {
	for _, c := range changes {
		list = append(list, strings.TrimPrefix(c.Keyset+": "+c.Change, ": "))
	}
	return list
}

// TestReload puts the file in force, and tells what that changes.
func TestReload(t *testing.T) {
	s := newReloadStage(t)
	at := time.Now().Add(time.Hour)
	s.manager.effects = []rotation.Effect{{Keyset: "other", What: "p-384 is added", At: at}}
	s.file = strings.Replace(signingKeyset, "any_issuer: true", "any_issuer: true, default_algorithm: PS256", 1) +
		strings.Replace(another, "p-256", "p-256, p-384", 1)
	want := []string{"ks: default_algorithm is changed from none to PS256", "other: p-384 is added"}

	before := s.config()
	reply, err := s.reload(v1.ReloadRequest{DryRun: true, Remove: []string{"gone"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := lines(reply.Changes); reply.Applied || !slices.Equal(got, want) || !reply.Changes[1].At.Equal(at) {
		t.Errorf("a dry run says %+v, want %q", reply, want)
	}
	if s.config() != before || len(s.manager.changed) != 0 || s.manager.previewed != 1 {
		t.Error("a dry run changed something")
	}

	reply, err = s.reload(v1.ReloadRequest{Remove: []string{"gone"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := lines(reply.Changes); !reply.Applied || !slices.Equal(got, want) {
		t.Errorf("a reload says %+v, want %q", reply, want)
	}
	c := s.manager.changed[0]
	if len(c.Keysets["other"].Specs) != 2 || c.Keysets["ks"].MaxFreeze == 0 || !slices.Equal(c.Remove, []string{"gone"}) || c.Act.By != "uid 1001" {
		t.Errorf("the manager is given %+v", c)
	}
	if s.config().Keysets["ks"].DefaultAlgorithm != "PS256" {
		t.Error("the configuration in force is another one")
	}
	s.manager.effects = nil
	if reply, err = s.reload(v1.ReloadRequest{}); err != nil || len(reply.Changes) != 0 || reply.Changes == nil {
		t.Errorf("the same file again: %+v, %v", reply, err)
	}
}

// TestReloadRefuses: what cannot be taken over leaves everything as it was.
func TestReloadRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(*reloadStage)
		want    string
	}{
		"a file that does not load": {func(s *reloadStage) { s.broken = errors.New("keysetd.yaml:3:4: keysets: wrong") }, "keysetd.yaml:3:4: keysets: wrong"},
		"what is read at a start only": {func(s *reloadStage) {
			s.force.cfg = parse(s.t, signingKeyset+another)
			s.force.cfg.Listen.Public = "192.0.2.1:1"
			s.force.cfg.Store.Path = "/elsewhere"
		}, "store, listen: changed in the file, and read at a start only; restart keysetd"},
		"what rotation refuses": {func(s *reloadStage) {
			s.manager.err = &rotation.Refusal{Kind: rotation.RefusedBadRequest, Detail: "keyset other is gone; name it with --remove"}
		}, "keyset other is gone; name it with --remove"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newReloadStage(t)
			c.prepare(s)
			before := s.config()
			for _, dry := range []bool{true, false} {
				_, err := s.reload(v1.ReloadRequest{DryRun: dry})
				if e, ok := errors.AsType[*v1.Error](err); !ok || e.Reason != v1.BadConfiguration || !strings.Contains(e.Detail, c.want) {
					t.Errorf("dry run %t: got %v, want bad_configuration with %q", dry, err, c.want)
				}
			}
			if s.config() != before || len(s.manager.changed) != 0 {
				t.Error("something was changed")
			}
		})
	}
	t.Run("a fault", func(t *testing.T) {
		s := newReloadStage(t)
		s.manager.err = errors.New("the disk is full")
		_, err := s.reload(v1.ReloadRequest{})
		if _, told := errors.AsType[*v1.Error](err); told || !errors.Is(err, s.manager.err) {
			t.Errorf("a fault is told as %v", err)
		}
	})
}

// TestReloadOneAtATime: a second reload waits for the first, as long as its caller does.
func TestReloadOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newReloadStage(t)
		s.manager.hold = make(chan struct{})
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { _, err := s.reload(v1.ReloadRequest{}); first <- err }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := s.reloader.reload(ctx, "uid 1", &v1.ReloadRequest{DryRun: true})
		if !errors.Is(err, context.DeadlineExceeded) || s.manager.previewed != 0 {
			t.Errorf("a reload beside another: %v", err)
		}
		go func() { _, err := s.reload(v1.ReloadRequest{DryRun: true}); second <- err }()
		close(s.manager.hold)
		if err := errors.Join(<-first, <-second); err != nil {
			t.Error(err)
		}
	})
}

// TestReloadTellsWhatStaysOut: a keyset that the store has and the file does not have does not sign. Whoever
// looks at what a reload does is told so.
func TestReloadTellsWhatStaysOut(t *testing.T) {
	s := newReloadStage(t)
	s.stage.publisher.last = snapshot(
		&rotation.Keyset{Name: "lost"}, &rotation.Keyset{Name: "other"}, // whose keys are for another purpose
		&rotation.Keyset{Name: "removed", Document: rotation.Document{Removed: time.Now()}})
	const want = "lost: is not in the file: it stays published and does not sign; put it back, or --remove lost"
	s.manager.snapshot = s.stage.publisher.last
	for _, dry := range []bool{true, false} {
		if reply, err := s.reload(v1.ReloadRequest{DryRun: dry}); err != nil || !slices.Equal(lines(reply.Changes), []string{want}) {
			t.Errorf("dry run %t: %+v, %v", dry, reply, err)
		}
		if reply, err := s.reload(v1.ReloadRequest{DryRun: dry, Remove: []string{"lost"}}); err != nil || len(reply.Changes) != 0 {
			t.Errorf("it is removed, dry run %t: %+v, %v", dry, reply, err)
		}
	}
}

// TestChanges lists what is no business of rotation's.
func TestChanges(t *testing.T) {
	uid, other := uint32(1), uint32(2)
	before := &config.Config{
		PublicURL: "https://a.example",
		Keysets:   map[string]config.Keyset{"ks": {Purpose: config.JWT, Issuer: "i", Publish: config.Publish{X5T: true}}, "gone": {Issuer: "x"}},
		Callers:   map[string]config.Caller{"same": {UID: &uid}, "changed": {UID: &uid}, "removed": {UID: &uid}},
	}
	same := uid
	now := &config.Config{
		Keysets: map[string]config.Keyset{"ks": {Purpose: config.Any, AnyIssuer: true, Certificate: config.Certificate{Issuer: config.SelfSigned}}, "new": {Issuer: "y"}},
		Callers: map[string]config.Caller{"same": {UID: &same}, "changed": {UID: &other}, "added": {UID: &uid}},
	}
	want := []string{
		"ks: purpose is changed from jwt to any",
		"ks: issuer is changed from i to none",
		"ks: any_issuer is changed from false to true",
		"ks: publish.x5t is changed from true to false",
		"ks: certificate is changed: for keys that are made from now on",
		`public_url is changed from "https://a.example" to ""`,
		"callers: added is added",
		"callers: changed is changed",
		"callers: removed is removed",
	}
	if got := lines(changes(before, now, nil)); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got := changes(before, before, nil); len(got) != 0 {
		t.Errorf("nothing is changed, and it says %v", got)
	}
}
