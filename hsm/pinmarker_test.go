package hsm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestPINMarkerKeepsWhatItIsTold(t *testing.T) {
	for _, path := range []string{"", filepath.Join(t.TempDir(), "pin-marker")} {
		m := &PINMarker{Path: path}
		expect := func(state pinState, source string) {
			t.Helper()
			other := m
			if path != "" {
				other = &PINMarker{Path: path} // a later process
			}
			f, err := other.facts()
			if err != nil || f.state != state || f.provenSource != source {
				t.Fatalf("facts = %+v, %v; want state %q and source %q", f, err, state, source)
			}
		}
		expect(pinNone, "")
		for _, s := range []pinState{pinTrying, pinRefused, pinAllowed} {
			if err := m.set("t", "1", s); err != nil {
				t.Fatal(err)
			}
			expect(s, "")
		}
		if err := m.accepted("1", "source"); err != nil {
			t.Fatal(err)
		}
		expect(pinNone, "source")
		if err := m.remove(); err != nil {
			t.Fatalf("remove what is not there: %v", err)
		}
	}
}

func TestPINMarkerIsNotForOthers(t *testing.T) {
	m := &PINMarker{Path: filepath.Join(t.TempDir(), "pin-marker")}
	if err := m.set("t", "1", pinTrying); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(m.Path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
}

// A marker that cannot be read must not pass for one that is absent.
func TestPINMarkerThatCannotBeRead(t *testing.T) {
	for _, content := range []string{"", "{", "no"} {
		m := &PINMarker{Path: filepath.Join(t.TempDir(), "pin-marker")}
		if err := os.WriteFile(m.Path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if f, err := m.facts(); err == nil {
			t.Errorf("marker %q reads as %+v", content, f)
		}
	}
}

func TestPINMarkerLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pin-marker")
	unlock, err := (&PINMarker{Path: path}).lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := (&PINMarker{Path: path}).lock(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a second lock: %v, want the deadline", err)
	}
	unlock()
	again, err := (&PINMarker{Path: path}).lock(t.Context())
	if err != nil {
		t.Fatalf("after unlock: %v", err)
	}
	again()
}
