package audit

import (
	"slices"
	"strings"
	"testing"
)

// TestNothingProven: who names a key or a head is told where it proves nothing.
func TestNothingProven(t *testing.T) {
	refusal := `{"time":"2026-11-22T03:01:00.000000000Z","caller":{"uid":1,"gid":1,"pid":1},"operation":"jwt","outcome":"refused"}` + "\n"
	later, _ := link(nil, []byte(strings.Repeat(refusal, 3)), Head{Seq: 500}, nil)
	for name, c := range map[string]struct {
		lines           []string
		byKID, byHead   Kind
		withoutAnything Kind
	}{
		"nothing":                {nil, Unproven, Cut, ""},
		"an invented log, later": {slices.Collect(strings.Lines(string(later))), Unproven, Missing, ""},
		"an invented log":        {linked(nil, refusal, refusal, refusal, refusal, refusal, refusal), Unproven, Rewritten, ""},
	} {
		h := newHouse(t)
		h.run("a", "b", "c")
		h.write(c.lines...)
		kids, heads := []string{kidOf(h.keys[0])}, h.sealed()
		for _, v := range []struct {
			opts VerifyOptions
			want Kind
		}{
			{VerifyOptions{}, c.withoutAnything}, {VerifyOptions{KIDs: kids}, c.byKID}, {VerifyOptions{Heads: heads}, c.byHead}, {VerifyOptions{KIDs: kids, Heads: heads}, c.byHead},
		} {
			r, err := Verify([]string{h.path}, v.opts)
			if err != nil {
				t.Fatal(err)
			}
			got := Kind("")
			if r.Fault != nil {
				if got = r.Fault.Kind; r.Fault.File != h.path || r.Fault.Line == 0 {
					t.Errorf("%s: %v", name, r.Fault)
				}
			}
			if got != v.want {
				t.Errorf("%s, %+v: %v, want %q", name, v.opts, r.Fault, v.want)
			}
		}
	}
}

func TestEachHeadMustHold(t *testing.T) {
	tr, other := recordTrail(t, t.TempDir(), 3, 2, -1, 2), recordTrail(t, t.TempDir(), 3, 2)
	if r := tr.verify(t, VerifyOptions{Heads: tr.seals}); r.Fault != nil || r.Head != r.Last-1 {
		t.Errorf("%+v", r)
	}
	for i := range tr.seals {
		if r := tr.verify(t, VerifyOptions{Heads: slices.Insert(slices.Clone(tr.seals), i, other.seals[0])}); r.Fault == nil {
			t.Errorf("%+v", r)
		}
	}
	// A head that is before the files proves nothing of them.
	r, err := Verify(tr.paths()[1:], VerifyOptions{Heads: []string{tr.seals[0], tr.seals[len(tr.seals)-1]}})
	if err != nil || r.Fault == nil || r.Fault.Kind != Missing {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := Verify(tr.paths(), VerifyOptions{Heads: []string{""}}); err == nil {
		t.Error("an empty head was taken")
	}
}
