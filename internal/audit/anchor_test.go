package audit

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestRestartsOfWhatWasNotTouched(t *testing.T) {
	h := newHouse(t)
	h.run("a", "b")
	h.run("c")
	h.run()
	if r := h.verify(); r.Fault != nil || len(r.Unvouched) > 0 || len(h.events()) > 0 {
		t.Errorf("%+v %v", r, h.events())
	}
	if fi, err := os.Stat(h.anchor); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi, err)
	}
	// logrotate moved it, and the daemon was restarted before SIGHUP came.
	old := h.path + ".1"
	if err := os.Rename(h.path, old); err != nil {
		t.Fatal(err)
	}
	h.run("d")
	if r := h.verify(old); r.Fault != nil || r.First != 1 || !slices.Equal(h.events(), []string{eventMissing}) {
		t.Errorf("%+v %v", r, h.events())
	}
	// The anchor is the last line of the file before.
	l := h.open()
	mustAppend(t, l, "e")
	if err := os.Rename(h.path, old+".1"); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	kept, err := os.ReadFile(h.anchor)
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, "f")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.anchor, kept, 0o600); err != nil { // as after a crash
		t.Fatal(err)
	}
	h.run("g")
	if r := h.verify(old, old+".1"); r.Fault != nil || r.First != 1 || !slices.Equal(h.events(), []string{eventUnvouched}) {
		t.Errorf("%+v %v", r, h.events())
	}
}

// TestAnchorIsWrittenWithinASecond: what a crash leaves unproven is a second.
func TestAnchorIsWrittenWithinASecond(t *testing.T) {
	for _, mode := range []Sync{SyncSecond, SyncAlways} {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			l, err := Open(h.path, Options{Sync: mode, Anchor: h.anchor, Logger: slog.New(slog.NewTextHandler(&h.told, nil))})
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				mustAppend(t, l, "a")
				time.Sleep(time.Second + time.Millisecond)
				synctest.Wait()
				if head, err := readAnchor(h.anchor); err != nil || head != headOf(h.lines()[len(h.lines())-1]) {
					t.Errorf("%s: %v, %v", mode, head, err)
				}
			}
			// Where it cannot be written, signing goes on, and it is tried again.
			if err := os.Mkdir(h.anchor+".new", 0o700); err != nil {
				t.Fatal(err)
			}
			mustAppend(t, l, "b")
			time.Sleep(5 * time.Second)
			mustAppend(t, l, "c")
			if err := os.Remove(h.anchor + ".new"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(1100 * time.Millisecond)
			synctest.Wait()
			if head, err := readAnchor(h.anchor); err != nil || head.Seq != 5 || h.count("cannot be noted") != 1 {
				t.Errorf("%v, %v, %s", head, err, h.told.lines)
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestChangedWhileNobodyWatched: whoever can write in the log's folder alone changes the file
// between two runs, and the key signs what came behind.
func TestChangedWhileNobodyWatched(t *testing.T) {
	evil := newKey()
	for name, change := range map[string]func(h *house, lines []string) []string{
		"a line is removed, all is chained anew, and a key is brought in": func(h *house, lines []string) []string {
			var bodies []string
			for _, line := range lines {
				if !strings.Contains(line, "EVIL") && !strings.Contains(line, `"checkpoint"`) && !strings.Contains(line, `"audit_key"`) {
					bodies = append(bodies, bodyOf(line))
				}
			}
			return linked(nil, append(bodies, introduction(h.t, evil))...)
		},
		"the end is cut": func(_ *house, lines []string) []string { return lines[:2] },
		"lines become junk": func(_ *house, lines []string) []string {
			return []string{lines[0], strings.Repeat("x", len(strings.Join(lines[1:], "")))}
		},
		"all is junk": func(*house, []string) []string { return []string{"junk\njunk\n"} },
		"the last line is another": func(_ *house, lines []string) []string {
			return linked(lines[:len(lines)-1], bodyOf(lines[1]))
		},
	} {
		h := newHouse(t)
		h.run("a", "EVIL", "c")
		h.write(change(h, h.lines())...)
		h.run("d")
		r := h.verify()
		if r.Fault == nil || r.Fault.Kind != BrokenOff || h.events()[0] != eventTailDiffers || h.count("not as keysetd left it") != 1 {
			t.Errorf("%s: %+v\n%s", name, r, h.lines())
		}
		// The key that was brought in is not vouched for.
		lines := h.lines()
		forged := linked(lines, bodyOf(lines[len(lines)-2]))
		h.write(sealedBy(evil, forged)...)
		if r := h.verify(); r.Fault == nil || r.Fault.Kind != UnknownKey {
			t.Errorf("%s: %v", name, r.Fault)
		}
	}
}

// TestWhatCameBehindTheAnchorIsNotProven: a crash leaves such lines, or an attacker does.
func TestWhatCameBehindTheAnchorIsNotProven(t *testing.T) {
	evil := newKey()
	h := newHouse(t)
	h.run("a")
	n := uint64(len(h.lines()))
	h.write(linked(h.lines(), bodyOf(h.lines()[1]), introduction(t, evil))...)
	h.run("b")
	r := h.verify()
	if r.Fault != nil || !slices.Equal(r.Unvouched, []Span{{n + 1, n + 2}}) || !slices.Equal(h.events(), []string{eventUnvouched}) || !strings.Contains(strings.Join(r.Unproven, " "), "nothing tells whether it wrote them") {
		t.Errorf("%+v %v", r, h.events())
	}
	h.write(sealedBy(evil, h.lines())...)
	if r := h.verify(); r.Fault == nil || r.Fault.Kind != UnknownKey {
		t.Errorf("%+v", r)
	}
}

// TestCheckpointProvesWhatTheAnchorDoesNot: it was signed by whoever wrote the lines.
func TestCheckpointProvesWhatTheAnchorDoesNot(t *testing.T) {
	h := newHouse(t)
	h.run("a")
	old, err := os.ReadFile(h.anchor)
	if err != nil {
		t.Fatal(err)
	}
	h.run("b", "c")
	n := uint64(len(h.lines()))
	if err := os.WriteFile(h.anchor, old, 0o600); err != nil {
		t.Fatal(err)
	}
	h.run("d")
	if r := h.verify(); r.Fault != nil || !slices.Equal(r.Unvouched, []Span{{n, n}}) { // the checkpoint itself
		t.Errorf("%+v", r)
	}
	// Its line is lost, and the journal has it.
	h = newHouse(t)
	h.run("a")
	if old, err = os.ReadFile(h.anchor); err != nil {
		t.Fatal(err)
	}
	h.run("b", "c")
	lines := h.lines()
	h.write(lines[:len(lines)-1]...)
	if err := os.WriteFile(h.anchor, old, 0o600); err != nil {
		t.Fatal(err)
	}
	h.run("d")
	if r := h.verify(); r.Fault != nil || len(r.Unvouched) != 1 {
		t.Errorf("%+v", r)
	}
	if r := whole(t, VerifyOptions{Heads: h.sealed()}, h.path); len(r.Unvouched) != 0 || r.Head != r.Covered {
		t.Errorf("%+v", r)
	}
}

func TestFirstStartAfterAnUpgrade(t *testing.T) {
	h := newHouse(t)
	h.run("a", "b")
	n := uint64(len(h.lines()))
	if err := os.Remove(h.anchor); err != nil {
		t.Fatal(err)
	}
	h.run("c")
	if r := h.verify(); r.Fault != nil || !slices.Equal(r.Unvouched, []Span{{n, n}}) || !slices.Equal(h.events(), []string{eventUnanchored}) {
		t.Errorf("%+v %v", r, h.events())
	}
	// What is no line of a chain is that of an older keysetd only where there was no chain.
	h = newHouse(t)
	h.write("{\"jti\":\"old\"}\n", "{\"jti\":\"older\"}\n")
	h.run("a")
	if r := h.verify(); r.Fault != nil || !slices.Equal(h.events(), []string{eventOlder}) {
		t.Errorf("%+v %v", r, h.events())
	}
	h.write(append(h.lines(), "junk\n", "junk\n")...)
	h.run("b")
	if r := h.verify(); r.Fault == nil || r.Fault.Kind != Foreign || !slices.Equal(h.events(), []string{eventOlder, eventForeign}) {
		t.Errorf("%+v %v", r, h.events())
	}
}

// TestTornLineBehindTheAnchorIsNoFault: a crash cut it short.
func TestTornLineBehindTheAnchorIsNoFault(t *testing.T) {
	h := newHouse(t)
	h.run("a")
	h.write(append(h.lines(), `{"seq":4,"prev":"`)...)
	h.run("b")
	if r := h.verify(); r.Fault != nil || len(r.Torn) != 1 || len(h.events()) > 0 {
		t.Errorf("%+v %v", r, h.events())
	}
}

// TestEventComesBeforeTheNextCheckpoint: also where it cannot be written at the start.
func TestEventComesBeforeTheNextCheckpoint(t *testing.T) {
	h := newHouse(t)
	h.run("a")
	lines := h.lines()
	d := &disk{data: []byte(strings.Join(linked(lines, bodyOf(lines[1])), "")), room: 0}
	l, err := openWith(h.path, Options{Sealer: h.signer, Anchor: h.anchor, Installation: "here"}, func(string) (file, error) { return d, nil })
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Checkpoint(t.Context()); err == nil {
		t.Error("a checkpoint was made")
	}
	d.set(func() { d.room = -1 })
	if err := l.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	h.write(d.text())
	if r := h.verify(); r.Fault != nil || len(r.Unvouched) != 1 || !slices.Equal(h.events(), []string{eventUnvouched}) {
		t.Errorf("%+v %v", r, h.events())
	}
}

func TestAnchorThatCannotBeRead(t *testing.T) {
	h := newHouse(t)
	for _, text := range []string{"", "{}", `{"seq":3,"hash":"x"}`} {
		if err := os.WriteFile(h.anchor, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(h.path, Options{Anchor: h.anchor}); err == nil || !strings.Contains(err.Error(), h.anchor) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestForgedLineBehindOneThatIsGone: a line that names the noted one does not stand for it where
// another is before it.
func TestForgedLineBehindOneThatIsGone(t *testing.T) {
	h := newHouse(t)
	h.run("a", "b")
	lines := h.lines()
	last := len(lines) - 1
	forged := linked(lines, bodyOf(lines[1]))[last+1]
	h.write(append(lines[:last:last], forged)...)
	h.run("c")
	if r := h.verify(); r.Fault == nil || r.Fault.Kind != Missing || !slices.Equal(h.events(), []string{eventTailDiffers}) {
		t.Errorf("%+v %v", r, h.events())
	}
}

// TestNothingIsNotedThatIsNotOnTheDisk: after a power cut that would look like a cut.
func TestNothingIsNotedThatIsNotOnTheDisk(t *testing.T) {
	anchor := filepath.Join(t.TempDir(), "audit.head")
	d := &disk{room: -1}
	l, err := openWith("audit.jsonl", Options{Anchor: anchor}, func(string) (file, error) { return d, nil })
	if err != nil {
		t.Fatal(err)
	}
	expect := func(seq uint64) {
		t.Helper()
		if head, err := readAnchor(anchor); err != nil || head.Seq != seq {
			t.Errorf("line %d is noted, want %d; %v", head.Seq, seq, err)
		}
	}
	mustAppend(t, l, "a")
	if err := l.sync(); err != nil {
		t.Fatal(err)
	}
	expect(1)
	mustAppend(t, l, "b")
	d.set(func() { d.syncErr = syscall.EIO })
	if err := l.sync(); err == nil {
		t.Error("synced")
	}
	expect(1)
	if err := l.Close(); err == nil {
		t.Error("closed without a sync")
	}
	expect(1)
}
